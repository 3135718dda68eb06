"""Bring a database to the schema of this release.  Forward only."""

from __future__ import annotations

from importlib import resources

from mailer.store import database

_LOCK = database.query("migrate.lock", "SELECT pg_advisory_xact_lock(7258463920151)")
_MARK = database.query(
    "migrate.mark", "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY)"
)
_LAST = database.query("migrate.last", "SELECT max(number) FROM migration")
_DONE = database.query(
    "migrate.done", "INSERT INTO migration (number) VALUES (:number)"
)


async def ensure(pool: database.Pool) -> None:
    """Apply every migration that the database does not have yet."""
    folder = resources.files("mailer.store").joinpath("migrations")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    async with database.transaction(pool) as tx:
        await tx.value(_LOCK)
        await tx.run(_MARK)
        last = await tx.value(_LAST) or 0
        for file in files:
            number = int(file.name[:4])
            if number > last:
                await tx.raw.execute(file.read_text("utf-8"))
                await tx.run(_DONE, number=number)
