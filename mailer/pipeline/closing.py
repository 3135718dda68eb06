"""End blasts: done when all is sent, expired when their time is over, cancelled."""

from __future__ import annotations

import structlog

from mailer import errors
from mailer.core import blast
from mailer.core.delivery import State
from mailer.store import blasts, chunks, database, deliveries

ACTOR = "scheduler"
BATCH = 20_000  # rows closed in one transaction: short locks, also for millions

log = structlog.get_logger()


async def close_due(pool: database.Pool) -> list[str]:
    """End what has nothing left, or no time left; return the names of what ended."""
    async with database.connection(pool) as tx:
        late = await blasts.late(tx)
        finished = await blasts.finished(tx)
    ended: list[str] = []
    for names, move, why in (
        (late, blast.Move.EXPIRE, "expires_at has come"),
        (finished, blast.Move.FINISH, None),
    ):
        ended += [name for name in names if await _end(pool, name, move, why=why)]
    async with database.connection(pool) as tx:
        unclosed = await blasts.unclosed(tx)
    for name in unclosed:
        await close(pool, name)
    return ended


async def _end(
    pool: database.Pool, name: str, move: blast.Move, *, why: str | None
) -> bool:
    try:
        async with database.transaction(pool) as tx:
            found = await blasts.get(tx, name)
            await blasts.move(tx, found, move, actor=ACTOR, why=why)
    except errors.Conflict:
        return False  # another machine was faster
    log.info("blast.ended", blast=name, move=move.value)
    return True


async def close(pool: database.Pool, name: str) -> None:
    """Give every delivery that is still owed its end.

    Messages in DATA are settled by their workers afterwards: what happened wins.
    A crash in between is made up for by the next call.
    """
    async with database.connection(pool) as tx:
        found = await blasts.get(tx, name)
        last = await deliveries.last(tx, found.id)
    state = {
        blast.State.CANCELLED: State.CANCELLED,
        blast.State.EXPIRED: State.EXPIRED,
    }[found.state]
    for first in range(1, last + 1, BATCH):
        async with database.transaction(pool) as tx:
            await deliveries.close(
                tx, found.id, state=state, first=first, last=first + BATCH - 1
            )
    async with database.transaction(pool) as tx:
        await deliveries.close_chunks(tx, found.id)
        left = await chunks.left(tx, found.id)
    log.info("blast.closed", blast=name, leased=left)
