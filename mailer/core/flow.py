"""How messages flow through a provider's lanes: a fluid, the most urgent blast first.

A lane carries as much as its rate, its growth and its warm-up allow, from now on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HORIZON = timedelta(days=60)  # after its start; what takes longer is never done
MINUTE = 60.0
DAY = 86400.0
_NOTHING = 1e-6  # of a message: what is left by rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What a lane bears, in messages a second; infinite: as much as the workers do."""

    rate: float  # as it is now
    ceiling: float = 0.0  # where growth ends: what the provider bears, once learned
    growth: float = 0.0  # added in each minute of use
    doubles_below: float = 0.0  # slow start: up to here it doubles each minute
    is_learned: bool = False  # it grows to its ceiling; else nobody knows if it does
    opens_at: datetime | None = None  # closed until then
    credit: float = 0.0  # messages that may go at once: the burst
    caps: tuple[float, ...] = ()  # left of today's, tomorrow's …; then there is none
    paces: tuple[float, ...] = ()  # the fastest that it goes today, tomorrow …


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Messages of another blast that wait for the same lanes."""

    count: float
    starts_at: datetime
    expires_at: datetime | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A provider: how many of the blast's people are there, and who carries them."""

    provider: str
    people: int
    lanes: Sequence[Lane]
    others: Sequence[Work] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The blast: when it may go out and how urgent it is."""

    starts_at: datetime
    expires_at: datetime | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Flown:
    """How a blast goes at one provider; *late* are people who would not get it."""

    done_at: datetime | None  # None: not within `HORIZON`
    late: int


def flow(plan: Plan, mailbox: Mailbox, *, now: datetime, is_best: bool) -> Flown:
    """Let the messages flow until those of the blast are through."""

    def after(moment: datetime | None, default: float) -> float:
        return default if moment is None else (moment - now).total_seconds()

    first = [
        _Queue(one.count, after(one.starts_at, 0.0), after(one.expires_at, math.inf))
        for one in sorted(mailbox.others, key=_urgency)
        if goes_first(one, plan)
    ]
    ours = _Queue(mailbox.people, after(plan.starts_at, 0.0))
    pipes = [
        _Pipe(
            lane=lane,
            opens=after(lane.opens_at, 0.0),
            is_growing=is_best or lane.is_learned,
            credit=lane.credit,
        )
        for lane in mailbox.lanes
    ]
    midnight = DAY - (now.hour * 3600 + now.minute * 60 + now.second)
    expiry = after(plan.expires_at, math.inf)
    time: float = 0.0
    late: float | None = None
    horizon = max(0.0, ours.starts) + HORIZON.total_seconds()
    while ours.left > _NOTHING and time < horizon:
        if late is None and time >= expiry:
            late = ours.left
        time = _step([*first, ours], pipes, time, midnight=midnight, expiry=expiry)
    is_done = ours.left <= _NOTHING
    late = late or (0.0 if is_done else ours.left)
    return Flown(
        done_at=now + timedelta(seconds=time) if is_done else None,
        late=math.ceil(late - _NOTHING),
    )


@dataclass(slots=True)
class _Queue:
    """What waits of one blast; times in seconds from now."""

    left: float
    starts: float
    ends: float = math.inf

    def waits(self, time: float) -> bool:
        """Tell whether something of it may go at *time*."""
        return self.left > _NOTHING and self.starts <= time < self.ends


@dataclass(slots=True)
class _Pipe:
    """A lane at work."""

    lane: Lane
    opens: float
    is_growing: bool
    credit: float
    used: float = 0.0  # seconds
    day: int = 0
    room: float = field(init=False)

    def __post_init__(self) -> None:
        self.room = self._cap(0)

    def _cap(self, day: int) -> float:
        return self.lane.caps[day] if day < len(self.lane.caps) else math.inf

    def turn(self, day: int) -> None:
        """Begin another day."""
        if day > self.day:
            self.day, self.room = day, self._cap(day)

    def rate(self, time: float) -> float:
        """Return what it carries at *time*, in messages a second."""
        if time < self.opens or self.room <= _NOTHING:
            return 0.0
        lane, rate = self.lane, self.lane.rate
        if self.is_growing:
            rate = _grown(lane, minutes=int(self.used / MINUTE + _NOTHING))
        return min(rate, lane.paces[self.day]) if self.day < len(lane.paces) else rate

    def until(self, time: float) -> float:
        """Return for how many seconds that stays so."""
        if time < self.opens:
            return self.opens - time
        rate = self.rate(time)
        if rate <= 0:
            return math.inf
        step = math.inf
        if self.is_growing and rate < ceiling(self.lane):
            step = (int(self.used / MINUTE + _NOTHING) + 1) * MINUTE - self.used
        return min(step, self.room / rate)

    def carry(self, time: float, seconds: float) -> float:
        """Work for *seconds*; return how many messages that were."""
        count = min(self.room, self.rate(time) * seconds)
        if count > 0:
            self.used += seconds
            self.room -= count
        return count

    def burst(self, time: float, wanted: float) -> float:
        """Send at once what may go at once; return how many messages that were."""
        if self.rate(time) <= 0:
            return 0.0
        count = min(self.credit, self.room, wanted)
        self.credit -= count
        self.room -= count
        return count


def ceiling(lane: Lane) -> float:
    """Return the rate that a lane may grow to."""
    return max(lane.rate, lane.ceiling)


def _grown(lane: Lane, *, minutes: int) -> float:
    """Return the rate after *minutes* of use in which nobody objected."""
    rate, top = lane.rate, ceiling(lane)
    while minutes > 0 and rate < min(lane.doubles_below, top):
        rate, minutes = rate * 2, minutes - 1
    return min(top, rate + lane.growth * minutes)


def goes_first(other: Work, plan: Plan) -> bool:
    """Tell whether *other* is served before the blast: priority, then expiry.

    Of equals, the other: it was there before.
    """
    if other.priority != plan.priority:
        return other.priority > plan.priority
    if plan.expires_at is None or other.expires_at is None:
        return other.expires_at is not None or plan.expires_at is None
    return other.expires_at <= plan.expires_at


def _urgency(work: Work) -> tuple[int, float]:
    """Return by what blasts are served in order, the first the smallest."""
    end = math.inf if work.expires_at is None else work.expires_at.timestamp()
    return -work.priority, end


def _step(
    queues: Sequence[_Queue],
    pipes: Sequence[_Pipe],
    time: float,
    *,
    midnight: float,
    expiry: float,
) -> float:
    """Let the most urgent flow until something changes; return when that is."""
    day = 0 if time < midnight else 1 + int((time - midnight) // DAY)
    for pipe in pipes:
        pipe.turn(day)
    changes = [midnight + day * DAY - time]
    changes += [one.starts - time for one in queues if one.starts > time]
    changes += [expiry - time] if expiry > time else []
    served = next((one for one in queues if one.waits(time)), None)
    if served is None:
        return time + min(changes)
    for pipe in pipes:
        served.left -= pipe.burst(time, served.left)
    rate = sum(pipe.rate(time) for pipe in pipes)
    changes += [pipe.until(time) for pipe in pipes]
    changes += [served.ends - time]
    if rate > 0:
        changes.append(max(served.left, 0.0) / rate)
    seconds = min(changes)
    served.left -= sum(pipe.carry(time, seconds) for pipe in pipes)
    return time + seconds
