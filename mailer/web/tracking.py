"""Clicks, opens and unsubscribes: written down, then answered, database or not.

RFC 8058 (one-click unsubscribe), RFC 9110 (HEAD is safe: never counted).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from aiohttp import web

from mailer import errors
from mailer.core import event, preference, tracking
from mailer.core.event import Event, Kind
from mailer.core.tracking import Purpose, Ring, Token, Visit
from mailer.pipeline import Pool, preferring
from mailer.pipeline.linking import Links
from mailer.pipeline.receiving import Inbox
from mailer.web import pages, words
from mailer.web.words import Words

BODY_TIMEOUT = 5.0  # seconds for the body of an unsubscribe, which is a line

# GIF89a, 1x1, transparent.
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f9040100000000"
    "2c000000000100010000020144003b"
)
PIXEL_HEADERS = {
    "Content-Type": "image/gif",
    "Cache-Control": "no-store, no-cache, must-revalidate, max-age=0, private",
    "Pragma": "no-cache",
    "Expires": "0",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
REDIRECT_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the token must not reach the destination
    "X-Robots-Tag": "noindex, nofollow",
}
_PAGE_HEADERS = {
    **REDIRECT_HEADERS,
    "X-Content-Type-Options": "nosniff",
}
_AHEAD = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_PROXIES = frozenset({"127.0.0.1", "::1"})  # whose X-Forwarded-For is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What the handlers of tracked links share."""

    ring: Ring
    links: Links
    inbox: Inbox
    now: Callable[[], datetime]
    house: pages.House
    pool: Pool | None = None  # tells whose an address is; all else goes without
    website: str = ""  # where a link leads that is nowhere to be found

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that messages carry."""
        return [
            web.get("/c/{token}", self.click),
            web.get("/o/{token}", self.open),
            web.get("/u/{token}", self.ask),
            web.post("/u/{token}", self.unsubscribe),
        ]

    async def click(self, request: web.Request) -> web.Response:
        """Lead on to where the link of a token goes."""
        token = self.token(request, Purpose.CLICK)
        if token is None:
            return not_found()
        url = self.links.find(token.blast, token.link)
        if url is None:
            url = await self.links.look_up(token.blast, token.link) or self.website
        if request.method == "GET":
            await self.keep(request, Kind.CLICK, token)
        if not url:
            return not_found()
        # The stored bytes: web.HTTPFound would rewrite escapes and break signed links.
        headers = {
            "Location": tracking.destination(self.ring, url, token),
            "Content-Length": "0",  # or aiohttp leaves it out of the answer to HEAD
            **REDIRECT_HEADERS,
        }
        return web.Response(status=302, headers=headers)

    async def open(self, request: web.Request) -> web.Response:
        """Return the pixel, whatever the token is; a good one is an open."""
        token = self.token(request, Purpose.OPEN)
        if token is not None and request.method == "GET":
            await self.keep(request, Kind.OPEN, token)
        return web.Response(body=PIXEL, headers=PIXEL_HEADERS)

    async def ask(self, request: web.Request) -> web.Response:
        """Show the form.  A GET changes nothing: scanners follow every link."""
        token = self.token(request, Purpose.UNSUBSCRIBE)
        if token is None:
            return not_found()
        email, say = await self._whose(request, token)
        less = tracking.seal(
            self.ring,
            Purpose.PREFERENCES,
            Token(blast=token.blast, subscriber=token.subscriber),
        )
        return page(
            pages.confirm(self.house, say, email=email, preferences=f"/p/{less}")
        )

    async def unsubscribe(self, request: web.Request) -> web.Response:
        """Unsubscribe by RFC 8058, or by the button of our own form; or take it back.

        The token decides: a body that cannot be read is no reason to refuse.
        """
        token = self.token(request, Purpose.UNSUBSCRIBE)
        if token is None:
            return not_found()
        sent = await body(request)
        say = words.spoken(None, request.headers.get("Accept-Language", ""))
        is_back = sent == b"undo=1"
        is_form = is_back or b"confirm=1" in sent
        try:
            kind = Kind.RETURN if is_back else Kind.UNSUBSCRIBE
            await self.keep(request, kind, token)
        except errors.Unavailable:
            form = {"undo": "1"} if is_back else {"confirm": "1"}
            return page(pages.try_again(self.house, say, form), status=503)
        if not is_form:
            return web.Response(text="Unsubscribed.\n", headers=REDIRECT_HEADERS)
        _, say = await self._whose(request, token)
        if is_back:
            text = say["back.text"]
            return page(pages.told(self.house, say, title="back.title", text=text))
        return page(pages.unsubscribed(self.house, say))

    async def _whose(self, request: web.Request, token: Token) -> tuple[str, Words]:
        """Return the address of a person, masked, and the words of their language."""
        accepted = request.headers.get("Accept-Language", "")
        standing = None
        if self.pool is not None:
            with suppress(errors.Unavailable):
                standing = await preferring.show(self.pool, token)
        if standing is None:
            return "", words.spoken(None, accepted)
        email = preference.masked(standing.email)
        return email, words.spoken(standing.language, accepted)

    def token(self, request: web.Request, purpose: Purpose) -> Token | None:
        """Return the token of *request*, or None when it is none for *purpose*."""
        try:
            return tracking.unseal(self.ring, purpose, request.match_info["token"])
        except errors.Invalid:
            return None

    async def keep(
        self,
        request: web.Request,
        kind: Kind,
        token: Token,
        *,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down what a person did.  Raises Unavailable when it cannot be kept."""
        headers = request.headers
        agent = headers.get("User-Agent", "")
        visit = Visit(method=request.method, agent=agent, ahead=ahead(headers))
        label, reasons = (
            tracking.label(visit)
            if kind in {Kind.CLICK, Kind.OPEN}
            else (tracking.Label.HUMAN, ())  # never refused for what it looks like
        )
        at = self.now()
        one = Event(
            id=event.new_id(at, os.urandom(10)),
            at=at,
            kind=kind,
            blast=token.blast,
            subscriber=token.subscriber,
            link=token.link if kind is Kind.CLICK else None,
            label=label,
            reasons=reasons,
            rules=tracking.RULES,
            agent=event.clean(agent),
            ip=truncated(client(request)),
            body=body,
        )
        await self.inbox.take(one)


