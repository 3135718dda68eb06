"""How far a blast is, provider by provider; and who is where, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.core.alarm import Alarm
from mailer.core.delivery import State
from mailer.pipeline.scheduling.moving import Desk
from mailer.store import alarms, blasts, chunks, database, deliveries, lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One look at a blast that goes out."""

    at: datetime
    blast: blasts.Blast
    progress: Sequence[deliveries.Progress]
    lanes: Sequence[lanes.Lane]
    next_start: datetime | None
    alarms: Sequence[Alarm]  # open ones, of whatever they are

    @property
    def recipients(self) -> int:
        """Return how many people the blast is for."""
        return sum(one.recipients for one in self.progress)

    @property
    def sent(self) -> int:
        """Return how many messages were accepted."""
        return sum(one.sent for one in self.progress)

    @property
    def left(self) -> int:
        """Return how many are still owed a message."""
        return sum(one.left for one in self.progress)


async def watch(desk: Desk, name: str) -> Watched:
    """Look at a blast once."""
    async with database.connection(desk.pool) as tx:
        found = await blasts.get(tx, name)
        return Watched(
            at=await blasts.clock(tx),
            blast=found,
            progress=await deliveries.progress(tx, found.id),
            lanes=await lanes.everything(tx),
            next_start=await chunks.next_start(tx, found.id),
            alarms=await alarms.open_(tx),
        )


async def listed(
    desk: Desk, name: str, *, states: Sequence[State], limit: int
) -> list[deliveries.Listed]:
    """Name the recipients of a blast that are in one of *states*."""
    async with database.connection(desk.pool) as tx:
        found = await blasts.get(tx, name)
        return await deliveries.listed(tx, found.id, states=states, limit=limit)
