"""Answer links and pixels before aiohttp's router and headers: most of what is asked.

Whatever is not the plain case (HEAD, HTTP/1.0, a token that is none, a link that must
be looked up) is left to the handlers of `tracking`, which answer the same.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web

from mailer import errors
from mailer.core import event
from mailer.core import tracking as tokens
from mailer.core.event import Kind
from mailer.core.tracking import Purpose, Visit
from mailer.web import tracking
from mailer.web.tracking import Tracking

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_RANDOM = 10  # bytes of an id
_MANY = 400  # ids whose random bytes are asked of the system at once
_FULL = 64 * 1024  # bytes that may wait for who asks and does not read


def _head(status: str, headers: dict[str, str]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}".encode()


_FOUND = _head("302 Found", {**tracking.REDIRECT_HEADERS, "Content-Length": "0"})
_PIXEL = _head(
    "200 OK",
    {**tracking.PIXEL_HEADERS, "Content-Length": str(len(tracking.PIXEL))},
)


class Ready(web.StreamResponse):
    """An answer whose bytes are written: aiohttp only needs to send them."""

    def __init__(self, data: bytes, *, keep_alive: bool) -> None:
        # Without the parent's: it is all about headers that stand in *data*.
        self._data = data
        self._keep_alive = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """Tell whether the connection stays."""
        return self._keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        transport.write(self._data)
        if transport.get_write_buffer_size() > _FULL:
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


@dataclass(slots=True, kw_only=True)
class Front:
    """What stands before the app."""

    tracking: Tracking
    rest: _Handler
    _random: bytes = b""
    _date: bytes = b""
    _second: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer *request*, or have the app answer it."""
        path = request.raw_path
        if request.method == "GET" and request.version == (1, 1):
            place, token = path[:3], path[3:].partition("?")[0]
            if place == "/c/":
                return await self._click(request, token)
            if place == "/o/":
                return await self._open(request, token)
        return await self.rest(request)

    async def _click(self, request: web.BaseRequest, text: str) -> web.StreamResponse:
        ring = self.tracking.ring
        try:
            token = tokens.unseal(ring, Purpose.CLICK, text)
        except errors.Invalid:
            return await self.rest(request)
        url = self.tracking.links.find(token.blast, token.link)
        if url is None:
            return await self.rest(request)
        at = await self._keep(request, Kind.CLICK, token)
        location = tokens.destination(ring, url, token)
        return self._ready(
            request, at, b"%bLocation: %b\r\n" % (_FOUND, location.encode("ascii"))
        )

    async def _open(self, request: web.BaseRequest, text: str) -> web.StreamResponse:
        try:
            token = tokens.unseal(self.tracking.ring, Purpose.OPEN, text)
        except errors.Invalid:
            return await self.rest(request)
        at = await self._keep(request, Kind.OPEN, token)
        return self._ready(request, at, _PIXEL, tracking.PIXEL)

    async def _keep(
        self, request: web.BaseRequest, kind: Kind, token: tokens.Token
    ) -> datetime:
        if len(self._random) < _RANDOM:
            self._random = os.urandom(_RANDOM * _MANY)
        random, self._random = self._random[:_RANDOM], self._random[_RANDOM:]
        headers = request.headers
        label, who = _seen(
            headers.get("User-Agent", ""),
            tracking.ahead(headers),
            tracking.client(request),
        )
        at = self.tracking.now()
        record = event.visit(kind, token, at=at, random=random, who=who)
        await self.tracking.inbox.keep(record, kind, label)
        return at

    def _ready(
        self, request: web.BaseRequest, at: datetime, head: bytes, body: bytes = b""
    ) -> Ready:
        second = int(at.timestamp())
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        keep_alive = request.keep_alive
        end = b"\r\n" if keep_alive else b"Connection: close\r\n\r\n"
        return Ready(head + self._date + end + body, keep_alive=keep_alive)


@lru_cache(maxsize=16384)
def _seen(agent: str, ahead: str, client: str) -> tuple[str, str]:
    """Return the label of a visitor, and what their records have in common."""
    label, reasons = tokens.label(Visit(agent=agent, ahead=ahead))
    who = event.seen(label, reasons, agent, tracking.truncated(client))
    return label.value, who


def hasten(server: web.Server, given: Tracking) -> None:
    """Put a `Front` before the app that *server* serves."""
    front = Front(tracking=given, rest=server.request_handler)
    server.request_handler = front.handle
