"""What a rehearsal showed: who cannot be written to, how it went at each provider."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mailer.core import blast
from mailer.core.delivery import BlastId
from mailer.core.forecast import Forecast
from mailer.mail.paced import Sizes
from mailer.store import blasts, chunks, database, deliveries, rehearsals

TRIES = 2  # of a message that is put off; then the rehearsal waits for it no longer
PAGE = 5000  # failures read at once
SHOWN = 20  # replies
NEAR = 0.1  # of what was forecast: so far off, it still came true
MOMENT = timedelta(seconds=1)  # of the rehearsal's own time, that make no difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How far a rehearsal is."""

    tried: int
    is_over: bool
    is_waiting: bool  # only for what was put off, until it is due


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of it at one provider, beside what was forecast; in seconds."""

    provider: str
    people: int
    sent: int
    deferrals: int  # attempts
    bounced: int
    in_doubt: int
    failed: int
    expired: int
    open: int  # put off, and not taken so far
    took: float | None  # until all had been tried once
    forecast: tuple[float | None, float | None] | None  # at best, at worst
    came_true: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a rehearsal showed."""

    blast: str
    is_approved: bool  # exactly this content
    scenario: str
    speed: float | None  # None: full speed
    people: int
    suppressed: int
    seconds: float  # that the rehearsal took, without its preparation
    providers: Sequence[Compared]
    sizes: Sizes | None
    failed: int
    failures: Sequence[rehearsals.Failed]  # the first of them
    failures_file: Path | None  # all of them
    replies: Sequence[rehearsals.Said]
    stands: str | None  # why it did not come to its end
    forecast: Forecast | None

    @property
    def is_good(self) -> bool:
        """Tell whether everybody's message could be made, and it came to its end."""
        return not self.failed and self.stands is None


async def look(scratch: database.Pool, id: BlastId) -> Seen:
    """Look how far a rehearsal is."""
    async with database.connection(scratch) as tx:
        found = await blasts.get(tx, str(id))
        tried = await rehearsals.tried(tx, id)
        is_left = await rehearsals.is_left(tx, id, tries=TRIES)
        due = await chunks.next_start(tx, id)
        now = await blasts.clock(tx)
    return Seen(
        tried=tried,
        is_over=found.state in blast.ENDED or not is_left,
        is_waiting=due is not None and due > now,
    )


async def write_failures(
    scratch: database.Pool, id: BlastId, file: Path
) -> tuple[int, list[rehearsals.Failed]]:
    """Write everybody for whom no message could be made into *file*, if there is one.

    Returns how many, and the first of them.  Only its owner may read the file.
    """
    count, first, after = 0, list[rehearsals.Failed](), 0
    await asyncio.to_thread(file.unlink, missing_ok=True)
    while True:
        async with database.connection(scratch) as tx:
            page = await rehearsals.failures(tx, id, after=after, limit=PAGE)
        if not page:
            return count, first
        first = first or page[:SHOWN]
        await asyncio.to_thread(_append, file, page)
        count, after = count + len(page), page[-1].seq


def _append(file: Path, page: Sequence[rehearsals.Failed]) -> None:
    is_new = not file.exists()
    file.touch(mode=0o600)
    with file.open("a", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        if is_new:
            writer.writerow(["email", "variant", "reason"])
        writer.writerows([one.email, one.variant, one.reason] for one in page)


async def judge(
    scratch: database.Pool, id: BlastId, *, speed: float, forecast: Forecast | None
) -> tuple[list[Compared], list[rehearsals.Said]]:
    """Set what came of a blast beside what was forecast, provider by provider.

    Without a forecast, at full speed, it is not said how long anything took.
    """
    async with database.connection(scratch) as tx:
        found = await rehearsals.outcomes(tx, id)
        replies = await rehearsals.replies(tx, id, limit=SHOWN)
        deferrals = {
            one.provider: one.deferrals for one in await deliveries.progress(tx, id)
        }
    begun = min((one.first_at for one in found if one.first_at), default=None)
    rows = []
    for one in found:
        took, foreseen = None, None
        if forecast is not None:
            foreseen = _foreseen(forecast, one.provider)
            if begun is not None and one.last_at is not None:
                took = (one.last_at - begun).total_seconds() * speed
        rows.append(
            Compared(
                provider=one.provider,
                people=one.people - one.held_out,
                sent=one.sent,
                deferrals=deferrals.get(one.provider, 0),
                bounced=one.bounced,
                in_doubt=one.in_doubt,
                failed=one.failed,
                expired=one.expired,
                open=one.open,
                took=took,
                forecast=foreseen,
                came_true=_came_true(took, foreseen, slack=MOMENT * speed),
            )
        )
    return rows, replies


def _foreseen(
    forecast: Forecast, provider: str
) -> tuple[float | None, float | None] | None:
    for one in forecast.providers:
        if one.provider == provider:
            start = forecast.starts_at
            return (
                (one.earliest - start).total_seconds() if one.earliest else None,
                (one.latest - start).total_seconds() if one.latest else None,
            )
    return None


def _came_true(
    took: float | None,
    foreseen: tuple[float | None, float | None] | None,
    *,
    slack: timedelta,
) -> bool | None:
    if took is None or foreseen is None:
        return None
    low, high = foreseen
    if low is None:
        return None
    seconds = slack.total_seconds()
    is_early = took < low * (1 - NEAR) - seconds
    is_late = high is not None and took > high * (1 + NEAR) + seconds
    return not (is_early or is_late)
