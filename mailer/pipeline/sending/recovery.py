"""What workers that are gone left behind: it goes on, or is said to be in doubt.

Of a dead worker of this machine the journal is settled, and its chunks go on.  Of one
that is gone with its machine, or hangs, the lease runs out: what it cannot have
started goes on at once; what it may have started waits for the worker itself, for
its journal, or until no answer can come any more, and is in doubt then.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog

from mailer import errors, spool
from mailer.core.delivery import State
from mailer.pipeline.sending import journal, kept, replay
from mailer.pipeline.sending.leases import Leases
from mailer.pipeline.sending.settler import Settler
from mailer.pipeline.sending.watch import Watch, pause
from mailer.store import (
    alarms,
    blasts,
    chunks,
    database,
    deliveries,
    journals,
    processes,
    slots,
)

EVERY = 2.0  # seconds between two looks for those that are gone
SURELY = 3600.0  # seconds; what was started so long ago has its end in the journal
AT_ONCE = 100  # chunks taken back in one transaction
# A server has 10 minutes to answer the final dot (RFC 5321 §4.5.3.2.6); the lease
# ended after the last one could be written.
PATIENCE = timedelta(seconds=660)
POWER = "the machine lost power: nobody knows whether it was sent"
GONE = "its worker is gone: nobody saw a reply"

log = structlog.get_logger()


async def run(
    pool: database.Pool,
    root: Path,
    stop: asyncio.Event,
    *,
    watch: Watch,
    settler: Settler,
) -> None:
    """Take over from workers that are gone, until *stop*."""
    while not stop.is_set():
        await pause(stop, EVERY)
        try:
            if watch.is_replaced:
                continue  # first it must learn what we know
            await recover(pool, root)
            await reclaim(pool, owner=watch.owner, leases=watch.leases)
            if settler.lag() < SURELY:
                await asyncio.to_thread(kept.trim, root / watch.owner)
        except (errors.Unavailable, OSError) as error:
            log.warning("recovery.away", error=str(error))


async def reclaim(pool: database.Pool, *, owner: str, leases: Leases) -> None:
    """Let go on what lapsed owners cannot have started; doubt what is too late.

    Any number of processes may do so at once.
    """
    async with database.transaction(pool) as tx:
        await chunks.let_go(tx, owner=owner, known=leases.known())
        lost, new = await chunks.split(tx, limit=AT_ONCE)
        await slots.tidy(tx)
    if lost:
        log.warning("chunks.lost", chunks=lost, going_on=new)
    async with database.connection(pool) as tx:
        overdue = await chunks.overdue(tx, patience=PATIENCE, limit=AT_ONCE)
    for chunk in overdue:
        await _give_up(pool, chunk)


async def _give_up(pool: database.Pool, chunk: chunks.Chunk) -> None:
    """Say that what may have been started of a lost chunk is in doubt."""
    try:
        async with database.transaction(pool) as tx:
            # Deliveries before chunks, as the settler does.
            doubts = await _doubt(tx, chunk, why=GONE)
            await chunks.end_lost(tx, chunk)
            await alarms.doubt(tx, chunk.blast_id, doubts)
    except errors.Conflict:
        return
    log.warning("chunk.given_up", blast=chunk.blast_id, doubts=doubts)


async def _doubt(tx: database.Connection, chunk: chunks.Chunk, *, why: str) -> int:
    """Put in doubt what may have been started of *chunk*; return how many."""
    now = await blasts.clock(tx)
    results = [
        deliveries.Result(
            seq=seq,
            state=State.IN_DOUBT,
            attempts=chunk.attempt + 1,
            at=now,
            reply=why,
        )
        for seq in await chunks.unanswered(tx, chunk)
    ]
    return len(await deliveries.settle(tx, chunk.blast_id, results))


async def recover(pool: database.Pool, root: Path) -> int:
    """Settle what dead workers of this machine wrote; return how many are gone.

    A journal whose lock is free has no living owner (flock ends with its process).
    Settled ones are kept for a while, and replayed whole if the database turns out to
    be another one, or to have lost something.
    """
    gone = 0
    folders = await asyncio.to_thread(spool.leftovers, root)
    for folder in folders:
        try:
            with spool.owned(folder):
                gone += await _take_over(pool, folder)
        except errors.Conflict:
            continue  # another worker was faster
    return gone


async def _take_over(pool: database.Pool, folder: Path) -> bool:
    """Settle a journal; or look whether it still is; or remove it after a day."""
    owner, mark = folder.name, await asyncio.to_thread(kept.read, folder)
    if mark is None:
        await settle(pool, folder, owner=owner)
        return True
    async with database.connection(pool) as tx:
        known = (await journals.standings(tx, [owner])).get(owner)
    if mark.is_within(known):
        await asyncio.to_thread(kept.remove_old, folder)
        return False
    log.error("journal.not_in_database", owner=owner, ours=str(mark), found=str(known))
    async with database.transaction(pool) as tx:
        await journals.change_identity(tx, known=mark.identity)
    await settle(pool, folder, owner=owner)
    return True


async def settle(pool: database.Pool, folder: Path, *, owner: str) -> None:
    """Replay the journal in *folder*, keep it, and give the chunks of *owner* back."""
    done = await replay.replay(pool, folder)
    async with database.transaction(pool) as tx:
        doubts = done.doubts
        if _has_lost_power(done):
            for chunk in await chunks.held_by(tx, owner):
                found = await _doubt(tx, chunk, why=POWER)
                await alarms.doubt(tx, chunk.blast_id, found)
                doubts += found
        freed = await chunks.reclaim(tx, owner=owner)
        await slots.drop(tx, owner=owner)
        await journals.begin(tx, owner)
        await journals.count(tx, owner)
        await processes.leave(tx, owner)
        standing = (await journals.standings(tx, [owner]))[owner]
    await asyncio.to_thread(
        kept.keep if done.records else kept.remove, folder, standing
    )
    log.info(
        "journal.replayed",
        owner=owner,
        records=done.records,
        changed=done.changed,
        doubts=doubts,
        chunks=freed,
    )


def _has_lost_power(done: replay.Replayed) -> bool:
    """Tell whether a journal may miss its end: the machine was started anew."""
    if done.boot is None:  # not even its beginning; or an older release wrote it
        return not done.records
    return not done.boot or done.boot != journal.boot()


async def rejoin(
    pool: database.Pool, root: Path, *, owner: str, known: UUID | None
) -> None:
    """Tell a database that has lost something all that this machine knows.

    *known* is the identity that it had for us.
    """
    async with database.transaction(pool) as tx:
        await journals.change_identity(tx, known=known or journals.NOBODY)
    done = await replay.replay(pool, root / owner, is_alive=True)
    log.warning(
        "journal.replayed", owner=owner, changed=done.changed, doubts=done.doubts
    )
    await recover(pool, root)
