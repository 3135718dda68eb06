"""Caps: limits that several lanes share; and the day of a lane that warms up.

Both are spent by `lanes.grant`, in the statement that spends the lane's own tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from mailer.core import cap, warmup
from mailer.store import database

SQL = database.load("caps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A row of the cap table; *rate* is messages a second, *used* those of today."""

    name: str
    provider: str | None
    source: str | None
    domain: str | None
    rate: float | None
    daily: int | None
    used: int


async def keep(tx: database.Connection, caps: Sequence[cap.Cap]) -> None:
    """Have these limits and no others; what was taken of them stays taken."""
    for one in sorted(caps, key=lambda one: one.name):
        await tx.run(
            SQL["cap"],
            name=one.name,
            provider=one.provider,
            source=one.source,
            domain=one.domain,
            rate=one.rate and one.rate.per_second,
            daily=one.daily,
        )
    await tx.run(SQL["uncap"], names=[one.name for one in caps])


async def everything(tx: database.Connection) -> list[Used]:
    """Return every limit that lanes share."""
    return [Used(**row) for row in await tx.rows(SQL["everything"])]


async def last_day(
    tx: database.Connection, *, provider: str, source: str
) -> warmup.Day | None:
    """Return the latest day on which a lane warmed up; None: it never did."""
    row = await tx.row(SQL["last_day"], provider=provider, source=source)
    if row is None:
        return None
    return warmup.Day(
        day=row["day"],
        quota=row["quota"],
        accepted=row["accepted"],
        deferred=row["deferred"],
    )


async def begin_day(
    tx: database.Connection, *, provider: str, source: str, day: date, quota: int
) -> None:
    """Say how many messages a lane may send on *day*; the first to say so decides."""
    await tx.run(
        SQL["begin_day"], provider=provider, source=source, day=day, quota=quota
    )


async def count_day(
    tx: database.Connection,
    *,
    provider: str,
    source: str,
    day: date,
    accepted: int,
    deferred: int,
) -> None:
    """Count what came of *day*."""
    await tx.run(
        SQL["count_day"],
        provider=provider,
        source=source,
        day=day,
        accepted=accepted,
        deferred=deferred,
    )
