"""What a worker must know right before each message: what runs, who changed, the time.

One task asks the database about it; carriers only look here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from mailer import errors
from mailer.core.delivery import BlastId
from mailer.store import blasts, chunks, database, lanes, migrate, processes

POLL = 0.4  # seconds; stop means stop within 1 s
OVERLAP = timedelta(seconds=10)  # a change may commit so long after its timestamp
LEASE = timedelta(seconds=20)  # of chunks and connections
RENEW = 5.0  # seconds: three chances before a lease ends
MARGIN = 2.0  # seconds before its end at which no message is started any more

log = structlog.get_logger()


# It also runs while the machine is suspended, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boottime() -> float:
    return time.clock_gettime(_CLOCK)


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
    boottime: Callable[[], float] = _boottime
    is_outdated: bool = False  # a later release has changed what we rely on
    running: dict[BlastId, blasts.Running] = field(default_factory=dict)
    _addresses: set[str] = field(default_factory=set)
    _subscribers: set[int] = field(default_factory=set)
    _leased_until: float = 0.0
    _asked_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    _asked: float = 0.0

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        return self._asked_at + timedelta(seconds=self.boottime() - self._asked)

    def may_start(self, blast: BlastId) -> bool:
        """Tell whether a message of *blast* may begin: it runs, and we hold leases."""
        found = self.running.get(blast)
        return (
            found is not None
            and self.boottime() < self._leased_until
            and self.now() < found.expires_at
        )

    def has_changed(self, *, subscriber: int, address: str, domain: str) -> bool:
        """Tell whether something was learned of a person that may forbid a message."""
        return (
            subscriber in self._subscribers
            or address in self._addresses
            or f"@{domain}" in self._addresses
        )

    async def renew(self) -> None:
        """Say that we are alive, and keep our leases.

        The local deadline counts from before the question was asked.
        """
        before = self.boottime()
        async with database.transaction(self.pool) as tx:
            await processes.beat(tx, self.owner)
            await chunks.renew(tx, owner=self.owner, lease=LEASE)
            await lanes.renew_slots(tx, owner=self.owner, lease=LEASE)
            self.is_outdated = await migrate.is_outdated(tx)
        self._leased_until = before + LEASE.total_seconds() - MARGIN

    async def look(self) -> None:
        """Ask which blasts run, and about whom something changed."""
        before = self.boottime()
        async with database.connection(self.pool) as tx:
            found = await blasts.running(tx)
            clock = await blasts.clock(tx)
            changed = await processes.changes(tx, back=OVERLAP)
        self._asked_at, self._asked = clock, before
        self._addresses.update(one.address for one in changed if one.address)
        self._subscribers.update(
            one.subscriber_id for one in changed if one.subscriber_id
        )
        self.running = {one.id: one for one in found}

    def forget(self) -> None:
        """Forget old changes; only while no chunk is held, which read them itself."""
        self._addresses.clear()
        self._subscribers.clear()

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
