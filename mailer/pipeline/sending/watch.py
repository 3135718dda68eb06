"""What a worker must know right before each message: what runs, who changed, the time.

One task asks the database about it; carriers only look here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from mailer import errors
from mailer.core.delivery import BlastId
from mailer.pipeline.sending.leases import LEASE, Leases, boottime
from mailer.pipeline.sending.slots import Slots
from mailer.store import blasts, chunks, database, journals, migrate, processes, slots

TICK = 0.001  # seconds for which the time stands
POLL = 0.4  # seconds; stop means stop within 1 s
OVERLAP = timedelta(seconds=10)  # a change may commit so long after its timestamp
RENEW = 3.0  # seconds: three chances before a lease ends
MANY = 100_000  # people of whom something was learned: more, and all are asked about
STALE = 4.0  # seconds; who looked longer ago may have missed a stop or a farewell

Heed = Callable[[Sequence[slots.Berth]], None]

log = structlog.get_logger()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait *seconds*, or less when told to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


@dataclass(slots=True, kw_only=True)
class Watch:
    """The worker's view of the world, at most a second old."""

    pool: database.Pool
    owner: str
    leases: Leases
    identity: UUID | None  # of the database
    boottime: Callable[[], float] = boottime
    slots: Slots = field(default_factory=Slots)
    heed: Heed = lambda _berths: None
    is_outdated: bool = False  # a later release has changed what we rely on
    is_replaced: bool = False  # the database is another one, or has lost something
    running: dict[BlastId, blasts.Running] = field(default_factory=dict)
    looks: int = 0  # how often the database was asked
    _changed: dict[str | int, int] = field(default_factory=dict)  # at which look
    _known: set[int] = field(default_factory=set)  # changes of the last look
    _flooded: int = 0  # at this look there were too many
    _until: dict[BlastId, float] = field(default_factory=dict)  # on our clock
    _asked_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    _asked: float = 0.0
    _told_at: float = -1.0
    _told: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time by the database's clock, to the millisecond."""
        now = self.boottime()
        if not 0 <= now - self._told_at < TICK:  # one reply asks several times
            self._told_at = now
            self._told = self._asked_at + timedelta(seconds=now - self._asked)
        return self._told

    def runs(self, chunk: chunks.Chunk) -> bool:
        """Tell whether *chunk* is ours, and its blast runs."""
        until = self._until.get(chunk.blast_id, 0.0)
        return self.boottime() < until and self.leases.is_held(chunk)

    def may_start(self, chunk: chunks.Chunk, seq: int) -> bool:
        """Tell whether a message may begin: its chunk runs, and is reached so far.

        Asked right before MAIL, and again before the body.
        """
        until = self._until.get(chunk.blast_id, 0.0)
        return self.boottime() < until and self.leases.may_start(chunk, seq)

    def has_changed(
        self, *, subscriber: int, address: str, domain: str, since: int
    ) -> bool:
        """Tell whether after look *since* something was learned of a person.

        It may forbid a message: the database knows.
        """
        changed = self._changed
        if self._flooded > since:
            return True
        return bool(changed) and (
            changed.get(subscriber, 0) > since
            or changed.get(address, 0) > since
            or changed.get(f"@{domain}", 0) > since
        )

    async def renew(self) -> None:
        """Say that we are alive, and keep our leases.

        The local deadline counts from before the question was asked.
        """
        before = self.boottime()
        held = self.leases.held()
        ours = self.standing()
        async with database.transaction(self.pool) as tx:
            # In the order of the settler, who writes to the same rows.
            kept = await chunks.renew(tx, held, owner=self.owner, lease=LEASE)
            await slots.renew(tx, owner=self.owner, lease=LEASE)
            await processes.beat(tx, self.owner)
            self.is_outdated = await migrate.is_outdated(tx)
            known = (await journals.standings(tx, [self.owner])).get(self.owner)
            outranked = await chunks.outranked(tx, owner=self.owner)
        if not ours.is_within(known):
            self.is_replaced = True
            self.leases.lose_all()
            log.error("database.replaced", ours=str(ours), found=str(known))
            return
        self.slots.put_down(outranked)
        lost = self.leases.renewed(held, kept, asked=before)
        if lost:
            log.warning("leases.lost", chunks=[chunk.id for chunk in lost])

    def standing(self) -> journals.Standing:
        """Return what the database must know of us."""
        return journals.Standing(identity=self.identity, settled=self.leases.settled)

    async def look(self) -> None:
        """Ask which blasts run, and about whom something changed."""
        before = self.boottime()
        back = OVERLAP
        if self.looks:  # after an outage: all that was missed
            back += timedelta(seconds=before - self._asked)
        ours = self.slots.held()
        async with database.connection(self.pool) as tx:
            found = await blasts.running(tx)
            clock = await blasts.clock(tx)
            changed = await processes.changes(tx, back=back)
            if ours:
                berths = await slots.berths(tx, owner=self.owner)
                self.slots.told(ours, {one.id for one in berths})
                self.heed(berths)
        self._asked_at, self._asked, self._told_at = clock, before, -1.0
        self.looks += 1
        for one in changed:
            if one.id not in self._known:  # they are read again for a while
                self._changed[one.address or one.subscriber_id or 0] = self.looks
        self._known = {one.id for one in changed}
        self._forget()
        self.running = {one.id: one for one in found}
        self._until = {
            one.id: before + min(STALE, (one.expires_at - clock).total_seconds())
            for one in found
        }

    def _forget(self) -> None:
        """Forget what every chunk that is held has read itself."""
        first = self.leases.first_look()
        if first is None:
            self._changed.clear()
        elif len(self._changed) > MANY:
            self._changed = {
                who: look for who, look in self._changed.items() if look > first
            }
        if len(self._changed) > MANY:
            self._changed.clear()
            self._flooded = self.looks

    async def run(self, stop: asyncio.Event) -> None:
        """Look and renew until *stop*; a database that is away stops messages."""
        renew_at = self.boottime() + RENEW
        while not stop.is_set():
            try:
                await self.look()
                if self.boottime() >= renew_at:
                    await self.renew()
                    renew_at = self.boottime() + RENEW
            except errors.Unavailable as error:
                log.warning("watch.away", error=str(error))
            await pause(stop, POLL)
