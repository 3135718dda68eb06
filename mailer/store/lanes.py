"""Lanes: provider x source, their rates as grants, their connections as leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.core import provider
from mailer.store import database

SQL = database.load("lanes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A lane that has work and a free connection."""

    provider: str
    source: str
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A row of the lane table; *rate* is messages a second, None unlimited."""

    provider: str
    source: str
    pool: str
    mode: str
    rate: float | None
    connections: int
    not_before: datetime
    reason: str | None
    taken: int


async def ensure(tx: database.Connection, lane: provider.Lane) -> None:
    """Have *lane*, with the limits that the settings give it."""
    unlimited = lane.rate.is_unlimited
    await tx.run(
        SQL["ensure"],
        provider=lane.provider,
        source=lane.source,
        pool=lane.pool,
        rate=None if unlimited else lane.rate.per_second,
        burst=1.0 if unlimited else lane.rate.burst,
        connections=lane.connections,
    )


async def wanted(tx: database.Connection, sources: Sequence[str]) -> list[Wanted]:
    """Return the lanes of *sources* with work and a free connection."""
    rows = await tx.rows(SQL["wanted"], sources=list(sources))
    return [Wanted(**row) for row in rows]


async def take_slot(
    tx: database.Connection,
    *,
    provider: str,
    source: str,
    owner: str,
    lease: timedelta,
) -> int | None:
    """Take a connection of a lane and return its number; None: all are taken.

    The lane's row stays locked until the transaction ends, so that two processes
    never count the same free connection.
    """
    connections = await tx.value(SQL["lock"], provider=provider, source=source)
    if connections is None:
        return None
    found: int | None = await tx.value(
        SQL["take_slot"],
        provider=provider,
        source=source,
        connections=connections,
        owner=owner,
        lease=lease,
    )
    return found


async def give_slot(tx: database.Connection, slot: int) -> None:
    """Give a connection back."""
    await tx.run(SQL["give_slot"], id=slot)


async def renew_slots(tx: database.Connection, *, owner: str, lease: timedelta) -> None:
    """Keep the connections of a process that is alive."""
    await tx.run(SQL["renew_slots"], owner=owner, lease=lease)


async def drop_slots(tx: database.Connection, *, owner: str) -> None:
    """Forget the connections of a process that is gone."""
    await tx.run(SQL["drop_slots"], owner=owner)


async def tidy_slots(tx: database.Connection) -> None:
    """Forget connections whose leases ran out."""
    await tx.run(SQL["tidy_slots"])


async def grant(
    tx: database.Connection, *, provider: str, source: str, want: int
) -> int:
    """Take up to *want* tokens of a lane; 0 when it must wait."""
    found: int | None = await tx.value(
        SQL["grant"], provider=provider, source=source, want=want
    )
    return found or 0


async def hold(
    tx: database.Connection,
    *,
    provider: str,
    source: str,
    wait: timedelta,
    reason: str,
) -> None:
    """Keep a lane closed for *wait*; *reason* is the reply that led to it."""
    await tx.run(
        SQL["hold"], provider=provider, source=source, wait=wait, reason=reason
    )


async def everything(tx: database.Connection) -> list[Lane]:
    """Return every lane."""
    return [Lane(**row) for row in await tx.rows(SQL["all"])]
