"""Look after the database: its schema, its backups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer import errors
from mailer.core import blast
from mailer.store import backups, blasts, database, journals, migrate

GAP = 1000  # numbers of blasts left out after a restore
PAUSED = "restored from a backup: what was sent after it is not known here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A database, its server and its schema."""

    server: str
    name: str
    size_bytes: int
    processes: int
    migrations: tuple[migrate.Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore has done."""

    paused: tuple[str, ...]  # names of blasts
    migrated: int
    before: str  # what the replaced database is called now


async def status(url: str) -> Status:
    """Return what is known of the database at *url*, and change nothing."""
    async with database.opened(url, size=1) as pool:
        steps = await migrate.status(pool)
        async with database.connection(pool) as tx:
            about = await backups.about(tx)
            running = await backups.running(tx)
    return Status(
        server=about.version,
        name=about.name,
        size_bytes=about.size_bytes,
        processes=len(running),
        migrations=tuple(steps),
    )


async def upgrade(url: str) -> Sequence[migrate.Step]:
    """Apply the migrations that the database at *url* does not have yet."""
    async with database.opened(url, size=1) as pool:
        return await migrate.ensure(pool)


def psql(url: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of psql on *url*, and what its environment needs beside."""
    return backups.interactive(url)


async def backup(url: str, path: Path) -> int:
    """Write a backup to *path*, while everything runs on; return its size in bytes."""
    return await backups.write(url, path)


async def restore(
    url: str, path: Path, *, actor: str, while_running: bool = False
) -> Restored:
    """Replace the database at *url* by the backup at *path*, whole or not at all.

    Every blast that was under way is paused in it.  Raises Conflict while processes
    work on the database, unless *while_running*: they lose their connections.
    """
    await backups.check(path)
    async with database.opened(url, size=1) as pool, database.connection(pool) as tx:
        name = (await backups.about(tx)).name
        running = await backups.running(tx)
    if running and not while_running:
        message = (
            f"{len(running)} processes work on the database, {running[0].kind} on "
            f"{running[0].host} (pid {running[0].pid}) and so on: stop them first"
        )
        raise errors.Conflict(message)
    async with (
        backups.restored(url, path) as there,
        database.opened(there, size=1) as pool,
    ):
        migrated = await migrate.ensure(pool)
        paused = await _pause_all(pool, actor=actor)
    return Restored(
        paused=tuple(paused),
        migrated=len(migrated),
        before=f"{name}_before_restore",
    )


async def _pause_all(pool: database.Pool, *, actor: str) -> list[str]:
    """Pause every blast of which something could still go out."""
    allowed, _ = blast.MOVES[blast.Move.PAUSE]
    paused = []
    async with database.transaction(pool) as tx:
        await backups.forget_processes(tx)
        await backups.skip_numbers(tx, gap=GAP)
        await journals.change_identity(tx, known=None)
        for found in await blasts.everything(tx):
            if found.state in allowed:
                await blasts.move(tx, found, blast.Move.PAUSE, actor=actor, why=PAUSED)
                paused.append(found.name)
    return paused
