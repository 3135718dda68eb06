"""Label what was seen again by the rules of now, and count people by it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from mailer.core.machine import Bursts
from mailer.store import blasts, database, events, visits
from mailer.store.events import Cell, Tally

BATCH = 2000  # events in a transaction


async def relabel(
    pool: database.Pool, *, name: str | None = None, since: datetime | None = None
) -> tuple[int, int]:
    """Judge opens and clicks again, of one blast or of all, since an instant.

    Returns how many events there were, and for how many people something changed.
    Raises NotFound when there is no blast of that *name*.
    """
    at, id, bursts = since or datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0), Bursts()
    blast = None
    if name is not None:
        async with database.connection(pool) as tx:
            blast = (await blasts.get(tx, name)).id
    looked, changed = 0, 0
    while True:
        tallies: dict[Cell, Tally] = {}
        async with database.transaction(pool) as tx:
            found = await visits.since(tx, at=at, id=id, blast=blast, limit=BATCH)
            if not found:
                return looked, changed
            people = await visits.judge_again(tx, found, bursts)
            await visits.recount(tx, people, tallies)
            await events.add_to_rollup(tx, tallies)
        at, id = found[-1].at, found[-1].id
        looked += len(found)
        changed += len(people)
