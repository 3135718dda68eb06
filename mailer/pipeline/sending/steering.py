"""What replies say of lanes, on the way to their controller; and its word, kept.

Every process adds up what it sees (`Tally`) and hands it over once a second, or at
once where a reply closes the lane.  The row is moved under its lock by the pure
controller, so that any number of processes advance one and the same state.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from mailer import errors
from mailer.core import controller, evidence, lane, warmup
from mailer.core.alarm import Kind
from mailer.core.bounce import Action, Verdict
from mailer.core.evidence import Evidence, Signal
from mailer.core.lane import Limits, Transition
from mailer.pipeline.sending.leases import boottime
from mailer.pipeline.sending.watch import pause
from mailer.store import alarms, caps, database, lanes, slots

EVERY = 1.0  # seconds between two reports of a lane that is used
MOST = 200  # replies that are kept of a lane until then: more say nothing new

Key = tuple[str, str]  # provider and source

_RANDOM = random.SystemRandom()

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Tally:
    """What this process saw of one lane and has not reported yet."""

    clock: Callable[[], float] = boottime
    is_at_ease: bool = False  # the lane wants to hear of nothing but what replies ask
    tried: int = 0
    accepted: int = 0
    asked: list[tuple[Verdict, float]] = field(default_factory=list)
    paused: tuple[timedelta, str, float] | None = None

    def note(self, verdict: Verdict) -> None:
        """Count a try that was not accepted, and keep what it asks of the lane."""
        self.tried += 1
        if verdict.action in evidence.ASKS and len(self.asked) < MOST:
            self.asked.append((verdict, self.clock()))

    def pause(self, wait: timedelta, reason: str) -> None:
        """Ask for a moment without messages: nobody said so, but nobody answers."""
        self.paused = wait, reason, self.clock()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to report."""
        if self.asked or self.paused is not None:
            return False
        return self.is_at_ease or not self.tried

    def taken(self) -> Tally:
        """Return what is to be reported, and begin anew."""
        found = Tally(
            tried=self.tried,
            accepted=self.accepted,
            asked=self.asked,
            paused=self.paused,
        )
        self.tried = self.accepted = 0
        self.asked, self.paused = [], None
        return found

    def put_back(self, other: Tally) -> None:
        """Keep for later what could not be reported."""
        self.tried += other.tried
        self.accepted += other.accepted
        self.asked = (other.asked + self.asked)[:MOST]
        self.paused = self.paused or other.paused

    def evidence(self, *, now: datetime) -> Evidence:
        """Return it as the controller wants it, *now* by the clock of the lane."""
        here = self.clock()

        def at(then: float) -> datetime:
            return now - timedelta(seconds=max(0.0, here - then))

        signals = evidence.gathered((one, at(then)) for one, then in self.asked).signals
        if self.paused is not None:
            wait, reason, then = self.paused
            said = Signal(
                at=at(then),
                action=Action.SUSPEND,
                reply=reason[: evidence.KEPT],
                wait=wait,
            )
            signals = (*signals, said)
        return Evidence(tried=self.tried, accepted=self.accepted, signals=signals)


@dataclass(slots=True, kw_only=True)
class Steering:
    """The tallies of this process."""

    pool: database.Pool
    every: float = EVERY
    _tallies: dict[Key, Tally] = field(default_factory=dict)

    def tally(self, key: Key) -> Tally:
        """Return where the connections of a lane count."""
        return self._tallies.setdefault(key, Tally())

    def told(self, berths: Sequence[slots.Berth]) -> None:
        """Take over which lanes want to hear of nothing but what replies ask."""
        for one in berths:
            self.tally((one.provider, one.source)).is_at_ease = one.is_at_ease

    async def tell(self, key: Key) -> None:
        """Report what was seen of a lane.  Raises Unavailable; then it is kept."""
        tally = self._tallies[key]
        seen = tally.taken()
        try:
            async with database.transaction(self.pool) as tx:
                await advance(tx, key, seen)
        except BaseException:
            tally.put_back(seen)
            raise

    async def run(self, stop: asyncio.Event) -> None:
        """Report every second, until *stop*, and then what is left."""
        while True:
            is_last = stop.is_set()
            try:
                for key, tally in sorted(self._tallies.items()):
                    if not tally.is_empty:
                        await self.tell(key)
            except errors.Unavailable as error:
                log.warning("lanes.away", error=str(error))
            if is_last:
                return
            await pause(stop, self.every)


async def advance(
    tx: database.Connection, key: Key, seen: Tally | None = None
) -> lanes.Locked | None:
    """Let time pass and evidence count for a lane; return it as it is then.

    The row stays locked until *tx* ends.  None: there is no such lane.
    """
    provider, source = key
    locked = await lanes.lock(tx, provider=provider, source=source)
    if locked is None or locked.limits is None:
        return None
    said = evidence.NOTHING if seen is None else seen.evidence(now=locked.now)
    limits, state = locked.limits, locked.state
    if locked.is_warming:
        limits = await _warmed(tx, locked, said)
        state = lane.fitted(state, limits)
    state, steps = controller.advance(
        state,
        said,
        limits=limits,
        now=locked.now,
        jitter=_RANDOM.uniform(-1, 1),
    )
    if state != locked.state:
        await lanes.save(tx, locked, state, steps)
    for step in steps:
        await _tell(tx, locked, step)
    return replace(locked, state=state)


async def _warmed(
    tx: database.Connection, locked: lanes.Locked, said: Evidence
) -> Limits:
    """Count what came of today; return the limits under its quota."""
    provider, source = locked.provider, locked.source
    today = locked.now.astimezone(UTC).date()
    last = await caps.last_day(tx, provider=provider, source=source)
    if last is None or last.day != today:
        quota = warmup.quota(last, today)
        await caps.begin_day(
            tx, provider=provider, source=source, day=today, quota=quota
        )
    else:
        quota = last.quota
    troubles = sum(one.count for one in said.signals)
    if said.accepted or troubles:
        await caps.count_day(
            tx,
            provider=provider,
            source=source,
            day=today,
            accepted=said.accepted,
            deferred=troubles,
        )
    assert locked.limits is not None
    return under(locked.limits, quota=quota)


def under(limits: Limits, *, quota: int) -> Limits:
    """Return *limits* of a day that allows *quota* messages, spread over hours."""
    ceiling = min(limits.ceiling, warmup.pace(quota).per_second)
    return Limits(
        start=min(limits.start, ceiling),
        ceiling=ceiling,
        connections=limits.connections,
    )


async def _tell(tx: database.Connection, of: lanes.Locked, step: Transition) -> None:
    name = f"{of.provider}/{of.source}"
    log.info(
        "lane.changed",
        lane=name,
        cause=step.cause.value,
        mode=step.after.value,
        reply=(step.reply or "")[:200],
    )
    if step.is_alarm:
        await alarms.raise_(tx, Kind.LANE, f"lane {name}", f"It said: {step.reply}")
