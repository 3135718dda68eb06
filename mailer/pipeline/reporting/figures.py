"""What a report says, as values: counts, rates with intervals, beliefs, verdict.

None is unknown; it is never shown as 0.  Shares are from 0 to 1, dollars of a
`Range` per 1,000 recipients that were attempted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from mailer.core import stats

THOUSAND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened, in people and messages."""

    recipients: int = 0
    sent: int = 0
    deferrals: int = 0  # attempts that were put off
    bounced: int = 0
    in_doubt: int = 0
    suppressed: int = 0
    held_out: int = 0
    expired: int = 0
    cancelled: int = 0
    failed: int = 0
    opens: int = 0  # people, by a human
    machine_opens: int = 0
    clicks: int = 0
    machine_clicks: int = 0
    unsubscribes: int = 0
    complaints: int = 0
    returned: int = 0  # people: accepted, then came back by mail
    donors: int = 0
    gifts: int = 0
    money: Decimal = Decimal(0)

    @property
    def attempted(self) -> int:
        """Return who may have got it: the denominator of every rate."""
        return self.sent + self.bounced + self.in_doubt

    @property
    def waiting(self) -> int:
        """Return who has no end yet."""
        ended = self.suppressed + self.held_out + self.expired + self.cancelled
        return self.recipients - self.attempted - ended - self.failed

    @property
    def average_gift(self) -> Decimal | None:
        """Return what a donor gave, or None when nobody did."""
        return self.money / self.donors if self.donors and self.money > 0 else None

    @classmethod
    def total(cls, rows: Iterable[Counts]) -> Counts:
        """Add up *rows*."""
        kept = list(rows)
        sums = {
            one.name: sum(getattr(row, one.name) for row in kept) for one in fields(cls)
        }
        return cls(**{**sums, "money": Decimal(sums["money"])})

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Counts:
        """Take the counters out of a row of the rollup."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share with its Wilson interval."""

    events: int
    trials: int
    value: float
    low: float
    high: float


def rate(events: int, trials: int) -> Rate | None:
    """Return *events* of *trials*, or None where that is no share."""
    if not 0 <= events <= trials or trials == 0:
        return None
    interval = stats.wilson(events, trials)
    assert interval is not None, "there are trials"
    return Rate(
        events=events,
        trials=trials,
        value=events / trials,
        low=interval.low,
        high=interval.high,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The shares of what was attempted."""

    accepted: Rate | None
    bounced: Rate | None  # refused at once, or returned later
    opens: Rate | None
    clicks: Rate | None
    unsubscribes: Rate | None
    complaints: Rate | None
    donors: Rate | None

    @classmethod
    def of(cls, counts: Counts) -> Rates:
        """Compute each from *counts*."""
        return cls(
            accepted=rate(counts.sent, counts.attempted),
            bounced=rate(counts.bounced + counts.returned, counts.attempted),
            opens=rate(counts.opens, counts.attempted),
            clicks=rate(counts.clicks, counts.attempted),
            unsubscribes=rate(counts.unsubscribes, counts.attempted),
            complaints=rate(counts.complaints, counts.attempted),
            donors=rate(counts.donors, counts.attempted),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What is believed of a variant, given all of them (pooled)."""

    value: float
    low80: float
    high80: float
    low95: float
    high95: float
    p_best: float
    loss: float  # expected, against the unknown best


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant."""

    position: int
    name: str
    subject: str
    is_control: bool
    counts: Counts
    rates: Rates
    raised: Range | None  # dollars per 1,000, as they came in
    belief: Belief | None  # in the unit of the report's score, per 1,000
    largest: Decimal | None  # sum of one donor
    squares: float | None  # of the donors' sums; None: not known, SPREAD is taken
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """How much more than a reference a variant brought: .25 is a quarter more."""

    name: str
    reference: str  # a variant, or "mean of all"
    measure: str  # what is compared: dollars, donors, clicks
    ratio: float
    low: float  # valid at any look; None of it where too little has happened
    high: float
    p: float
    is_peek_safe: bool  # else: at a fixed instant, corrected for all contrasts
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByProvider:
    """One mailbox provider, all variants together."""

    provider: str
    counts: Counts
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What had come in by the end of an hour, since the start."""

    variant: str
    hours: int  # since the first hour, which is 1
    sent: int
    opens: int
    clicks: int
    donors: int
    money: Decimal
    per_thousand: float | None  # dollars, over all that were attempted in the end


class Label(StrEnum):
    """How far a test has come to an answer."""

    CLEAR = "clear"
    LEADING = "leading"
    TOSS_UP = "toss-up"
    UNDECIDED = "undecided"
    SINGLE = "single"  # one variant: nothing to choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a person should take away."""

    label: Label
    sentence: str
    winner: str | None = None


class Health(StrEnum):
    """How worried to be."""

    GOOD = "good"
    WATCH = "watch"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    health: Health
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Which blast, and when it was looked at."""

    blast: str
    number: int
    state: str
    topic: str
    launched_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    as_of: datetime
    hours: float | None  # since the middle of the sending
    maturity: float | None  # share of gifts that are in, assumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A blast, in the list of those that there are reports of."""

    name: str
    state: str
    topic: str
    launched_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How the figures were made, so that they can be made again."""

    score: str  # "dollars", "donors" or "clicks"; "" when nothing was scored
    stages: tuple[str, ...] = ()
    tau: tuple[float, ...] = ()
    seed: int = 0
    alpha: float = stats.ALPHA
    spread: float | None = None  # 1 + CV² of gifts; None: assumed
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a report shows, in every door."""

    head: Head
    verdict: Verdict
    totals: Counts
    rates: Rates
    raised: Range | None
    arms: tuple[Arm, ...]  # the best first
    lifts: tuple[Lift, ...]
    providers: tuple[ByProvider, ...]  # the largest first
    hours: tuple[Hour, ...]
    health: tuple[Check, ...]
    method: Method = field(default_factory=lambda: Method(score=""))
