"""From a journal into the ledger, a thousand records at a time, any number of times."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mailer import spool
from mailer.core.delivery import BlastId, State
from mailer.pipeline.sending import journal
from mailer.store import alarms, blasts, chunks, database, deliveries

BATCH = 1000  # records in one transaction
SOON = timedelta(seconds=60)  # until a try whose time the journal does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What was in a journal."""

    records: int
    changed: int  # deliveries that the ledger did not have so
    doubts: int  # of these, those that are in doubt now
    boot: str | None  # in which life of the machine it was written, if it says so


async def replay(
    pool: database.Pool, folder: Path, *, is_alive: bool = False
) -> Replayed:
    """Settle what the journal in *folder* knows; idempotent.

    Deferrals come last: a message that was tried again must have its end before
    anybody sees that it was put off.  Of a worker that *is_alive* nothing is in doubt.
    """
    changed: Counter[State] = Counter()
    account = journal.Account()
    for wants_deferred in (False, True):
        account = journal.Account()
        tail = spool.Tail(folder, is_finished=not is_alive)
        while records := await asyncio.to_thread(tail.read, BATCH):
            ended = [account.take(record.payload) for record in records]
            changed += await _settle(
                pool,
                [
                    one
                    for one in ended
                    if one is not None
                    and (one.result.state is State.DEFERRED) is wants_deferred
                ],
            )
        if not wants_deferred and not is_alive:
            changed += await _settle(pool, account.doubts())
    return Replayed(
        records=account.records,
        changed=changed.total(),
        doubts=changed[State.IN_DOUBT],
        boot=account.boot,
    )


async def _settle(
    pool: database.Pool, ended: Sequence[journal.Ended]
) -> Counter[State]:
    """Write into the ledger what it does not have yet; count that by its state."""
    by_blast: defaultdict[BlastId, list[journal.Ended]] = defaultdict(list)
    for one in ended:
        by_blast[one.blast].append(one)
    changed: Counter[State] = Counter()
    for blast, mine in sorted(by_blast.items()):
        results = [one.result for one in mine]
        async with database.connection(pool) as tx:
            missing = await deliveries.behind(tx, blast, results)
        if missing:
            times = {one.result.seq: one.retry_at for one in mine}
            async with database.transaction(pool) as tx:
                changed += await _write(tx, blast, missing, times)
    return changed


async def _write(
    tx: database.Connection,
    blast: BlastId,
    results: Sequence[deliveries.Result],
    times: dict[int, datetime | None],
) -> Counter[State]:
    """Settle *results*, and have tried again at their times what was put off."""
    settled = await deliveries.settle(tx, blast, results)
    later = [row.seq for row in settled if row.after is State.DEFERRED]
    due: defaultdict[datetime, list[int]] = defaultdict(list)
    soon = await blasts.clock(tx) + SOON if later else None
    for seq in later:
        at = times[seq] or soon
        assert at is not None
        due[at.replace(microsecond=0) + timedelta(seconds=1)].append(seq)
    for at, seqs in sorted(due.items()):
        await chunks.gather(tx, blast, seqs, start_at=at)
    changed = Counter(row.after for row in settled)
    await alarms.doubt(tx, blast, changed[State.IN_DOUBT])
    return changed
