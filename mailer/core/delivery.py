"""One message owed to one subscriber, its tries and what can come of them.

Stages follow RFC 5321; only a reply lost after the final dot is ambiguous
(RFC 1047, RFC 5321 section 6.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple, NewType

BlastId = NewType("BlastId", int)
SubscriberId = NewType("SubscriberId", int)
ANYBODY = SubscriberId(2**40 - 1)  # whose visits are counted without a name
NOBODY = SubscriberId(0)  # whose message a proof is: its links work, and count nothing


class State(StrEnum):
    """Where a delivery stands; the chart is in docs/states.md."""

    OWED = "owed"
    DEFERRED = "deferred"
    SENT = "sent"
    BOUNCED = "bounced"
    IN_DOUBT = "in_doubt"
    SUPPRESSED = "suppressed"
    HELD_OUT = "held_out"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


OPEN = frozenset({State.OWED, State.DEFERRED})
FINAL = frozenset(State) - OPEN


def may_become(before: State, after: State) -> bool:
    """Tell whether the ledger may move a delivery from *before* to *after*.

    Open states lead anywhere but back to owed; `in_doubt` is left by evidence or
    by a person; a 250 that happened wins over every other end (a result may
    arrive after its lease was lost).
    """
    if before in OPEN:
        return after is not State.OWED
    if before is State.IN_DOUBT:
        return after in {State.SENT, State.BOUNCED, State.DEFERRED, State.OWED}
    if before in {State.EXPIRED, State.CANCELLED} and after in {
        State.IN_DOUBT,
        State.BOUNCED,
    }:
        return True  # it was in DATA when the blast ended
    return after is State.SENT and before not in {State.SENT, State.HELD_OUT}


class Stage(IntEnum):
    """How far an SMTP transaction had come."""

    CONNECT = 0
    EHLO = 1
    TLS = 2
    AUTH = 3
    MAIL = 4
    RCPT = 5
    DATA = 6  # the command; 354 not seen
    BODY = 7  # part of the body written, the dot still in our buffer
    DOT = 8  # the dot may have left us: the only ambiguous stage
    DONE = 9


class Reply(NamedTuple):
    """What a server said, its lines joined: ``452 4.2.2 Mailbox full``."""

    code: int
    text: str  # without the code; may begin with an enhanced status (RFC 3463)

    def __str__(self) -> str:
        """Return the reply as one line."""
        return f"{self.code} {self.text}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The server answered 2xx to the final dot."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """Refused for now, about this message or recipient: an attempt is spent."""

    stage: Stage
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """Refused for good."""

    stage: Stage
    reply: Reply
    suppress: bool = False  # the address is bad, not our mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """The connection or lane was refused, or lost before the dot: no attempt."""

    stage: Stage
    reply: Reply | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """The dot may have left us and no reply was seen."""

    reason: str


Outcome = Accepted | Deferral | Bounce | Throttled | InDoubt
