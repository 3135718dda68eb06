"""Bring a database to the schema of this release.  Forward only.

A migration is a file `migrations/NNNN_words.sql`, applied in one transaction and
never edited once released.  One whose first line is `-- breaking` takes away what
the release before relies on: it waits until that one's processes have stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

import asyncpg

from mailer import errors
from mailer.store import database, processes

SQL = database.load("migrate")

BREAKING = "-- breaking"
TIMEOUT = 86400.0  # seconds; rewriting a large table takes its time


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema, as this release ships it."""

    number: int
    name: str
    sql: str

    @property
    def hash(self) -> str:
        """Return the SHA-256 of its text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def breaking(self) -> bool:
        """Tell whether earlier releases cannot work once it is applied."""
        return self.sql.startswith(BREAKING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A migration, and when the database got it; None while it is pending."""

    number: int
    name: str
    breaking: bool
    applied_at: datetime | None


@cache
def shipped() -> tuple[Migration, ...]:
    """Return the migrations of this release, in order."""
    folder = resources.files("mailer.store").joinpath("migrations")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return tuple(
        Migration(
            number=int(file.name[:4]),
            name=file.name[5:].removesuffix(".sql"),
            sql=file.read_text("utf-8"),
        )
        for file in files
        if file.name.endswith(".sql")
    )


async def ensure(
    pool: database.Pool, *, migrations: Sequence[Migration] | None = None
) -> list[Step]:
    """Apply what the database does not have yet, and return that.

    One query when nothing is pending.  Raises Conflict when the database is of a
    newer release, or of none, or when a breaking migration meets running processes.
    """
    known = shipped() if migrations is None else migrations
    async with database.connection(pool) as tx:
        applied = await _applied(tx)
    done: list[Step] = []
    for migration in pending(known, applied):
        async with database.transaction(pool) as tx:
            await tx.raw.execute(SQL["lock"].sql, timeout=TIMEOUT)  # others migrate
            await tx.run(SQL["mark"])
            # Another process may have been faster.
            if migration in pending(known, await _applied(tx)):
                await _apply(tx, migration)
                done.append(_step(migration, None))
    return done


async def status(pool: database.Pool) -> list[Step]:
    """Return every migration that this release or the database knows, in order."""
    async with database.connection(pool) as tx:
        applied = await _applied(tx)
    times = {step.number: step.applied_at for step in applied}
    known = [_step(one, times.pop(one.number, None)) for one in shipped()]
    return known + [step for step in applied if step.number in times]


async def is_outdated(tx: database.Connection) -> bool:
    """Tell whether a later release has broken what this one relies on.

    A running process asks this from time to time, and stops.
    """
    return bool(await tx.value(SQL["broken"], known=shipped()[-1].number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Step):
    """A migration that a database has."""

    hash: str


def pending(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """Return the migrations that are missing.  Raises Conflict if they do not fit."""
    have = {step.number: step for step in applied}
    ours = {migration.number for migration in known}
    for number in sorted(have.keys() - ours):
        message = (
            f"this database is of a newer mailer: it has migration {number:04} "
            f"({have[number].name}), this one knows {max(ours):04}: update mailer"
        )
        raise errors.Conflict(message)
    for migration in known:
        step = have.get(migration.number)
        if step is not None and step.hash != migration.hash:
            message = (
                f"this database is of another mailer: its migration "
                f"{step.number:04} ({step.name}) is not the one of this release"
            )
            raise errors.Conflict(message)
    return [migration for migration in known if migration.number not in have]


async def _apply(tx: database.Connection, migration: Migration) -> None:
    """Apply one migration, and remember it."""
    if migration.breaking and (running := await processes.alive(tx)):
        message = (
            f"migration {migration.number:04} ({migration.name}) breaks what "
            f"{len(running)} running processes rely on: stop them first, "
            f"{running[0].kind} on {running[0].host} (pid {running[0].pid}) and so on"
        )
        raise errors.Conflict(message)
    await tx.raw.execute(migration.sql, timeout=TIMEOUT)
    await tx.run(
        SQL["done"],
        number=migration.number,
        name=migration.name,
        hash=migration.hash,
        breaking=migration.breaking,
    )


async def _applied(tx: database.Connection) -> list[Applied]:
    """Return what the database has; nothing of a new one."""
    try:
        return [Applied(**row) for row in await tx.rows(SQL["applied"])]
    except asyncpg.UndefinedTableError:
        return []


def _step(migration: Migration, applied_at: datetime | None) -> Step:
    return Step(
        number=migration.number,
        name=migration.name,
        breaking=migration.breaking,
        applied_at=applied_at,
    )
