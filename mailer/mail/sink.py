"""Receive mail as a mailbox provider would: an SMTP server that plays a part.

What it says is decided by a `Host`: the simulated providers (`mail.scenario`) or a
test's script.  Strict where it matters: only CRLF dot CRLF ends a message (SMTP
smuggling, CVE-2023-51764).
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, cast

# Bounds memory against a client that never ends its line, RFC 5321 §4.5.3.1.4.
LINE = 4096

_NUMBERS = itertools.count(1)


class Then(Enum):
    """What follows a reply."""

    GO_ON = auto()
    CLOSE = auto()  # after the reply
    DROP = auto()  # close, say nothing
    RESET = auto()  # the same, rudely: TCP RST
    HALF_CLOSE = auto()  # say nothing more, but still listen
    ENCRYPT = auto()  # after the reply, TLS begins
    HOLD = auto()  # never answer


@dataclass(frozen=True, slots=True)
class Act:
    """What the server does when it was spoken to."""

    reply: str = ""  # lines separated by "\n", each whole: "250-…\n250 …"
    then: Then = Then.GO_ON
    delay: float = 0.0  # seconds
    is_dripping: bool = False  # the reply comes byte by byte
    trouble: str | None = None  # what went wrong here on purpose, for the transcript


class Host(Protocol):
    """Decides what is said.  A reply below 400 means yes."""

    def connected(self, client: Conversation) -> Act:
        """Greet."""

    def ehlo(self, client: Conversation) -> Act:
        """Answer EHLO with the extensions."""

    def starttls(self, client: Conversation) -> Act:
        """Answer STARTTLS."""

    def mail(self, client: Conversation, sender: str) -> Act:
        """Answer MAIL FROM."""

    def rcpt(self, client: Conversation, address: str) -> Act:
        """Answer RCPT TO."""

    def data(self, client: Conversation) -> Act:
        """Answer DATA; 354 lets the message come, even one to nobody."""

    def body(self, client: Conversation, size: int) -> Act | None:
        """Break off while the message comes, if at all."""

    def message(self, client: Conversation, content: bytes) -> Act:
        """Answer the final dot of a message, dots not yet removed."""

    def other(self, client: Conversation, verb: str) -> Act:
        """Answer RSET, or a command that is none of these."""

    def left(self, client: Conversation) -> None:
        """Learn that the client is gone."""


def unstuffed(content: bytes) -> bytes:
    """Remove the dots that SMTP adds (RFC 5321 §4.5.2)."""
    content = content.replace(b"\r\n..", b"\r\n.")
    return content[1:] if content.startswith(b"..") else content


class Conversation(asyncio.Protocol):
    """One client, from its connection to its end."""

    def __init__(
        self,
        host: Host,
        talking: set[Conversation],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.number = next(_NUMBERS)
        self.is_encrypted = False
        self.has_quit = False
        self._tls = tls
        self._talking = talking
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.messages = 0  # accepted on this connection
        self.provider: str | None = None  # for the host's own use
        self.peer = ""  # the client's address
        self._loop = asyncio.get_running_loop()
        self._in = bytearray()
        self._out: list[bytes] = []
        self._is_busy = True  # nothing is read before the greeting
        self._is_data = False
        self._searched = 0
        self._is_over = False
        self._encrypting: asyncio.Task[None] | None = None

    @property
    def has_more(self) -> bool:
        """Tell whether the client has written more than was read."""
        return bool(self._in)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client."""
        # uvloop's transports are no asyncio.Transport by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._talking.add(self)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if name else ""
        self._do(self.host.connected(self))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the host."""
        self._is_over = True
        self._talking.discard(self)
        self.host.left(self)

    def hang_up(self) -> None:
        """Close without a word."""
        self._is_over = True
        if self._encrypting is not None:
            self._encrypting.cancel()
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Work through what came, as far as it is whole."""
        self._in += data
        if not self._is_busy:
            self._work()

    def _work(self) -> None:
        while not (self._is_busy or self._is_over):
            if not (self._read_message() if self._is_data else self._read_command()):
                break
        self._flush()

    def _flush(self) -> None:
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _read_command(self) -> bool:
        """Answer the next command; False when it is not whole yet."""
        end = self._in.find(b"\n")
        if end < 0 and len(self._in) <= LINE:
            return False
        if end < 0 or end > LINE:
            self._do(Act("500 5.5.2 Line too long", Then.CLOSE))
            return True
        line = self._in[:end].decode("utf-8", "replace").strip("\r")
        del self._in[: end + 1]
        self._do(self._answer(line))
        return True

    def _answer(self, line: str) -> Act:  # noqa: C901 - one case a command
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "MAIL":
                if self.sender is not None:
                    return Act("503 5.5.1 Nested MAIL command")
                return self._mail(rest)
            case "RCPT":
                if self.sender is None:
                    return Act("503 5.5.1 Need MAIL before RCPT")
                return self._rcpt(rest)
            case "DATA":
                return self._data()
            case "EHLO":
                self._reset()
                return self.host.ehlo(self)
            case "HELO":
                self._reset()
                return Act("250 sink")
            case "RSET":
                self._reset()
                return self.host.other(self, "RSET")
            case "NOOP":
                return Act("250 2.0.0 OK")
            case "STARTTLS":
                return self.host.starttls(self)
            case "QUIT":
                self.has_quit = True
                return Act("221 2.0.0 Bye", Then.CLOSE)
            case _:
                return self.host.other(self, verb.upper())

    def _mail(self, rest: str) -> Act:
        sender = _path(rest, "FROM:")
        if sender is None:
            return Act("501 5.5.4 Write MAIL FROM:<address>")
        act = self.host.mail(self, sender)
        if is_yes(act):
            self.sender = sender
        return act

    def _rcpt(self, rest: str) -> Act:
        address = _path(rest, "TO:")
        if not address:
            return Act("501 5.5.4 Write RCPT TO:<address>")
        act = self.host.rcpt(self, address)
        if is_yes(act):
            self.recipients.append(address)
        return act

    def _data(self) -> Act:
        act = self.host.data(self)
        self._is_data = act.reply.startswith("354")
        self._searched = 0
        return act

    def _read_message(self) -> bool:
        """Answer the final dot; False when it has not come."""
        if not self._in:
            return False
        if self._in.startswith(b".\r\n"):
            end, after = 0, 3
        else:
            end = self._in.find(b"\r\n.\r\n", max(0, self._searched - 4)) + 2
            after = end + 3
        act = self.host.body(self, len(self._in))
        if act is not None:
            self._do(act)
            return True
        if end == 1:
            self._searched = len(self._in)
            return False
        content = bytes(self._in[:end])
        del self._in[:after]
        self._is_data = False
        act = self.host.message(self, content)
        self.messages += is_yes(act)
        self._reset()
        self._do(act)
        return True

    def _reset(self) -> None:
        self.sender = None
        self.recipients = []

    def _do(self, act: Act) -> None:
        """Carry out *act*, now or after its delay; meanwhile nothing is read."""
        if act.delay:
            self._is_busy = True
            self._flush()
            self._loop.call_later(act.delay, self._after, act)
        else:
            self._finish(act)

    def _after(self, act: Act) -> None:
        if not self._is_over:
            self._finish(act)
            self._work()

    def _finish(self, act: Act) -> None:
        self._is_busy = False
        reply = act.reply.replace("\n", "\r\n").encode() + b"\r\n"
        if act.is_dripping:
            self._is_busy = True
            self._flush()
            self._drip(reply)
        elif act.reply:
            self._out.append(reply)
        if act.then is not Then.GO_ON:
            self._follow(act.then)
        if not self._in:  # else the rest of a pipelined group is answered first
            self._flush()

    def _follow(self, then: Then) -> None:
        """Do what comes after the reply, or in its place."""
        self._is_busy = True
        self._flush()
        match then:
            case Then.GO_ON | Then.HOLD:
                pass
            case Then.HALF_CLOSE:
                if self._transport.can_write_eof():  # TLS has no half
                    self._transport.write_eof()
            case Then.ENCRYPT:
                self._in.clear()  # RFC 3207 §4.2: what came before does not count
                self._encrypting = self._loop.create_task(self._encrypt())
            case Then.CLOSE | Then.DROP:
                self._is_over = True
                self._transport.close()
            case Then.RESET:
                self._is_over = True
                wire = self._transport.get_extra_info("socket")
                linger = struct.pack("ii", 1, 0)  # on, for no time: RST, not FIN
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._transport.abort()

    async def _encrypt(self) -> None:
        """Begin TLS; a client that cannot is gone, and knows why."""
        assert self._tls is not None
        with suppress(OSError):  # ssl.SSLError is one
            made = await self._loop.start_tls(
                self._transport, self, self._tls, server_side=True
            )
            assert made is not None
            self._transport = made
            self.is_encrypted = True
            self._is_busy = False
            self._reset()
            self._work()

    def _drip(self, reply: bytes) -> None:
        if self._is_over:
            return
        self._transport.write(reply[:1])
        if len(reply) > 1:
            self._loop.call_soon(self._drip, reply[1:])
        else:
            self._is_busy = False
            self._work()


def is_yes(act: Act) -> bool:
    """Tell whether *act* lets the client go on."""
    return act.reply[:1] in {"2", "3"}


def _path(text: str, key: str) -> str | None:
    """Read ``FROM:<a@b.test> SIZE=1`` or ``TO:<a@b.test>``."""
    if not text.upper().startswith(key):
        return None
    start, end = text.find("<"), text.find(">")
    return text[start + 1 : end] if 0 <= start < end else None


@asynccontextmanager
async def serving(
    host: Host,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve *host* and yield the port; port 0 takes a free one."""
    loop = asyncio.get_running_loop()
    talking: set[Conversation] = set()

    server = await loop.create_server(
        lambda: Conversation(host, talking, tls=tls), address, port
    )
    try:
        found: int = server.sockets[0].getsockname()[1]
        yield found
    finally:
        server.close()
        for client in list(talking):
            client.hang_up()
        await server.wait_closed()
