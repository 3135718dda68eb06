"""What workers that are gone left behind: it goes on, or is said to be in doubt.

Of a dead worker of this machine the journal is settled, and its chunks go on.  Of one
that is gone with its machine, or hangs, the lease runs out: what it cannot have
started goes on at once; what it may have started waits for the worker itself, for
its journal, or until no answer can come any more, and is in doubt then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import structlog

from mailer import errors, spool
from mailer.core.delivery import BlastId, State
from mailer.pipeline.sending import journal
from mailer.pipeline.sending.leases import Leases
from mailer.pipeline.sending.watch import pause
from mailer.store import alarms, blasts, chunks, database, deliveries, lanes, processes

EVERY = 2.0  # seconds between two looks for those that are gone
SOON = timedelta(seconds=60)  # until a message is tried again whose retry was lost
AT_ONCE = 100  # chunks taken back in one transaction
# A server has 10 minutes to answer the final dot (RFC 5321 §4.5.3.2.6); the lease
# ended after the last one could be written.
PATIENCE = timedelta(seconds=660)
GONE = "its worker is gone: nobody saw a reply"

log = structlog.get_logger()


async def run(
    pool: database.Pool,
    journals: Path,
    stop: asyncio.Event,
    *,
    owner: str,
    leases: Leases,
) -> None:
    """Take over from workers that are gone, until *stop*."""
    while not stop.is_set():
        await pause(stop, EVERY)
        try:
            await recover(pool, journals)
            await reclaim(pool, owner=owner, leases=leases)
        except (errors.Unavailable, OSError) as error:
            log.warning("recovery.away", error=str(error))


async def reclaim(pool: database.Pool, *, owner: str, leases: Leases) -> None:
    """Let go on what lapsed owners cannot have started; doubt what is too late.

    Any number of processes may do so at once.
    """
    async with database.transaction(pool) as tx:
        await chunks.let_go(tx, owner=owner, known=leases.known())
        lost, new = await chunks.split(tx, limit=AT_ONCE)
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


async def recover(pool: database.Pool, journals: Path) -> int:
    """Settle what dead workers of this machine wrote; return how many are gone.

    A journal whose lock is free has no living owner (flock ends with its process).
    """
    gone = 0
    for folder in await asyncio.to_thread(spool.leftovers, journals):
        try:
            with spool.owned(folder):
                await settle(pool, folder, owner=folder.name)
                await asyncio.to_thread(_remove, folder)
        except errors.Conflict:
            continue  # another worker was faster
        gone += 1
    return gone


def forget(folder: Path) -> None:
    """Remove the journal of a worker that has settled all of it."""
    with suppress(errors.Conflict), spool.owned(folder):
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a journal that is in the ledger."""
    for _number, path in spool.segments(folder):
        path.unlink()
    spool.remove(folder)


async def settle(pool: database.Pool, folder: Path, *, owner: str) -> None:
    """Replay the journal in *folder* and give the chunks of *owner* back."""
    ended = await asyncio.to_thread(
        lambda: journal.replay(record.payload for record in spool.read(folder))
    )
    by_blast: defaultdict[BlastId, list[deliveries.Result]] = defaultdict(list)
    for one in ended:
        by_blast[one.blast].append(one.result)
    doubts = 0
    async with database.transaction(pool) as tx:
        for blast in sorted(by_blast):
            doubts += await _replay(tx, blast, by_blast[blast])
        freed = await chunks.reclaim(tx, owner=owner)
        await lanes.drop_slots(tx, owner=owner)
        await processes.leave(tx, owner)
    log.info(
        "journal.replayed", owner=owner, records=len(ended), doubts=doubts, chunks=freed
    )


async def _replay(
    tx: database.Connection, blast: BlastId, results: Sequence[deliveries.Result]
) -> int:
    """Settle *results*, retry what was deferred; return how many are in doubt."""
    settled = await deliveries.settle(tx, blast, results)
    deferred = [row.seq for row in settled if row.after is State.DEFERRED]
    if deferred:
        await chunks.gather(tx, blast, deferred, wait=SOON)
    doubts = sum(row.after is State.IN_DOUBT for row in settled)
    await alarms.doubt(tx, blast, doubts)
    return doubts
