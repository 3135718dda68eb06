"""End blasts: done when all is sent, expired when their time is over, cancelled."""

from __future__ import annotations

import structlog

from mailer import errors
from mailer.core import blast, pulse
from mailer.core.alarm import Kind
from mailer.core.delivery import State
from mailer.store import alarms, blasts, chunks, database, deliveries

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
            missed = None
            if move is blast.Move.EXPIRE:
                missed = await _missed(tx, found)
                why = f"{why}: {missed.rstrip('.')}" if missed else why
            await blasts.move(tx, found, move, actor=ACTOR, why=why)
            if missed:
                await alarms.raise_(tx, Kind.MISSED, f"blast {name}", missed)
    except errors.Conflict:
        return False  # another machine was faster
    log.info("blast.ended", blast=name, move=move.value)
    return True


async def _missed(tx: database.Connection, found: blasts.Blast) -> str | None:
    """Say whom a blast misses that expires now; None: nobody.

    What is being sent in this moment counts as missed; the observer corrects it.
    """
    progress = await deliveries.progress(tx, found.id)
    left = sum(one.left for one in progress)
    recipients = sum(one.recipients for one in progress)
    has_begun = recipients or found.launched_at is not None
    return None if has_begun and not left else pulse.missed(left, recipients)


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
