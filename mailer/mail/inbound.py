"""Take mail at the door: SMTP (RFC 5321) and LMTP (RFC 2033), one message at a time.

Whoever speaks to this is a stranger.  A message is answered 250 only when it is kept;
what cannot be kept now is answered 451, so that its server tries again; an address
that is none of ours is refused at RCPT, before its message comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from mailer import errors

SIZE = 10 * 1024 * 1024  # bytes of a message; times CONNECTIONS is what memory it takes
CONNECTIONS = 20
LINE = 64 * 1024  # bytes of a line of a message
IDLE = 60.0  # seconds between two lines
LIFE = 600.0  # seconds of a connection: a slow stranger goes, a server comes again
KEEPING = 30.0  # seconds to read and keep a message
COMMANDS = 200  # of one kind in one connection

Take = Callable[[bytes, str], Awaitable[None]]  # the message, and to whom it came
Knows = Callable[[str], bool]

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Door:
    """What a listener asks: whether an address is ours, and to keep a message."""

    knows: Knows
    take: Take
    host: str = "mailer"
    connections: int = CONNECTIONS
    _open: set[SMTP] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd calls it so
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str,
        _options: list[str],
    ) -> str:  # fmt: skip
        """Refuse whom we do not know; a second recipient comes with the next message.

        LMTP has an answer for each recipient, and each bounce one recipient.
        """
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        if not self.knows(address):
            return "550 5.1.1 No such address here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 -- aiosmtpd calls it so
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Answer yes once the message is kept."""
        content = envelope.content
        assert isinstance(content, bytes), "decode_data is off"
        try:
            async with asyncio.timeout(KEEPING):
                await self.take(content, envelope.rcpt_tos[0])
        except (errors.Unavailable, OSError, TimeoutError) as error:
            log.warning("bounce.unkept", error=str(error) or type(error).__name__)
            return "451 4.3.0 Cannot be kept now, try again"
        return "250 2.0.0 Kept"

    async def handle_exception(self, error: Exception) -> str:
        """Say nothing of what went wrong to a stranger."""
        log.error("bounce.failed", kind=type(error).__name__)
        return "451 4.3.0 Something went wrong, try again"

    def enter(self, one: SMTP) -> bool:
        """Count a connection in; False when there are too many."""
        if len(self._open) >= self.connections:
            return False
        self._open.add(one)
        return True

    def leave(self, one: SMTP) -> None:
        """Count a connection out."""
        self._open.discard(one)

    def close(self) -> None:
        """Close every connection: what was not answered comes again."""
        for one in list(self._open):
            if one.transport is not None:
                one.transport.close()


class _Bounded:
    """The connections of a door, each with an end."""

    event_handler: Door
    # RFC 5321 §4.5.3.1.6 wants 1000; what is attached to a bounce may be anything.
    line_length_limit = LINE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(self, SMTP)
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        super().connection_made(transport)  # type: ignore[misc]  # SMTP's
        if not self.event_handler.enter(self):
            transport.write(b"421 4.3.2 Too many connections, try again\r\n")
            transport.close()
        self.loop.call_later(LIFE, transport.close)

    def connection_lost(self, error: Exception | None) -> None:
        assert isinstance(self, SMTP)
        self.event_handler.leave(self)
        super().connection_lost(error)  # type: ignore[misc]  # SMTP's


class _Smtp(_Bounded, SMTP):
    """SMTP, bounded."""


class _Lmtp(_Bounded, LMTP):
    """LMTP, bounded."""


@asynccontextmanager
async def listening(
    door: Door, host: str, port: int, *, protocol: str
) -> AsyncIterator[int]:
    """Serve *door* by ``smtp`` or ``lmtp``; yield the port.

    Raises Unavailable when the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    kind = {"smtp": _Smtp, "lmtp": _Lmtp}[protocol]

    def connected() -> SMTP:
        return kind(
            door,
            data_size_limit=SIZE,
            hostname=door.host,
            ident="mailer",
            timeout=IDLE,
            command_call_limit=COMMANDS,
            loop=loop,
        )

    try:
        server = await loop.create_server(connected, host, port)
    except OSError as error:
        message = (
            f"{host}:{port} cannot be had ({error.strerror}): set [bounces] "
            f"{protocol} in config/settings.toml"
        )
        raise errors.Unavailable(message) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        door.close()
        await server.wait_closed()
