"""A real SMTP server that plays what a test scripts, and keeps what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from mailer.core.provider import Source, Tls
from mailer.mail import sink
from mailer.mail.sink import Act, Conversation, Then

__all__ = ["Act", "Received", "Sink", "Then", "serving"]

EHLO = ("mx.test", "PIPELINING", "SIZE 50000000", "8BITMIME", "ENHANCEDSTATUSCODES")


@dataclass(frozen=True)
class Received:
    """A message, as it arrived."""

    sender: str | None
    recipient: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """Read it by the standard library's parser."""
        message = BytesParser(policy=policy.default).parsebytes(self.content)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class Sink:
    """The hands of a test on the server.

    Stages of a script: connect, ehlo, mail, rcpt, data, body (while it comes), dot;
    other for any other verb.
    """

    port: int = 0
    extensions: tuple[str, ...] = EHLO
    accepted: list[Received] = field(default_factory=list)
    connections: int = 0
    now_open: int = 0
    most_open: int = 0
    heard: list[str] = field(default_factory=list)  # every RCPT TO
    dots: int = 0  # answered or not
    early: int = 0  # envelopes that came with the body before, in one write
    _script: dict[tuple[str, str], list[Act]] = field(default_factory=dict)
    _waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(
        default_factory=list
    )

    def script(self, address: str, *acts: str | Act, at: str = "rcpt") -> None:
        """Answer *address* with *acts* in turn; the last one repeats.

        *address* is the recipient's, but the sender's at mail; "" at connect and
        ehlo, and at data for a message to nobody.
        """
        self._script[at, address] = [
            act if isinstance(act, Act) else Act(act) for act in acts
        ]

    @property
    def source(self) -> Source:
        """A source that sends here."""
        return Source(name="sink", port=self.port, tls=Tls.NONE, helo="mailer.test")

    async def dotted(self, count: int) -> None:
        """Wait until *count* final dots were read.  TimeoutError after 5 s."""
        await self.reached(lambda: self.dots >= count)

    async def received(self, count: int) -> list[Received]:
        """Wait until *count* messages were accepted.  TimeoutError after 5 s."""
        await self.reached(lambda: len(self.accepted) >= count)
        return self.accepted

    async def reached(self, is_so: Callable[[], bool], *, within: float = 5) -> None:
        """Wait until *is_so*, which is asked when something came.

        TimeoutError after *within* seconds.
        """
        if not is_so():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((is_so, waiter))
            async with asyncio.timeout(within):
                await waiter

    def _say(self, stage: str, address: str, usual: str) -> Act:
        acts = self._script.get((stage, address), [])
        if not acts:
            return Act(usual)
        return acts.pop(0) if len(acts) > 1 else acts[0]

    def _tell(self) -> None:
        for is_so, waiter in self._waiting:
            if is_so() and not waiter.done():
                waiter.set_result(None)

    def connected(self, client: Conversation) -> Act:
        self.connections += 1
        self.now_open += 1
        self.most_open = max(self.most_open, self.now_open)
        return self._say("connect", "", "220 mx.test ESMTP")

    def ehlo(self, client: Conversation) -> Act:
        lines = [f"250-{line}" for line in self.extensions]
        lines[-1] = lines[-1].replace("-", " ", 1)
        return self._say("ehlo", "", "\n".join(lines))

    def starttls(self, client: Conversation) -> Act:
        return self._say("other", "STARTTLS", "500 5.5.2 Unknown command")

    def mail(self, client: Conversation, sender: str) -> Act:
        return self._say("mail", sender, "250 2.1.0 OK")

    def rcpt(self, client: Conversation, address: str) -> Act:
        self.heard.append(address)
        self._tell()
        return self._say("rcpt", address, "250 2.1.5 OK")

    def data(self, client: Conversation) -> Act:
        if not client.recipients:
            return self._say("data", "", "503 5.5.1 No valid recipients")
        return self._say("data", client.recipients[0], "354 Go on")

    def body(self, client: Conversation, size: int) -> Act | None:
        address = _first(client)
        if ("body", address) not in self._script:
            return None
        return self._say("body", address, "")

    def message(self, client: Conversation, content: bytes) -> Act:
        self.dots += 1
        recipient = _first(client)
        usual = "250 2.0.0 Queued" if recipient else "554 5.5.1 No valid recipients"
        act = self._say("dot", recipient, usual)
        if sink.is_yes(act):
            content = sink.unstuffed(content)
            self.accepted.append(
                Received(sender=client.sender, recipient=recipient, content=content)
            )
        self.early += client.has_more
        self._tell()
        return act

    def other(self, client: Conversation, verb: str) -> Act:
        usual = "500 5.5.2 Unknown command"
        if verb == "RSET":
            usual = "250 2.0.0 Reset"
        return self._say("other", verb, usual)

    def left(self, client: Conversation) -> None:
        self.now_open -= 1


def _first(client: Conversation) -> str:
    return client.recipients[0] if client.recipients else ""


@asynccontextmanager
async def serving(*, address: str = "127.0.0.1") -> AsyncIterator[Sink]:
    """Serve a sink on a free port of *address*, in the loop of the test."""
    served = Sink()
    async with sink.serving(served, address=address) as served.port:
        yield served
