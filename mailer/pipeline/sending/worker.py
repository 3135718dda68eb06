"""A worker: leases chunks for the lanes of its sources and carries them out."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from mailer import errors, spool
from mailer.core import provider
from mailer.core.delivery import BlastId
from mailer.pipeline.sending import content, entry, journal, kept, recovery
from mailer.pipeline.sending.carrier import Carrier, Plan
from mailer.pipeline.sending.complaints import Complaints
from mailer.pipeline.sending.content import Content
from mailer.pipeline.sending.entry import Setup
from mailer.pipeline.sending.leases import LEASE, Leases
from mailer.pipeline.sending.meter import Meter
from mailer.pipeline.sending.routing import Guide
from mailer.pipeline.sending.settler import Settler
from mailer.pipeline.sending.slots import Held
from mailer.pipeline.sending.steering import EVERY, Steering, advance
from mailer.pipeline.sending.watch import Watch, pause
from mailer.store import chunks, database, lanes, processes, slots

IDLE = 0.2  # seconds between two looks for work; a new worker has some within 1 s
RETRY = 1.0  # seconds between two tries of a disk that takes nothing
DRAIN = 30.0  # seconds that open messages are given at a stop

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Worker:
    """One process's share of the sending."""

    pool: database.Pool
    setup: Setup
    owner: str
    watch: Watch
    settler: Settler
    journal: spool.Writer
    stop: asyncio.Event
    complaints: Complaints
    steering: Steering
    _contents: dict[tuple[BlastId, str], Content] = field(default_factory=dict)
    _meters: dict[tuple[str, str, tuple[str, ...]], Meter] = field(default_factory=dict)
    _open: int = 0
    _after: str = ""  # the provider at which the last look for work ended
    _has_begun: bool = False  # the journal, on the disk

    async def lead(self) -> None:
        """Open connections where there is work, until told to stop."""
        async with asyncio.TaskGroup() as carriers:
            while not self.stop.is_set():
                if self.watch.is_outdated:
                    log.warning("worker.outdated", cure="restart it")
                    await self.complaints.outdated()
                    self.stop.set()
                    break
                started = 0
                try:
                    await self._rejoin()
                    await self.complaints.journal(self.journal.failure)
                    await self._demand_journal()
                    started = await self._spread(carriers)
                except errors.Unavailable as error:
                    log.warning("worker.away", error=str(error))
                if not started:
                    await pause(self.stop, IDLE)

    async def _rejoin(self) -> None:
        """Tell a database that has lost something what we know, before all else."""
        if self.watch.is_replaced:
            await recovery.rejoin(
                self.pool,
                self.setup.journals,
                owner=self.owner,
                known=self.watch.identity,
            )
            async with database.transaction(self.pool) as tx:
                standing = await entry.enter(tx, self.setup, owner=self.owner)
            self.watch.identity = standing.identity
            self.watch.leases.settled = standing.settled
            self.watch.is_replaced = False

    async def _demand_journal(self) -> None:
        """Begin the journal, and a new segment after a failed write: it comes first.

        Raises Unavailable while the disk takes nothing.
        """
        if self._has_begun and self.journal.failure is None:
            return
        try:
            if self.journal.failure is not None:
                self.journal.reopen()
            self.journal.write(journal.write_opened(journal.Opened(journal.boot())))
            await self.journal.sync()
        except errors.Unavailable:
            await pause(self.stop, RETRY)
            raise
        self._has_begun = True
        log.info("journal.begun", owner=self.owner)

    async def _spread(self, carriers: asyncio.TaskGroup) -> int:
        """Start a carrier on each lane that wants one; return how many."""
        if not self.watch.running:
            return 0
        started = 0
        names = [source.name for source in self.setup.sources]
        async with database.connection(self.pool) as tx:
            wanted, self._after = await lanes.wanted(tx, names, after=self._after)
        for lane in wanted:
            if self._open >= self.setup.connections:
                if not lane.taken:  # every lane with work has one, in turn at least
                    self.watch.slots.make_room(now=self.watch.boottime())
                break
            taken = await self._take(lane)
            if taken is not None:
                slot, chunk = taken
                self._open += 1
                started += 1
                carriers.create_task(self._carry(lane, slot, chunk))
        return started

    async def _take(self, lane: lanes.Wanted) -> tuple[int, chunks.Chunk] | None:
        """Take a connection of *lane* and a chunk for it; None: somebody was faster."""
        asked = self.watch.boottime()
        async with database.transaction(self.pool) as tx:
            found = await advance(tx, (lane.provider, lane.source))
            if found is None or not found.is_open:
                return None
            if not math.isinf(found.state.rate):
                self._limit(lane)
            slot = await slots.take(
                tx,
                provider=lane.provider,
                source=lane.source,
                connections=found.state.connections,
                owner=self.owner,
                lease=LEASE,
            )
            if slot is None:
                return None
            chunk = await self._lease(tx, lane)
            if chunk is None:
                await slots.give(tx, slot)
                return None
        self._hold(lane, chunk, asked=asked)
        return slot, chunk

    async def _lease(
        self, tx: database.Connection, lane: lanes.Wanted
    ) -> chunks.Chunk | None:
        return await chunks.lease(
            tx,
            provider=lane.provider,
            pool=lane.pool,
            owner=self.owner,
            lease=LEASE,
            window=self.watch.leases.window(
                lane.provider, per_second=self._fastest(lane)
            ),
            standing=self.watch.standing(),
        )

    def _hold(self, lane: lanes.Wanted, chunk: chunks.Chunk, *, asked: float) -> None:
        self.watch.leases.take(
            chunk,
            asked=asked,
            per_second=self._fastest(lane),
            look=self.watch.looks,
        )

    def _fastest(self, lane: lanes.Wanted) -> float:
        """Return the messages a second that a lane may grow to."""
        return self._limits(lane).ceiling.per_second * self.setup.speed

    async def _carry(self, lane: lanes.Wanted, slot: int, first: chunks.Chunk) -> None:
        """Carry chunk after chunk over one connection, then give it back."""
        carrier = Carrier(
            pool=self.pool,
            plan=self._plan(lane),
            steering=self.steering,
            watch=self.watch,
            settler=self.settler,
            journal=self.journal,
            stop=self.stop,
        )
        key = (lane.provider, lane.source)
        since = self.watch.boottime()
        self.watch.slots.hold(Held(slot=slot, lane=key, since=since, carrier=carrier))
        chunk: chunks.Chunk | None = first
        try:
            while chunk is not None:
                held = await self._content(chunk)
                meter = self._meter(lane, held.domains)
                may_go_on = await carrier.carry(chunk, held, meter=meter)
                chunk = None
                if may_go_on and not self.stop.is_set():
                    asked = self.watch.boottime()
                    async with database.transaction(self.pool) as tx:
                        chunk = await self._lease(tx, lane)
                    if chunk is not None:
                        self._hold(lane, chunk, asked=asked)
        except errors.Unavailable as error:
            log.warning("carrier.away", error=str(error))
        finally:
            self._open -= 1
            async with asyncio.timeout(DRAIN):
                await carrier.close()
                await self._give(slot)
            self.watch.slots.drop(slot)

    async def _give(self, slot: int) -> None:
        try:
            async with database.transaction(self.pool) as tx:
                await slots.give(tx, slot)
        except errors.Unavailable:
            log.warning("slot.left", slot=slot)  # its lease ends by itself

    def _meter(self, lane: lanes.Wanted, senders: Collection[str]) -> Meter:
        """Return what all our connections share that send as *senders* on a lane."""
        domains = entry.capped(self.setup.caps, self._plan(lane).lane, senders)

        async def ask(want: int) -> lanes.Grant | None:
            return await self._grant(lane, domains, want)

        key = (lane.provider, lane.source, domains)
        return self._meters.setdefault(key, Meter(ask=ask))

    async def _grant(
        self, lane: lanes.Wanted, domains: Sequence[str], want: int
    ) -> lanes.Grant | None:
        async with database.transaction(self.pool) as tx:
            found = await lanes.grant(
                tx,
                provider=lane.provider,
                source=lane.source,
                domains=domains,
                want=want,
                speed=self.setup.speed,
            )
            if found is not None and found.is_stale:  # the first of this day
                await advance(tx, (lane.provider, lane.source))
        if found is None:
            return None
        return replace(found, wait=found.wait / self.setup.speed)

    def _limit(self, lane: lanes.Wanted) -> None:
        """Take tokens from now on: what was known of the lane may be old."""
        for (name, source, _), meter in self._meters.items():
            if (name, source) == (lane.provider, lane.source):
                meter.is_unlimited = False

    def heed(self, berths: Sequence[slots.Berth]) -> None:
        """Take over what is asked of the lanes that we use."""
        self.steering.told(berths)
        unlimited = {(b.provider, b.source) for b in berths if b.is_unlimited}
        for (name, source, _), meter in self._meters.items():
            meter.is_unlimited = (name, source) in unlimited

    def _limits(self, wanted: lanes.Wanted) -> provider.Provider:
        source = next(one for one in self.setup.sources if one.name == wanted.source)
        found = entry.known_provider(self.setup.providers, wanted.provider)
        return provider.limited(found, source)

    def _plan(self, wanted: lanes.Wanted) -> Plan:
        source = next(one for one in self.setup.sources if one.name == wanted.source)
        found = entry.known_provider(self.setup.providers, wanted.provider)
        return Plan(
            lane=provider.lane(found, source),
            guide=Guide(
                source=source,
                router=self.setup.router,
                providers=self.setup.providers,
            ),
            rules=self.setup.rules,
            retry=self._limits(wanted).retry or self.setup.retry,
            patience=self.setup.patience,
        )

    async def _content(self, chunk: chunks.Chunk) -> Content:
        """Return the approved content of a chunk's blast, compiled once."""
        running = self.watch.running.get(chunk.blast_id)
        if running is None:
            await self.watch.look()
            running = self.watch.running.get(chunk.blast_id)
        if running is None:  # paused or cancelled in this moment
            raise errors.Unavailable(f"blast {chunk.blast_id} does not run")
        key = (running.id, running.approved_hash)
        if key not in self._contents:
            async with database.connection(self.pool) as tx:
                self._contents[key] = await content.load(
                    tx, running, house=self.setup.house
                )
        return self._contents[key]


