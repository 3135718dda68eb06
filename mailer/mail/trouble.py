"""What goes wrong at the simulated providers: storms of 421, cut wires, odd replies.

A scenario's ``[[trouble]]`` tables say at which step of a conversation, for whom and
for how long.  What a server may do to us is told by RFC 5321 §3.8 (421 at any time)
and §4.5.3.2 (time limits), RFC 1047 (silence after the dot), and by what we saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from mailer.mail import sink
from mailer.mail.share import Share
from mailer.mail.sink import Act, Conversation, Then

SHOUT = 1_000_000  # octets of a reply line; RFC 5321 §4.5.3.1.5 allows 512
CHATTER = "250 2.0.0 By the way"


class At(StrEnum):
    """A step of a conversation, in order; from rcpt on the address is known."""

    CONNECT = "connect"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"  # while the message comes
    DOT = "dot"  # the message is taken, unless `says` refuses it


class Does(StrEnum):
    """What happens instead of the usual answer, or to it."""

    SAY = "say"  # answer `says`; after a 421 the connection is closed
    RESET = "reset"  # no answer: TCP reset
    HANG_UP = "hang-up"  # no answer: closed
    HALF_CLOSE = "half-close"  # no answer: says nothing more, but still listens
    SILENCE = "silence"  # no answer, ever
    ANSWER_RESET = "answer-reset"  # the usual answer, then TCP reset
    DRIP = "drip"  # the usual answer, byte by byte
    CHATTER = "chatter"  # the usual answer, and one that nobody asked for
    SHOUT = "shout"  # the usual answer with a line of 1 MB


INSTEAD = {
    Does.RESET: Act(then=Then.RESET),
    Does.HANG_UP: Act(then=Then.DROP),
    Does.HALF_CLOSE: Act(then=Then.HALF_CLOSE),
    Does.SILENCE: Act(then=Then.HOLD),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that goes wrong."""

    at: At
    does: Does
    says: str = "421 4.7.0 Try again later"
    domains: tuple[str, ...] = ()  # of recipients; none: all.  From rcpt on
    share: Share = field(default_factory=lambda: Share(1.0))  # of addresses
    times: int | None = None  # an address meets it so often, then no more
    begins: timedelta = timedelta(0)  # since the first connection
    lasts: timedelta | None = None  # for ever, if not set

    def __post_init__(self) -> None:
        if self.at in {At.CONNECT, At.EHLO, At.MAIL} and self.domains:
            message = f"at {self.at} nobody knows the recipient: leave domains out"
            raise ValueError(message)
        if self.at is At.BODY and self.does not in INSTEAD:
            cures = ", ".join(INSTEAD)
            message = f"nothing is answered while the body comes: write {cures}"
            raise ValueError(message)

    def is_due(self, age: float) -> bool:
        """Tell whether it is the time for it, so many seconds after the start."""
        begins = self.begins.total_seconds()
        if age < begins:
            return False
        return self.lasts is None or age < begins + self.lasts.total_seconds()

    def concerns(self, key: str, turn: int) -> bool:
        """Tell whether it happens to *key*, an address or the number of a connection,
        that comes for the *turn*-th time.
        """
        if self.times is not None and turn > self.times:
            return False
        if self.domains and key.rpartition("@")[2].lower() not in self.domains:
            return False
        return self.share.value >= 1 or self.share.has(key, f"{self.at} {self.does}")

    def change(self, usual: Act) -> Act:
        """Return what is done where *usual* would have been."""
        return replace(self._changed(usual), trouble=self.does)

    def _changed(self, usual: Act) -> Act:
        match self.does:
            case Does.SAY:
                closes = self.says.startswith("421")
                return Act(self.says, Then.CLOSE if closes else Then.GO_ON)
            case Does.ANSWER_RESET:
                return replace(usual, then=Then.RESET)
            case Does.DRIP:
                return replace(usual, is_dripping=True)
            case Does.CHATTER:
                return replace(usual, reply=f"{usual.reply}\n{CHATTER}")
            case Does.SHOUT:
                return replace(usual, reply=usual.reply + " " + "x" * SHOUT)
            case _:
                return INSTEAD[self.does]


class Troubled:
    """A host to whom things happen; what is not in trouble, *host* answers."""

    def __init__(
        self,
        host: sink.Host,
        troubles: Sequence[Trouble],
        *,
        time: Callable[[], float],
    ) -> None:
        self._host = host
        self._troubles = {at: [one for one in troubles if one.at is at] for at in At}
        self._time = time
        self._began: float | None = None
        self._turns: Counter[tuple[Trouble, str]] = Counter()

    def _met(self, at: At, key: str, *, turns_of: str | None = None) -> Trouble | None:
        """Return what happens to *key* now, if anything, and count it."""
        now = self._time()
        if self._began is None:
            self._began = now
        for trouble in self._troubles[at]:
            if not trouble.is_due(now - self._began):
                continue
            counted = trouble, key if turns_of is None else turns_of
            if trouble.concerns(key, self._turns[counted] + 1):
                self._turns[counted] += 1
                return trouble
        return None

    def _greeted(self, at: At, client: Conversation, usual: Callable[[], Act]) -> Act:
        """Answer a step before the recipient is known: counted by connection."""
        trouble = self._met(at, str(client.number), turns_of="")
        return usual() if trouble is None else trouble.change(usual())

    # ── sink.Host ───────────────────────────────────────────────────────────

    def connected(self, client: Conversation) -> Act:
        """Greet."""
        return self._greeted(At.CONNECT, client, lambda: self._host.connected(client))

    def ehlo(self, client: Conversation) -> Act:
        """Answer EHLO."""
        return self._greeted(At.EHLO, client, lambda: self._host.ehlo(client))

    def starttls(self, client: Conversation) -> Act:
        """Answer STARTTLS."""
        return self._host.starttls(client)

    def mail(self, client: Conversation, sender: str) -> Act:
        """Answer MAIL FROM."""
        return self._greeted(At.MAIL, client, lambda: self._host.mail(client, sender))

    def rcpt(self, client: Conversation, address: str) -> Act:
        """Answer RCPT TO; what is refused here is not counted by the provider."""
        trouble = self._met(At.RCPT, address)
        if trouble is None:
            return self._host.rcpt(client, address)
        if trouble.does is Does.SAY:
            return trouble.change(Act())
        return trouble.change(self._host.rcpt(client, address))

    def data(self, client: Conversation) -> Act:
        """Answer DATA."""
        usual = self._host.data(client)
        if not client.recipients:
            return usual
        trouble = self._met(At.DATA, client.recipients[0])
        return usual if trouble is None else trouble.change(usual)

    def body(self, client: Conversation, size: int) -> Act | None:
        """Break off while the message comes."""
        trouble = (
            self._met(At.BODY, client.recipients[0]) if client.recipients else None
        )
        if trouble is None:
            return self._host.body(client, size)
        return trouble.change(Act())

    def message(self, client: Conversation, content: bytes) -> Act:
        """Take the message, unless `says` refuses it; then see what happens."""
        trouble = self._met(At.DOT, client.recipients[0]) if client.recipients else None
        if trouble is None:
            return self._host.message(client, content)
        if trouble.does is Does.SAY and not trouble.says.startswith("2"):
            return trouble.change(Act())
        return trouble.change(self._host.message(client, content))

    def other(self, client: Conversation, verb: str) -> Act:
        """Answer anything else."""
        return self._host.other(client, verb)

    def left(self, client: Conversation) -> None:
        """Learn that the client is gone."""
        self._host.left(client)
