"""A simulated provider in time-lapse, which weighs what it is sent."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace

import numpy as np

from mailer.mail import sink
from mailer.mail.sink import Act, Conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the messages were, in bytes; *whose* is the recipient of the largest.

    Each as it came over the wire, headers and all.
    """

    messages: int
    smallest: int
    median: int
    most: int  # 95 % of them are no larger
    largest: int
    whose: str


class Paced:
    """A host that hurries the delays of *host*, and weighs the messages."""

    def __init__(self, host: sink.Host, *, speed: float) -> None:
        self._host = host
        self._speed = speed
        self._sizes = array("I")
        self._largest = 0
        self._whose = ""

    @property
    def sizes(self) -> Sizes | None:
        """Return how large the messages were; None without one."""
        if not self._sizes:
            return None
        found = np.frombuffer(self._sizes, dtype=np.uintc)
        median, most = np.percentile(found, [50, 95])
        return Sizes(
            messages=len(found),
            smallest=int(found.min()),
            median=round(median),
            most=round(most),
            largest=self._largest,
            whose=self._whose,
        )

    def _hurried(self, act: Act) -> Act:
        if not act.delay:
            return act
        return replace(act, delay=act.delay / self._speed)

    # ── sink.Host ───────────────────────────────────────────────────────────

    def connected(self, client: Conversation) -> Act:
        """Greet."""
        return self._hurried(self._host.connected(client))

    def ehlo(self, client: Conversation) -> Act:
        """Answer EHLO."""
        return self._hurried(self._host.ehlo(client))

    def starttls(self, client: Conversation) -> Act:
        """Answer STARTTLS."""
        return self._hurried(self._host.starttls(client))

    def mail(self, client: Conversation, sender: str) -> Act:
        """Answer MAIL FROM."""
        return self._hurried(self._host.mail(client, sender))

    def rcpt(self, client: Conversation, address: str) -> Act:
        """Answer RCPT TO."""
        return self._hurried(self._host.rcpt(client, address))

    def data(self, client: Conversation) -> Act:
        """Answer DATA."""
        return self._hurried(self._host.data(client))

    def body(self, client: Conversation, size: int) -> Act | None:
        """Break off while the message comes, if at all."""
        return self._host.body(client, size)

    def message(self, client: Conversation, content: bytes) -> Act:
        """Weigh a message, and answer the final dot."""
        self._sizes.append(len(content))
        if len(content) > self._largest:
            self._largest, self._whose = len(content), client.recipients[0]
        return self._hurried(self._host.message(client, content))

    def other(self, client: Conversation, verb: str) -> Act:
        """Answer anything else."""
        return self._hurried(self._host.other(client, verb))

    def left(self, client: Conversation) -> None:
        """Let the client go."""
        self._host.left(client)
