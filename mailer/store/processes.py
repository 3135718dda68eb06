"""Running workers, schedulers and endpoints; and what changed meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.store import database

SQL = database.load("processes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A process that was seen lately."""

    id: str
    kind: str
    host: str
    pid: int
    fingerprint: str
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A worker that holds chunks; it may be gone."""

    id: str
    host: str
    boot: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Somebody about whom something changed: by address, domain or number."""

    id: int
    address: str | None
    subscriber_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """How many connections the database allows, and how many are open."""

    limit: int
    used: int


async def enter(
    tx: database.Connection,
    id: str,
    *,
    kind: str,
    host: str,
    boot: str,
    pid: int,
    fingerprint: str,
) -> None:
    """Say that a process runs, and with which settings."""
    await tx.run(
        SQL["enter"],
        id=id,
        kind=kind,
        host=host,
        boot=boot,
        pid=pid,
        fingerprint=fingerprint,
    )


async def beat(tx: database.Connection, id: str) -> None:
    """Say that a process is alive."""
    await tx.run(SQL["beat"], id=id)


async def leave(tx: database.Connection, id: str) -> None:
    """Say that a process has stopped."""
    await tx.run(SQL["leave"], id=id)


async def alive(tx: database.Connection) -> list[Alive]:
    """Return the processes that were seen in the last half minute."""
    return [Alive(**row) for row in await tx.rows(SQL["alive"])]


async def missing(tx: database.Connection, *, host: str) -> list[Missing]:
    """Return the workers of *host* that hold chunks."""
    return [Missing(**row) for row in await tx.rows(SQL["missing"], host=host)]


async def changes(tx: database.Connection, *, back: timedelta) -> list[Change]:
    """Return about whom something changed in the time *back* from now."""
    return [Change(**row) for row in await tx.rows(SQL["changes"], back=back)]


async def connections(tx: database.Connection) -> Connections:
    """Return how many connections the database has."""
    row = await tx.row(SQL["connections"])
    assert row is not None
    return Connections(**row)
