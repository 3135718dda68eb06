"""Slots: the connections of lanes, each leased to a process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mailer.store import database

SQL = database.load("slots")


@dataclass(frozen=True, slots=True, kw_only=True)
class Berth:
    """A connection that may stay, and what is asked of its lane."""

    id: int
    provider: str
    source: str
    is_unlimited: bool  # no tokens need to be taken
    is_at_ease: bool  # nothing need be reported but what replies ask for


async def take(
    tx: database.Connection,
    *,
    provider: str,
    source: str,
    connections: int,
    owner: str,
    lease: timedelta,
) -> int | None:
    """Take one of the *connections* of a locked lane; None: all are taken."""
    found: int | None = await tx.value(
        SQL["take"],
        provider=provider,
        source=source,
        connections=connections,
        owner=owner,
        lease=lease,
    )
    return found


async def give(tx: database.Connection, slot: int) -> None:
    """Give a connection back."""
    await tx.run(SQL["give"], id=slot)


async def renew(tx: database.Connection, *, owner: str, lease: timedelta) -> None:
    """Keep the connections of a process that is alive."""
    await tx.run(SQL["renew"], owner=owner, lease=lease)


async def drop(tx: database.Connection, *, owner: str) -> None:
    """Forget the connections of a process that is gone."""
    await tx.run(SQL["drop"], owner=owner)


async def tidy(tx: database.Connection) -> None:
    """Forget connections whose leases ran out."""
    await tx.run(SQL["tidy"])


async def berths(tx: database.Connection, *, owner: str) -> list[Berth]:
    """Return which of its connections *owner* may keep; the others are to be closed."""
    return [Berth(**row) for row in await tx.rows(SQL["berths"], owner=owner)]
