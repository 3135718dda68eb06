"""What dead workers left: their journals are settled, their chunks go on."""

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
from mailer.pipeline.sending.watch import pause
from mailer.store import chunks, database, deliveries, lanes, processes

EVERY = 5.0  # seconds between two looks for journals of the dead
SOON = timedelta(seconds=60)  # until a message is tried again whose retry was lost

log = structlog.get_logger()


async def run(pool: database.Pool, journals: Path, stop: asyncio.Event) -> None:
    """Take over from workers of this machine that die, until *stop*."""
    while not stop.is_set():
        await pause(stop, EVERY)
        try:
            await recover(pool, journals)
        except (errors.Unavailable, OSError) as error:
            log.warning("recovery.away", error=str(error))


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
    return sum(row.after is State.IN_DOUBT for row in settled)
