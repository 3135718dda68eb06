"""The door for relays: bounces and complaints that they post."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp
import structlog
from aiohttp import web

from mailer import errors, settings
from mailer.core import feedback
from mailer.core.feedback import Reading
from mailer.core.tracking import Ring
from mailer.pipeline.receiving import Inbox
from mailer.web.hooks import mailgun, postmark, sendgrid, ses, told
from mailer.web.hooks.told import Refused

BODY_BYTES = 1 << 20  # SendGrid posts up to 768 KB
BODY_TIMEOUT = 20.0  # seconds
CERTIFICATES = 10  # that are kept; Amazon has one or two at a time
CERTIFICATE = 64 * 1024  # bytes

Fetch = Callable[[str], Awaitable[bytes]]

log = structlog.get_logger()


async def fetch(url: str) -> bytes:
    """Return what is at *url*, which is one of Amazon's.  Raises Unavailable."""
    timeout = aiohttp.ClientTimeout(total=8.0)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise errors.Unavailable(f"answered {answer.status}")
            return await answer.content.read(CERTIFICATE)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise errors.Unavailable(str(error) or type(error).__name__) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Relays:
    """What the handlers share."""

    ring: Ring
    inbox: Inbox
    now: Callable[[], datetime]
    known: settings.Relays
    fetch: Fetch = fetch
    _certificates: dict[str, bytes] = field(default_factory=dict)

    def app(self) -> web.Application:
        """Return what is served below /hooks/relay: posts are larger there."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes(
            [
                web.post("/ses", self._door(self.ses)),
                web.post("/sendgrid", self._door(self.sendgrid)),
                web.post("/mailgun", self._door(self.mailgun)),
                web.post("/postmark", self._door(self.postmark)),
            ]
        )
        return app

    def _door(
        self, reader: Callable[[web.Request, bytes], Awaitable[list[Reading]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            """Take a post: 2xx once all that it says is on the disk."""
            try:
                async with asyncio.timeout(BODY_TIMEOUT):
                    body = await request.read()
                readings = await reader(request, body)
                for one in readings:
                    await self._keep(one, body, request.path)
            except TimeoutError:
                return web.Response(status=408, text="Too slow.\n")
            except Refused:
                return web.Response(status=401, text="Who are you?\n")
            except errors.Invalid as error:
                return web.Response(status=400, text=f"{error}\n")
            except errors.Unavailable:
                return web.Response(status=503, text="Try again.\n")
            return web.json_response({"events": len(readings)})

        return answer

    async def _keep(self, reading: Reading, body: bytes, path: str) -> None:
        who = feedback.identify(self.ring, reading.carriers)
        found = feedback.as_event(reading, who, raw=body, to=path, at=self.now())
        if found is not None:
            await self.inbox.take(found)

    async def ses(self, _request: web.Request, body: bytes) -> list[Reading]:
        """Read a post of Amazon SNS; begin the topic when it asks for that."""
        if self.known.ses_topic is None:
            raise Refused("not set up")
        said = told.parse(body)
        certificate = await self._certificate(ses.certificate_url(said))
        ses.verify(said, certificate, topic=self.known.ses_topic, now=self.now())
        if (url := ses.confirm_url(said)) is not None:
            await self.fetch(url)
            log.info("hooks.subscribed", topic=self.known.ses_topic)
        return ses.read(said)

    async def _certificate(self, url: str) -> bytes:
        if url not in self._certificates:
            if len(self._certificates) >= CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = await self.fetch(url)
        return self._certificates[url]

    async def sendgrid(self, request: web.Request, body: bytes) -> list[Reading]:
        """Read a post of SendGrid."""
        if self.known.sendgrid_key is None:
            raise Refused("not set up")
        key = self.known.sendgrid_key
        sendgrid.verify(body, request.headers, key, now=self.now())
        return sendgrid.read(body)

    async def mailgun(self, _request: web.Request, body: bytes) -> list[Reading]:
        """Read a post of Mailgun."""
        if self.known.mailgun_key is None:
            raise Refused("not set up")
        said = told.parse(body)
        mailgun.verify(said, self.known.mailgun_key, now=self.now())
        return mailgun.read(said)

    async def postmark(self, request: web.Request, body: bytes) -> list[Reading]:
        """Read a post of Postmark."""
        if self.known.postmark_password is None:
            raise Refused("not set up")
        shown = request.headers.get("Authorization", "")
        postmark.verify(shown, self.known.postmark_password)
        return postmark.read(told.parse(body), now=self.now())