def ahead(headers: Mapping[str, str]) -> str:
    """Return what a browser says of loading a page ahead."""
    return " ".join([headers[name] for name in _AHEAD if name in headers])


def client(request: web.BaseRequest) -> str:
    """Return who asks; what a proxy on this machine says is believed."""
    remote = request.remote or ""
    if remote in _PROXIES and "X-Forwarded-For" in request.headers:
        return request.headers["X-Forwarded-For"].rpartition(",")[2].strip()
    return remote


@lru_cache(maxsize=4096)
def truncated(ip: str) -> str | None:
    """Return the network that is kept of an address: /24, or /48 for IPv6."""
    try:
        found = ip_address(ip)
    except ValueError:
        return None
    if found.version == 4:
        return ip.rpartition(".")[0] + ".0"
    if found.ipv4_mapped is not None:
        return truncated(str(found.ipv4_mapped))
    return str(ip_network((int(found), 48), strict=False).network_address)


async def body(request: web.Request) -> bytes:
    """Return the body, or nothing when it is too long or does not come."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await request.read()
    except (TimeoutError, web.HTTPException, ConnectionError):
        return b""


def page(text: str, *, status: int = 200, policy: str = pages.POLICY) -> web.Response:
    """Return a page that may do what *policy* allows."""
    return web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={**_PAGE_HEADERS, "Content-Security-Policy": policy},
    )


def not_found() -> web.Response:
    """Return the same whatever was wrong."""
    return web.Response(status=404, text="Not found.\n", headers=REDIRECT_HEADERS)