async def work(pool: database.Pool, setup: Setup, *, stop: asyncio.Event) -> None:
    """Send what is owed until *stop*; then end what is open and settle it.

    Takes over what dead workers of this machine left behind, first and all along.
    """
    await recovery.recover(pool, setup.journals)
    _settle_memory()
    with entry.journal(setup.journals) as (owner, writer):
        async with database.transaction(pool) as tx:
            standing = await entry.enter(tx, setup, owner=owner)
        leases = Leases(settled=standing.settled)
        watch = Watch(pool=pool, owner=owner, leases=leases, identity=standing.identity)
        settler = Settler(pool=pool, owner=owner, leases=leases, flush=writer.soon)
        await watch.renew()
        await watch.look()
        worker = Worker(
            pool=pool,
            setup=setup,
            owner=owner,
            watch=watch,
            settler=settler,
            journal=writer,
            stop=stop,
            complaints=Complaints(pool=pool),
            steering=Steering(pool=pool, every=EVERY / setup.speed),
        )
        watch.heed = worker.heed
        await worker.complaints.begun()
        await _together(worker, watch=watch, settler=settler)
        async with database.transaction(pool) as tx:
            await slots.drop(tx, owner=owner)
            await processes.leave(tx, owner)
    with suppress(errors.Conflict), spool.owned(setup.journals / owner):
        if leases.settled:
            kept.keep(setup.journals / owner, watch.standing())
        else:
            kept.remove(setup.journals / owner)


def _settle_memory() -> None:
    """Have the collector leave alone what stays, and look less often at the rest.

    Messages hold no cycles: what it finds is what failures leave behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


async def _together(worker: Worker, *, watch: Watch, settler: Settler) -> None:
    """Run the parts; those that carriers need stop only after the carriers."""
    carried = asyncio.Event()
    async with asyncio.TaskGroup() as parts:
        parts.create_task(watch.run(carried))
        parts.create_task(settler.run(carried))
        parts.create_task(worker.steering.run(carried))
        parts.create_task(
            recovery.run(
                worker.pool,
                worker.setup.journals,
                worker.stop,
                watch=watch,
                settler=settler,
            )
        )
        try:
            await worker.lead()
        finally:
            carried.set()
