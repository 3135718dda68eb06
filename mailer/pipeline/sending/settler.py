"""Results on their way into the ledger, in batches; a journal holds them till then."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from mailer import errors
from mailer.core.delivery import BlastId, State, SubscriberId
from mailer.pipeline.sending.leases import TICK, Leases
from mailer.pipeline.sending.watch import pause
from mailer.store import chunks, database, deliveries, journals

BATCH = 1000  # results in one transaction: facts say 92,000 rows/s at this size
PATIENCE = 1.0  # seconds until a database that went away is asked again

log = structlog.get_logger()


class End(NamedTuple):
    """What became of one delivery of a chunk."""

    chunk: chunks.Chunk
    result: deliveries.Result
    subscriber_id: SubscriberId
    retry_at: datetime | None = None  # of a deferral
    is_bad_address: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """A chunk that its carrier has left: all done, or given back for later."""

    chunk: chunks.Chunk
    is_finished: bool
    wait: timedelta = timedelta(0)


@dataclass(slots=True, kw_only=True)
class Settler:
    """Writes what the carriers hand in; one a worker."""

    pool: database.Pool
    owner: str
    leases: Leases
    flush: Callable[[], None] = lambda: None  # has the journal on the disk soon
    _ends: list[End] = field(default_factory=list)
    _returns: list[Return] = field(default_factory=list)
    _caught_up: float = 0.0

    def put(self, end: End) -> None:
        """Take over what became of a delivery."""
        self._ends.append(end)
        self.leases.work.set()

    def put_back(self, chunk: Return) -> None:
        """Take over a chunk; it is given back once its results are in the ledger."""
        self._returns.append(chunk)
        self.leases.work.set()

    def lag(self) -> float:
        """Return how many seconds ago all was in the ledger."""
        return self.leases.boottime() - self._caught_up if self._ends else 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Settle until *stop* is set and everything is in the ledger."""
        while True:
            has_work = bool(self._ends or self._returns or self.leases.asked())
            if stop.is_set() and not has_work:
                return
            if not has_work:
                self.leases.work.clear()
                await _either(self.leases.work, stop)
                continue
            try:
                await self.settle()
            except errors.Unavailable as error:
                log.warning("ledger.away", error=str(error))
                await asyncio.sleep(PATIENCE)
            else:
                await pause(stop, 0.0 if len(self._ends) >= BATCH else TICK)

    async def settle(self) -> None:
        """Write one batch: what ended, what is given back, how far it may go on."""
        began = self.leases.boottime()
        ends = self._ends[:BATCH]
        is_all = len(ends) == len(self._ends)
        left = {end.chunk.id for end in self._ends[BATCH:]}
        returns = [one for one in self._returns if one.chunk.id not in left]
        over = {one.chunk.id for one in self._returns}
        asked = [one for one in self.leases.asked() if one.chunk.id not in over]
        moves = [_move(one) for one in returns] + [
            chunks.Move(chunk=one.chunk, state=chunks.State.LEASED, through=one.through)
            for one in asked
        ]
        taken: set[tuple[int, int]] = set()
        settled = self.leases.settled
        if ends:
            self.flush()
        async with database.transaction(self.pool) as tx:
            await _write(tx, ends)
            if moves:
                taken = await chunks.move(tx, moves, owner=self.owner)
            if ends:
                settled = await journals.count(tx, self.owner)
        # No await in between: nothing was put between what we took and the rest.
        del self._ends[: len(ends)]
        # A database that counts less has forgotten something: the watch will see.
        self.leases.settled = max(settled, self.leases.settled)
        if is_all:
            self._caught_up = began
        self._returns = [one for one in self._returns if one not in returns]
        for one in returns:
            self.leases.drop(one.chunk)
        self.leases.reached(asked, taken)


def _move(one: Return) -> chunks.Move:
    state = chunks.State.DONE if one.is_finished else chunks.State.READY
    return chunks.Move(chunk=one.chunk, state=state, wait=one.wait)


async def _write(tx: database.Connection, ends: list[End]) -> None:
    """Settle *ends*, gather what was deferred, suppress what is a bad address."""
    blasts: defaultdict[BlastId, list[End]] = defaultdict(list)
    for end in ends:
        blasts[end.chunk.blast_id].append(end)
    for blast in sorted(blasts):
        settled = await deliveries.settle(
            tx, blast, [end.result for end in blasts[blast]]
        )
        after = {row.seq: row.after for row in settled}
        mine = [end for end in blasts[blast] if end.result.seq in after]
        await _gather(tx, mine)
        bad = [
            (end.subscriber_id, end.result.reply or "")
            for end in mine
            if end.is_bad_address and after[end.result.seq] is State.BOUNCED
        ]
        if bad:
            await deliveries.suppress_bounced(tx, bad, source=f"blast {blast}")


async def _gather(tx: database.Connection, ends: list[End]) -> None:
    """Put deferred rows into retry chunks, one a chunk and second of the clock."""
    due: defaultdict[tuple[int, datetime], list[End]] = defaultdict(list)
    for end in ends:
        if end.retry_at is not None:
            second = end.retry_at.replace(microsecond=0) + timedelta(seconds=1)
            due[end.chunk.id, second].append(end)
    for (_chunk, second), group in sorted(due.items(), key=lambda item: item[0]):
        await chunks.retry(
            tx,
            group[0].chunk,
            start_at=second,
            seqs=[end.result.seq for end in group],
        )


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Wait until one of two events is set."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(event.wait()) for event in (first, second)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
