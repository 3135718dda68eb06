"""A database that is away: when people are told although no row can be written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailer.core.alarm import CALM, Event

PATIENCE = timedelta(seconds=30)  # a restart or a failover may take so long
SOON = timedelta(minutes=1)  # until a notice is tried again that reached nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What one process knows of the database, from memory."""

    seen_at: datetime  # it answered, for the last time before this outage
    back_at: datetime | None = None  # it answers again since
    told_at: datetime | None = None  # of this outage
    rounds: int = 0  # times that people were told of this outage

    @property
    def key(self) -> str:
        """Return the name of the last notice: the same however often it is tried."""
        return f"{self.seen_at:%Y%m%dT%H%M%S}-{self.rounds}"


def step(
    outage: Outage, *, seen_at: datetime, repeat: timedelta, now: datetime
) -> tuple[Outage, Event | None]:
    """Return what is known now, and what people should be told of it.

    *seen_at* is when the database last answered.  What comes and goes is one outage,
    which is over after a minute without trouble.
    """
    is_away = now - seen_at >= PATIENCE
    if outage.told_at is None:
        known = Outage(seen_at=seen_at)
        if not is_away:
            return known, None
        return replace(known, told_at=now, rounds=1), Event.RAISED
    if is_away and now >= outage.told_at + repeat:
        rounds = outage.rounds + 1
        return replace(outage, back_at=None, told_at=now, rounds=rounds), Event.REPEATED
    if is_away:
        return replace(outage, back_at=None), None
    back = replace(outage, back_at=outage.back_at or now)
    if back.back_at is not None and now - back.back_at >= CALM:
        return replace(back, told_at=None, rounds=outage.rounds + 1), Event.CLEARED
    return back, None


def unheard(outage: Outage, *, repeat: timedelta) -> Outage:
    """Return *outage* after a notice that reached nobody: it is said again soon."""
    assert outage.told_at is not None
    return replace(outage, told_at=outage.told_at - repeat + min(repeat, SOON))
