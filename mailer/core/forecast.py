"""When a blast will be done, provider by provider, and whether that is in time.

A fluid model: a provider's lanes carry as much as their rates and their warm-up allow,
the most urgent blast first.  Where a lane's limit has been learned, its rate stays what
it is, and a forecast is a moment.  Elsewhere it is between two: at worst the lane stays
at the rate that it has now, at best it grows to its ceiling.

Only first attempts are counted: what a provider puts off comes after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mailer.core import flow
from mailer.core.flow import Mailbox, Plan

_STEPS = 16  # halvings in the search for the latest start: a day to 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Messages a second that all workers send together, at worst and at best."""

    worst: float
    best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is to be expected at one provider; None: not within `HORIZON`.

    Rates are those of all its lanes together, now and at best.
    """

    provider: str
    people: int
    ahead: int  # messages of blasts that go first
    lanes: int
    rate: float
    best_rate: float
    is_learned: bool
    earliest: datetime | None
    latest: datetime | None
    late_at_best: int  # people who would not get it in time
    late_at_worst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is to be expected of a blast; of a range, the two ends."""

    starts_at: datetime
    expires_at: datetime | None
    providers: tuple[Outlook, ...]
    is_range: bool
    earliest: datetime | None
    latest: datetime | None
    late_at_best: int
    late_at_worst: int
    start_by: datetime | None = None  # the latest start for all to get it in time
    start_by_at_best: datetime | None = None

    @property
    def is_hopeless(self) -> bool:
        """Tell whether some cannot get it in time, however well it goes."""
        return self.late_at_best > 0

    @property
    def is_sure(self) -> bool:
        """Tell whether all get it in time, even at worst."""
        return self.late_at_worst == 0


def foresee(
    plan: Plan, mailboxes: Sequence[Mailbox], *, speed: Speed, now: datetime
) -> Forecast:
    """Say when *plan* will be done at each of *mailboxes*, and what will be late."""
    plan = replace(plan, starts_at=max(plan.starts_at, now))
    manned = [one for one in mailboxes if one.people > 0]
    worst = _manned(manned, speed.worst)
    best = _manned(manned, speed.best)
    outlooks = tuple(
        _outlook(plan, at_worst, at_best, now=now)
        for at_worst, at_best in zip(worst, best, strict=True)
    )
    return Forecast(
        starts_at=plan.starts_at,
        expires_at=plan.expires_at,
        providers=outlooks,
        is_range=any(not one.is_learned for one in outlooks),
        earliest=_last([one.earliest for one in outlooks], start=plan.starts_at),
        latest=_last([one.latest for one in outlooks], start=plan.starts_at),
        late_at_best=sum(one.late_at_best for one in outlooks),
        late_at_worst=sum(one.late_at_worst for one in outlooks),
        start_by=_start_by(plan, worst, now=now, is_best=False),
        start_by_at_best=_start_by(plan, best, now=now, is_best=True),
    )


def _manned(mailboxes: Sequence[Mailbox], speed: float) -> list[Mailbox]:
    """Share the workers' *speed* among the lanes that have no limit of their own.

    By what waits for them: they all end together, as they do where every lane has
    the same number of connections for its people.
    """
    free = [
        (one.people + sum(work.count for work in one.others))
        if any(math.isinf(lane.rate) for lane in one.lanes)
        else 0.0
        for one in mailboxes
    ]
    total = sum(free) or 1.0
    found = []
    for one, waiting in zip(mailboxes, free, strict=True):
        unlimited = sum(math.isinf(lane.rate) for lane in one.lanes)
        each = speed * waiting / total / max(1, unlimited)
        lanes = [
            replace(lane, rate=each, ceiling=each, growth=0.0)
            if math.isinf(lane.rate)
            else lane
            for lane in one.lanes
        ]
        found.append(replace(one, lanes=lanes))
    return found


def _outlook(plan: Plan, worst: Mailbox, best: Mailbox, *, now: datetime) -> Outlook:
    low = flow.flow(plan, worst, now=now, is_best=False)
    high = flow.flow(plan, best, now=now, is_best=True)
    return Outlook(
        provider=worst.provider,
        people=worst.people,
        ahead=round(
            sum(one.count for one in worst.others if flow.goes_first(one, plan))
        ),
        lanes=len(worst.lanes),
        rate=sum(lane.rate for lane in worst.lanes),
        best_rate=sum(flow.ceiling(lane) for lane in best.lanes),
        is_learned=all(lane.is_learned for lane in worst.lanes),
        earliest=high.done_at,
        latest=low.done_at,
        late_at_best=high.late,
        late_at_worst=low.late,
    )


def _last(moments: Sequence[datetime | None], *, start: datetime) -> datetime | None:
    known = [one for one in moments if one is not None]
    return max(known, default=start) if len(known) == len(moments) else None


def _start_by(
    plan: Plan, mailboxes: Sequence[Mailbox], *, now: datetime, is_best: bool
) -> datetime | None:
    """Return the latest start for all to get it in time; None: it is too late now."""
    if plan.expires_at is None:
        return None

    def is_in_time(start: datetime) -> bool:
        moved = replace(plan, starts_at=start)
        flows = (flow.flow(moved, one, now=now, is_best=is_best) for one in mailboxes)
        return all(flow.late == 0 for flow in flows)

    if not is_in_time(now):
        return None
    early, late = now, max(now, plan.expires_at)
    for _ in range(_STEPS):
        middle = early + (late - early) / 2
        early, late = (middle, late) if is_in_time(middle) else (early, middle)
    return early
