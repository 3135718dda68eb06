"""Send messages over one open connection, knowing the stage of each.

The overlap of RFC 2920: where the server offers PIPELINING, MAIL, RCPT and DATA are
one write, and the body of a message goes out together with the envelope of the next,
so that a message costs one round trip.  The session pulls messages out of a `Cargo`
whenever there is room, in the callback that read the reply: no task wakes for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Reply, Stage
from mailer.mail import envelope
from mailer.mail.desk import Desk
from mailer.mail.parcel import Cargo, End, Parcel
from mailer.mail.reply import ProtocolError, Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many seconds a server has for what.  RFC 5321 §4.5.3.2, or less where a
    second try is safe; never at the dot: a short wait there makes second copies.
    """

    connect: float = 30.0
    greeting: float = 60.0  # banner, EHLO, STARTTLS, AUTH: each
    mail: float = 120.0
    rcpt: float = 120.0
    data: float = 120.0
    body: float = 180.0  # until the last byte has left our buffer
    dot: float = 600.0
    quit: float = 2.0


class _Other(IntEnum):
    """Replies that end no message."""

    RSET = 20
    LONE_DOT = 21  # of a message that is not sent
    QUIT = 22


class Session(asyncio.Protocol):
    """One connection, greeted, encrypted and logged in."""

    def __init__(self, *, extensions: Mapping[str, str], limits: Limits) -> None:
        self.extensions = extensions
        self.limits = limits
        self.is_pipelining = "pipelining" in extensions
        self.begun = 0  # envelopes written, whatever became of them
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._reader = Reader()
        self._cargo: Cargo | None = None
        self._current: Parcel | None = None  # envelope written, body not
        self._ready: Parcel | None = None  # … and the server waits for the body
        self._expected: deque[tuple[Parcel | None, Stage | _Other]] = deque()
        self._must_reset = False
        self._failure: str | None = None
        self._is_unsent = False  # bytes are left in our buffer
        self._has_tail = False  # … and the dot may not be the last of them
        self._since = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._limit: Mapping[int, float] = {
            Stage.MAIL: limits.mail, Stage.RCPT: limits.rcpt, Stage.DATA: limits.data,
            Stage.DOT: limits.dot, _Other.RSET: limits.mail,
            _Other.LONE_DOT: limits.data, _Other.QUIT: limits.quit,
        }  # fmt: skip

    @property
    def is_open(self) -> bool:
        """Tell whether another message may be sent."""
        return self._failure is None

    def carry(self, cargo: Cargo) -> None:
        """Send what *cargo* gives, from now on; only when no other is under way."""
        self._cargo = cargo
        self.pull()

    def pull(self) -> None:
        """Ask the cargo for a message if there is room: it may have one again."""
        if self._failure is None:
            self._next()

    def parcel(
        self,
        sender: str,
        recipient: str,
        data: bytes,
        *,
        wish: envelope.Wish = envelope.NOTHING,
        is_clean: bool = False,
        is_dotless: bool = False,
    ) -> Parcel | Answered:
        """Return a transaction for this server, or the refusal it need not say.

        *data* has CRLF lines, which is not looked at again when it *is_clean*; dots
        are stuffed, unless it *is_dotless*: no line begins with one.
        Raises Invalid for what is no address or no message.
        """
        found = envelope.commands(
            sender,
            recipient,
            data,
            offered=self.extensions,
            wish=wish,
            is_clean=is_clean,
        )
        if isinstance(found, Answered):
            return found
        return Parcel(found, data, is_dotless=is_dotless)

    async def send(
        self,
        sender: str,
        recipient: str,
        data: bytes,
        *,
        before_body: Callable[[], None] = lambda: None,
    ) -> End:
        """Send one message and return how it ended; several tasks may ask at once.

        *before_body* is called when the server has said 354; when it raises, or on a
        cancel before that, nothing is sent and the connection may be closed.
        From the dot on nothing cancels: a cancel is delivered at the caller's next
        await, when the answer is known.  Raises as `parcel` does.
        """
        parcel = self.parcel(sender, recipient, data)
        if isinstance(parcel, Answered):
            return parcel
        if self._failure is not None:
            return Lost(stage=Stage.CONNECT, reason=self._failure)
        desk = self._cargo if isinstance(self._cargo, Desk) else Desk()
        self._cargo = desk
        post = desk.take(parcel, before_body)
        self.pull()
        return await post.answer()

    async def quit(self) -> None:
        """Say good-bye if nobody is being served, and close without waiting long."""
        if self._failure is None and not self._expected and self._current is None:
            self._failure = "we said QUIT"
            self._expected.append((None, _Other.QUIT))
            self._write(b"QUIT\r\n")
            try:
                async with asyncio.timeout(self.limits.quit):
                    await asyncio.shield(self._closed)
            except TimeoutError:
                pass
        await self.close()

    async def close(self) -> None:
        """Close at once, whatever is going on."""
        self._fail("we closed the connection")
        await asyncio.shield(self._closed)

    # ── What is written ─────────────────────────────────────────────────────

    def _next(self, end: bytes = b"", body: bytes = b"") -> None:
        """Write *body* and its *end*, and the next envelope if it may follow."""
        group = b""
        if (
            self._current is None
            and (self.is_pipelining or not self._expected)
            and self._cargo is not None
            and (parcel := self._cargo.next()) is not None
        ):
            group = self._begin(parcel)
        if end or group:
            self._has_tail = bool(end and group)
            self._write(end + group, body)

    def _begin(self, parcel: Parcel) -> bytes:
        """Make *parcel* the current one; return its first write."""
        self._current = parcel
        self.begun += 1
        group = b""
        if self._must_reset:  # the last transaction is still open
            self._must_reset = False
            self._expected.append((None, _Other.RSET))
            group = b"RSET\r\n"
            if not self.is_pipelining:
                return group
        if not self.is_pipelining:
            return self._step(parcel)
        for stage, command in parcel.commands:
            self._expected.append((parcel, stage))
            group += command
        parcel.commands = []
        return group

    def _step(self, parcel: Parcel) -> bytes:
        """Return the next command of a plain dialogue."""
        stage, command = parcel.commands.pop(0)
        self._expected.append((parcel, stage))
        return command

    def _write_body(self, parcel: Parcel) -> None:
        """Write body and dot, with the next envelope: from here on it is in doubt."""
        assert self._cargo is not None
        try:
            self._cargo.begin(parcel)
        except Exception as error:  # noqa: BLE001 -- whatever it was, nothing is sent
            self._fail(f"withdrawn: {error}")
            return
        self._current = None
        self._expected.append((parcel, Stage.DOT))
        data, parcel.data = parcel.data, b""
        body = data if parcel.is_dotless else envelope.stuffed(data)
        self._next(envelope.end(body), body)

    def _write(self, data: bytes, body: bytes = b"") -> None:
        self._since = self._loop.time()
        if body:
            self._transport.writelines((body, data))  # nothing is copied for it
        else:
            self._transport.write(data)
        if self._watch is None:
            self._look()

    # ── What is read ────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and be told when its buffer is not empty."""
        # uvloop's transports are no asyncio.Transport by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Give each reply to what waits for it, in order."""
        self._since = self._loop.time()
        try:
            for reply in self._reader.feed(data):
                if self._failure is not None and not self._expected:
                    return
                self._take(reply)
                if reply.code == 421:  # RFC 5321 §3.8: it closes the channel
                    self._fail(f"the server closed the connection: {reply}")
        except ProtocolError as error:
            self._fail(str(error))
            return
        # Only now: a reply that came with the 354 is none to a dot not yet written.
        if self._ready is not None:
            parcel, self._ready = self._ready, None
            self._write_body(parcel)

    def _take(self, reply: Reply) -> None:
        if not self._expected:
            # Whose reply is the next one?  Nobody can know any more.
            self._fail(f"a reply to nothing: {reply}")
            return
        parcel, stage = self._expected.popleft()
        if parcel is None:
            self._take_other(stage, reply)
        elif stage is Stage.DOT:
            self._take_dot(parcel, reply)
        elif stage is Stage.DATA:
            self._take_data(parcel, reply)
        elif 300 <= reply.code < 400:
            self._out_of_step(parcel, stage, reply)
        elif reply.code >= 400:
            self._refuse(parcel, Stage(stage), reply)
        elif parcel.commands:
            self._write(self._step(parcel))

    def _take_other(self, stage: Stage | _Other, reply: Reply) -> None:
        if stage is _Other.QUIT:
            # Not within this read: with TLS the same packet may have said the end.
            self._loop.call_soon(self._transport.close)
        elif stage is _Other.RSET and reply.code >= 300:
            self._fail(f"RSET refused: {reply}")
        elif self._current is not None and self._current.commands:
            self._write(self._step(self._current))
        else:
            self._next()

    def _take_data(self, parcel: Parcel, reply: Reply) -> None:
        if reply.code >= 400:
            self._refuse(parcel, Stage.DATA, reply)
            self._current, self._must_reset = None, True
            self._next()
        elif reply.code != 354:
            self._out_of_step(parcel, Stage.DATA, reply)
        elif parcel.is_ended:  # RFC 2920 §3.1: refused before, 354 all the same
            self._current = None
            self._expected.append((None, _Other.LONE_DOT))
            self._next(b".\r\n")
        else:
            self._ready = parcel

    def _take_dot(self, parcel: Parcel, reply: Reply) -> None:
        if 300 <= reply.code < 400:
            self._out_of_step(parcel, Stage.DOT, reply)
            return
        self._end(parcel, Answered(stage=Stage.DOT, reply=reply))
        self._next()

    def _refuse(self, parcel: Parcel, stage: Stage, reply: Reply) -> None:
        """End *parcel* with its first refusal; in a plain dialogue, go on."""
        self._end(parcel, Answered(stage=stage, reply=reply))
        if parcel.commands:
            parcel.commands = []
            self._current, self._must_reset = None, stage is not Stage.MAIL
            self._next()

    def _out_of_step(self, parcel: Parcel, stage: Stage | _Other, reply: Reply) -> None:
        self._expected.appendleft((parcel, stage))
        self._fail(f"out of step: {reply}")

    # ── How it ends ─────────────────────────────────────────────────────────

    def _end(self, parcel: Parcel, end: End) -> None:
        """Tell the cargo how *parcel* ended, once."""
        if not parcel.is_ended and self._cargo is not None:
            parcel.is_ended = True
            self._cargo.end(parcel, end)

    def _fail(self, reason: str) -> None:
        """Close at once; the cargo learns how far each parcel came."""
        is_first = self._failure is None
        if self._failure is None:
            self._failure = reason
        expected, self._expected = self._expected, deque()
        current, self._current, self._ready = self._current, None, None
        for parcel, stage in expected:
            if parcel is not None:
                self._end(parcel, Lost(stage=self._reached(stage), reason=reason))
        if current is not None:
            stage = current.commands[0][0] if current.commands else Stage.BODY
            self._end(current, Lost(stage=stage, reason=reason))
        self._transport.abort()
        if is_first and self._cargo is not None:
            self._cargo.closed(reason)

    def _reached(self, stage: Stage | _Other) -> Stage:
        """Return *stage*; BODY when the dot is known not to have left us."""
        if stage is Stage.DOT and self._is_unsent and not self._has_tail:
            return Stage.BODY
        return Stage(stage)

    def eof_received(self) -> None:
        """Treat a half-closed connection as closed."""
        self._fail("the server closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        """End everything that is still open."""
        self._fail(str(error) if error else "the server closed the connection")
        if self._watch is not None:
            self._watch.cancel()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Note that not all has left our buffer."""
        self._is_unsent = True

    def resume_writing(self) -> None:
        """Note that all has left us: the server's time begins."""
        self._is_unsent = False
        self._since = self._loop.time()

    def _look(self) -> None:
        """Close when the oldest answer is overdue; look again when it could be.

        One timer for a connection: one for each wait would cost more than parsing.
        """
        self._watch = None
        if not self._expected:
            return
        stage = self._expected[0][1]
        allowed = self._limit[stage]
        if stage is Stage.DOT and self._is_unsent:
            allowed = self.limits.body
        left = self._since + allowed - self._loop.time()
        if left <= 0:
            self._fail("timed out")
            return
        # The next answer that is waited for may have less time than this one.
        self._watch = self._loop.call_later(min(left, self.limits.data), self._look)
