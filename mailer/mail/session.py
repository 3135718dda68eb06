"""Send messages over one open connection, knowing the stage of each.

The overlap of RFC 2920: where the server offers PIPELINING, MAIL, RCPT and DATA are
one write, and the body of a message goes out together with the envelope of the next
that waits, so that a message costs one round trip.  For that, two tasks call `send`
on the same session; whose turn it is, the session decides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Reply, Stage
from mailer.mail import envelope
from mailer.mail.reply import ProtocolError, Reader

End = Answered | Lost


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


class _Message:
    """One transaction: its commands, how it ended, and who waits for it."""

    __slots__ = ("commands", "data", "end", "is_withdrawn", "may_send", "waiter")

    def __init__(
        self, commands: list[tuple[Stage, bytes]], data: bytes, waiter: _Waiter
    ) -> None:
        self.commands = commands
        self.data = data
        self.waiter = waiter
        self.end: End | None = None
        self.may_send = False  # the server said 354, the body is not written
        self.is_withdrawn = False

    def wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


_Waiter = asyncio.Future[None]


class Session(asyncio.Protocol):
    """One connection, greeted, encrypted and logged in."""

    def __init__(self, *, extensions: Mapping[str, str], limits: Limits) -> None:
        self.extensions = extensions
        self.limits = limits
        self.is_pipelining = "pipelining" in extensions
        self.accepted = 0
        self._loop = asyncio.get_running_loop()
        self._closed: _Waiter = self._loop.create_future()
        self._reader = Reader()
        self._queue: deque[_Message] = deque()  # nothing of it written
        self._current: _Message | None = None  # envelope written, body not
        self._expected: deque[tuple[_Message | None, Stage | _Other]] = deque()
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

    async def send(
        self,
        sender: str,
        recipient: str,
        data: bytes,
        *,
        before_body: Callable[[], Awaitable[None]],
    ) -> End:
        """Send *data* (CRLF lines, dots not stuffed) and return how it ended.

        *before_body* is awaited when the server has said 354, before the first byte
        whose dot may follow; when it raises, or on a cancel before that, nothing is
        sent and the connection is closed where there is no other way out.
        From the dot on nothing cancels: a cancel is delivered at the caller's next
        await, when the answer is known.  Raises Invalid for what is no address or no
        message, before any byte is written.
        """
        commands = envelope.commands(sender, recipient, data, offered=self.extensions)
        if isinstance(commands, Answered):
            return commands
        if self._failure is not None:
            return Lost(stage=Stage.CONNECT, reason=self._failure)
        message = _Message(commands, data, self._loop.create_future())
        self._queue.append(message)
        self._next()
        try:
            await message.waiter
            if message.end is None:
                await before_body()
        except BaseException:
            self._withdraw(message)
            raise
        if message.end is None:
            self._write_body(message)
        return await self._answer(message)

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

    def _next(self, before: bytes = b"") -> None:
        """Write *before*, with the envelope of the next message if it may follow."""
        group = b""
        if (
            self._queue
            and self._current is None
            and (self.is_pipelining or not self._expected)
        ):
            group = self._begin(self._queue.popleft())
        if before or group:
            self._has_tail = bool(before and group)
            self._write(before + group)

    def _begin(self, message: _Message) -> bytes:
        """Make *message* the current one; return its first write."""
        self._current = message
        group = b""
        if self._must_reset:  # the last transaction is still open
            self._must_reset = False
            self._expected.append((None, _Other.RSET))
            group = b"RSET\r\n"
            if not self.is_pipelining:
                return group
        if not self.is_pipelining:
            return self._step(message)
        for stage, command in message.commands:
            self._expected.append((message, stage))
            group += command
        message.commands = []
        return group

    def _step(self, message: _Message) -> bytes:
        """Return the next command of a plain dialogue."""
        stage, command = message.commands.pop(0)
        self._expected.append((message, stage))
        return command

    def _write_body(self, message: _Message) -> None:
        """Write body and dot, with the next envelope: from here on it is in doubt."""
        self._current = None
        self._expected.append((message, Stage.DOT))
        data, message.data = message.data, b""
        self._next(envelope.stuffed(data))

    def _write(self, data: bytes) -> None:
        self._since = self._loop.time()
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
        try:
            replies = self._reader.feed(data)
        except ProtocolError as error:
            self._fail(str(error))
            return
        self._since = self._loop.time()
        for reply in replies:
            if self._failure is not None and not self._expected:
                return
            self._take(reply)
            if reply.code == 421:  # RFC 5321 §3.8: it closes the channel
                self._fail(f"the server closed the connection: {reply}")

    def _take(self, reply: Reply) -> None:
        if not self._expected:
            # Whose reply is the next one?  Nobody can know any more.
            self._fail(f"a reply to nothing: {reply}")
            return
        message, stage = self._expected.popleft()
        if message is None:
            self._take_other(stage, reply)
        elif stage is Stage.DOT:
            self._take_dot(message, reply)
        elif stage is Stage.DATA:
            self._take_data(message, reply)
        elif 300 <= reply.code < 400:
            self._out_of_step(message, stage, reply)
        elif reply.code >= 400:
            self._refuse(message, Stage(stage), reply)
        elif message.commands and message.is_withdrawn:
            message.commands = []
            self._current, self._must_reset = None, True
            self._next()
        elif message.commands:
            self._write(self._step(message))

    def _take_other(self, stage: Stage | _Other, reply: Reply) -> None:
        if stage is _Other.QUIT:
            self._transport.close()
        elif stage is _Other.RSET and reply.code >= 300:
            self._fail(f"RSET refused: {reply}")
        elif self._current is not None and self._current.commands:
            self._write(self._step(self._current))
        else:
            self._next()

    def _take_data(self, message: _Message, reply: Reply) -> None:
        if reply.code >= 400:
            self._refuse(message, Stage.DATA, reply)
            self._current, self._must_reset = None, True
            self._next()
        elif reply.code != 354:
            self._out_of_step(message, Stage.DATA, reply)
        elif message.is_withdrawn and message.end is None:
            self._fail("withdrawn: only closing keeps it from being sent")
        elif message.end is not None:  # RFC 2920 §3.1: refused before, 354 all the same
            self._current = None
            self._expected.append((None, _Other.LONE_DOT))
            self._next(b".\r\n")
        else:
            message.may_send = True
            message.wake()

    def _take_dot(self, message: _Message, reply: Reply) -> None:
        if 300 <= reply.code < 400:
            self._out_of_step(message, Stage.DOT, reply)
            return
        self.accepted += reply.code < 300
        message.end = Answered(stage=Stage.DOT, reply=reply)
        message.wake()
        self._next()

    def _refuse(self, message: _Message, stage: Stage, reply: Reply) -> None:
        """End *message* with its first refusal; in a plain dialogue, go on."""
        if message.end is None:
            message.end = Answered(stage=stage, reply=reply)
            message.wake()
        if message.commands:
            message.commands = []
            self._current, self._must_reset = None, stage is not Stage.MAIL
            self._next()

    def _out_of_step(
        self, message: _Message, stage: Stage | _Other, reply: Reply
    ) -> None:
        self._expected.appendleft((message, stage))
        self._fail(f"out of step: {reply}")

    # ── How it ends ─────────────────────────────────────────────────────────

    async def _answer(self, message: _Message) -> End:
        """Wait for the end of *message*; a cancel is kept until it is known."""
        task = None
        while message.end is None:
            message.waiter = self._loop.create_future()
            try:
                await message.waiter
            except asyncio.CancelledError:
                task = asyncio.current_task()
        if task is not None:
            task.uncancel()
            task.cancel()  # delivered at the caller's next await
        return message.end

    def _withdraw(self, message: _Message) -> None:
        """Make sure that *message* is not sent."""
        message.is_withdrawn = True
        if message in self._queue:
            self._queue.remove(message)
        elif message.may_send and message.end is None:
            self._fail("withdrawn: only closing keeps it from being sent")

    def _fail(self, reason: str) -> None:
        """Close at once; everybody who waits learns how far their message came."""
        if self._failure is None:
            self._failure = reason
        expected, self._expected = self._expected, deque()
        for message, stage in expected:
            if message is not None:
                self._lose(message, self._reached(stage), reason)
        if self._current is not None:
            unsaid = self._current.commands
            self._lose(self._current, unsaid[0][0] if unsaid else Stage.BODY, reason)
        for message in self._queue:
            self._lose(message, Stage.CONNECT, reason)
        self._queue.clear()
        self._current = None
        self._transport.abort()

    def _reached(self, stage: Stage | _Other) -> Stage:
        """Return *stage*; BODY when the dot is known not to have left us."""
        if stage is Stage.DOT and self._is_unsent and not self._has_tail:
            return Stage.BODY
        return Stage(stage)

    def _lose(self, message: _Message, stage: Stage, reason: str) -> None:
        if message.end is None:
            message.end = Lost(stage=stage, reason=reason)
            message.wake()

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
