"""Clicks, opens and unsubscribes: written down, then answered, database or not.

RFC 8058 (one-click unsubscribe), RFC 9110 (HEAD is safe: never counted).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network

from aiohttp import web

from mailer import errors
from mailer.core import event, tracking
from mailer.core.event import Event, Kind
from mailer.core.tracking import Purpose, Ring, Token, Visit
from mailer.pipeline.linking import Links
from mailer.pipeline.receiving import Inbox
from mailer.web import pages

BODY_TIMEOUT = 5.0  # seconds for the body of an unsubscribe, which is a line

# GIF89a, 1x1, transparent.
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f9040100000000"
    "2c000000000100010000020144003b"
)
_PIXEL_HEADERS = {
    "Content-Type": "image/gif",
    "Cache-Control": "no-store, no-cache, must-revalidate, max-age=0, private",
    "Pragma": "no-cache",
    "Expires": "0",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_REDIRECT_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the token must not reach the destination
    "X-Robots-Tag": "noindex, nofollow",
}
_PAGE_HEADERS = {
    **_REDIRECT_HEADERS,
    "Content-Security-Policy": pages.POLICY,
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
    organization: str
    contact: str = ""  # where people reach a person
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
        token = self._token(request, Purpose.CLICK)
        if token is None:
            return _not_found()
        url = self.links.find(token.blast, token.link)
        if url is None:
            url = await self.links.look_up(token.blast, token.link) or self.website
        if request.method == "GET":
            await self.inbox.take(self._event(request, Kind.CLICK, token))
        if not url:
            return _not_found()
        # The stored bytes: web.HTTPFound would rewrite escapes and break signed links.
        headers = {
            "Location": tracking.destination(self.ring, url, token),
            "Content-Length": "0",  # or aiohttp leaves it out of the answer to HEAD
            **_REDIRECT_HEADERS,
        }
        return web.Response(status=302, headers=headers)

    async def open(self, request: web.Request) -> web.Response:
        """Return the pixel, whatever the token is; a good one is an open."""
        token = self._token(request, Purpose.OPEN)
        if token is not None and request.method == "GET":
            await self.inbox.take(self._event(request, Kind.OPEN, token))
        return web.Response(body=PIXEL, headers=_PIXEL_HEADERS)

    async def ask(self, request: web.Request) -> web.Response:
        """Show the form.  A GET changes nothing: scanners follow every link."""
        if self._token(request, Purpose.UNSUBSCRIBE) is None:
            return _not_found()
        return _page(
            pages.confirm(organization=self.organization, contact=self.contact)
        )

    async def unsubscribe(self, request: web.Request) -> web.Response:
        """Unsubscribe by RFC 8058, or by the button of our own form.

        The token decides: a body that cannot be read is no reason to refuse.
        """
        token = self._token(request, Purpose.UNSUBSCRIBE)
        if token is None:
            return _not_found()
        is_form = b"confirm=1" in await _body(request)
        try:
            await self.inbox.take(self._event(request, Kind.UNSUBSCRIBE, token))
        except errors.Unavailable:
            text = pages.try_again(organization=self.organization)
            return _page(text, status=503)
        if is_form:
            return _page(
                pages.unsubscribed(organization=self.organization, contact=self.contact)
            )
        return web.Response(text="Unsubscribed.\n", headers=_REDIRECT_HEADERS)

    def _token(self, request: web.Request, purpose: Purpose) -> Token | None:
        try:
            return tracking.unseal(self.ring, purpose, request.match_info["token"])
        except errors.Invalid:
            return None

    def _event(self, request: web.Request, kind: Kind, token: Token) -> Event:
        headers = request.headers
        agent = headers.get("User-Agent", "")
        ahead = " ".join(headers[name] for name in _AHEAD if name in headers)
        visit = Visit(method=request.method, agent=agent, ahead=ahead)
        label, reasons = (
            (tracking.Label.HUMAN, ())
            if kind is Kind.UNSUBSCRIBE  # never refused for what it looks like
            else tracking.label(visit)
        )
        at = self.now()
        return Event(
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
            ip=truncated(_client(request)),
        )


def _client(request: web.Request) -> str:
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


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await request.read()
    except (TimeoutError, web.HTTPException, ConnectionError):
        return b""


def _page(text: str, *, status: int = 200) -> web.Response:
    return web.Response(
        text=text, status=status, content_type="text/html", headers=_PAGE_HEADERS
    )


def _not_found() -> web.Response:
    """Return the same whatever was wrong."""
    return web.Response(status=404, text="Not found.\n", headers=_REDIRECT_HEADERS)
