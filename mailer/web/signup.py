"""Sign-up from the campaign's website, and the answer to our question by mail.

Every address gets the same answer, known or not; what comes of it is decided when it is
loaded.  Origins are checked by the Fetch standard's CORS protocol,
https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from mailer import errors
from mailer.core import event, subscriber
from mailer.core.event import Event, Kind
from mailer.core.tracking import Purpose
from mailer.settings import Signup as Rules
from mailer.web import pages, words
from mailer.web import preferences as forms
from mailer.web import tracking as answers
from mailer.web.limit import Limit
from mailer.web.tracking import Tracking

TRAP = "website"  # a field that people do not see, and machines fill
LONGEST = 100  # characters of a name
TEXT = 1  # the version of what people agree to, kept as proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Signup:
    """What the handlers of the sign-up share."""

    tracking: Tracking
    rules: Rules
    provider: Callable[[str], str]  # of a domain
    own: str  # where we ourselves are reached
    networks: Limit = field(default_factory=lambda: Limit(rate=10 / 60, burst=10))
    all: Limit = field(default_factory=lambda: Limit(rate=50, burst=500))

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses, those of the sign-up only if it is open."""
        confirming = [
            web.get("/y/{token}", self.ask),
            web.post("/y/{token}", self.confirm),
        ]
        if not self.rules.topics:
            return confirming
        return [
            *confirming,
            web.get("/signup", self.form),
            web.post("/signup", self.join),
            web.options("/signup", self.preflight),
        ]

    async def form(self, request: web.Request) -> web.Response:
        """Show a form, for those who have no website of their own for it."""
        say = _say(request)
        return answers.page(pages.join(self.tracking.house, say, trap=TRAP))

    async def preflight(self, request: web.Request) -> web.Response:
        """Tell a browser whether a page of that origin may ask."""
        allowed = self._allowed(request)
        if allowed is None:
            return web.Response(status=403)
        headers = {
            **allowed,
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    async def join(self, request: web.Request) -> web.Response:
        """Write a sign-up down, synced before the answer."""
        allowed = self._allowed(request)
        if allowed is None:
            return web.Response(status=403, text="Not from there.\n")
        network = answers.truncated(answers.client(request)) or ""
        at = asyncio.get_running_loop().time()
        if not self.networks.allows(network, at=at) or not self.all.allows("", at=at):
            headers = {**allowed, "Retry-After": "60"}
            return web.Response(status=429, text="Too often.\n", headers=headers)
        is_json = request.content_type == "application/json"
        sent = await (_json(request) if is_json else forms.fields(request))
        if sent.get(TRAP):
            return self._done(request, allowed, is_json=is_json)
        try:
            asked = self._asked(request, sent)
        except errors.Invalid:
            return self._wrong(request, allowed, sent, is_json=is_json)
        try:
            await self._keep(request, Kind.SIGNUP, asked, network=network)
        except errors.Unavailable:
            return web.Response(status=503, text="Please try again.\n", headers=allowed)
        return self._done(request, allowed, is_json=is_json)

    async def ask(self, request: web.Request) -> web.Response:
        """Show the button that confirms; a scanner that gets this confirms nothing."""
        if self.tracking.token(request, Purpose.CONFIRM) is None:
            return answers.not_found()
        return answers.page(pages.ask(self.tracking.house, _say(request)))

    async def confirm(self, request: web.Request) -> web.Response:
        """Write down that an address is the person's own."""
        token = self.tracking.token(request, Purpose.CONFIRM)
        if token is None:
            return answers.not_found()
        await answers.body(request)
        house, say = self.tracking.house, _say(request)
        network = answers.truncated(answers.client(request))
        body = {"confirmation": token.subscriber}
        try:
            await self._keep(request, Kind.CONFIRMATION, body, network=network)
        except errors.Unavailable:
            again = pages.try_again(house, say, {"confirm": "1"})
            return answers.page(again, status=503)
        text = say["yes.done.text"]
        return answers.page(pages.told(house, say, title="yes.done", text=text))

    def _allowed(self, request: web.Request) -> dict[str, str] | None:
        """Return the headers for a page of that origin; None: it may not ask.

        Who is no browser sends no origin, and could send any.
        """
        origin = request.headers.get("Origin")
        if origin is None or origin == self.own:
            return {"Vary": "Origin"}
        if origin not in self.rules.origins:
            return None
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin}

    def _asked(
        self, request: web.Request, sent: Mapping[str, object]
    ) -> dict[str, Any]:
        """Return what is asked, and the proof of it.  Raises Invalid."""
        address = subscriber.normalise(_text(sent, "email", longest=320))
        topics = sent.get("topics")
        wanted = topics.split() if isinstance(topics, str) else topics
        known = [
            name
            for name in self.rules.topics
            if not isinstance(wanted, list) or name in wanted
        ]
        return {
            "email": address.email,
            "address": address.address,
            "domain": address.domain,
            "provider": self.provider(address.domain),
            "first_name": _text(sent, "first_name") or None,
            "zip": _text(sent, "zip", longest=20) or None,
            "language": _say(request)["code"],
            "topics": known or list(self.rules.topics),
            "origin": event.clean(request.headers.get("Origin", "")),
            "text": TEXT,
            "confirm": self.rules.confirm,
        }

    async def _keep(
        self,
        request: web.Request,
        kind: Kind,
        body: Mapping[str, Any],
        *,
        network: str | None,
    ) -> None:
        at = self.tracking.now()
        one = Event(
            id=event.new_id(at, os.urandom(10)),
            at=at,
            kind=kind,
            agent=event.clean(request.headers.get("User-Agent", "")),
            ip=network or None,
            body=body,
        )
        await self.tracking.inbox.take(one)

    def _done(
        self, request: web.Request, allowed: dict[str, str], *, is_json: bool
    ) -> web.Response:
        """Answer the same to everybody."""
        if is_json:
            return web.json_response({"status": "ok"}, status=202, headers=allowed)
        house, say = self.tracking.house, _say(request)
        text = say["join.done.text" if self.rules.confirm else "saved.text"]
        page = answers.page(pages.told(house, say, title="join.done", text=text))
        page.headers.update(allowed)
        return page

    def _wrong(
        self,
        request: web.Request,
        allowed: dict[str, str],
        sent: Mapping[str, object],
        *,
        is_json: bool,
    ) -> web.Response:
        if is_json:
            error = {"error": "email: no address that can be written to"}
            return web.json_response(error, status=422, headers=allowed)
        house, say = self.tracking.house, _say(request)
        text = say["wrong.email"].format(email=_text(sent, "email", longest=320))
        wrong = pages.told(house, say, title="wrong.title", text=text)
        page = answers.page(wrong, status=422)
        page.headers.update(allowed)
        return page


def _say(request: web.Request) -> words.Words:
    return words.spoken(None, request.headers.get("Accept-Language", ""))


def _text(sent: Mapping[str, object], name: str, *, longest: int = LONGEST) -> str:
    """Return a field as one line; what is too long or no text, is none."""
    value = sent.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        return ""
    return " ".join(event.clean(value, longest=longest).split())


async def _json(request: web.Request) -> Mapping[str, object]:
    """Return the object that was sent; of anything else, nothing."""
    try:
        found = json.loads(await answers.body(request))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
