"""Fictional people in a database of their own: some imported, the rest copied."""

from __future__ import annotations

import tomllib
from pathlib import Path

from mailer.core import fiction
from mailer.pipeline import importing
from mailer.store import database, migrate
from rig import given

IMPORTED = 10_000  # people who are drawn; a longer list is made of copies of them

# A copy is another person at the same provider, with the same data.
COPIES = """
INSERT INTO subscriber OVERRIDING SYSTEM VALUE
SELECT id + $1, 'demo.' || $1 || substr(address, 5), 'demo.' || $1 || substr(email, 5),
       domain, provider, first_name, last_name, street, city, state, zip, country,
       time_zone, language, attributes, signed_up_at, created_at, updated_at
FROM subscriber WHERE id <= $2 ORDER BY id LIMIT $3
"""
GIFTS = """
INSERT INTO giving (
    subscriber_id, imported_count, imported_sum, imported_highest, imported_latest,
    imported_latest_at, recurring
)
SELECT subscriber_id + $1, imported_count, imported_sum, imported_highest,
       imported_latest, imported_latest_at, recurring
FROM giving JOIN subscriber ON subscriber.id = subscriber_id + $1
WHERE subscriber_id <= $2 ORDER BY subscriber_id
"""
SEQUENCE = """
SELECT setval(pg_get_serial_sequence('subscriber', 'id'), max(id)) FROM subscriber
"""


async def made(
    pool: database.Pool, folder: Path, count: int, *, by_provider: bool = False
) -> None:
    """Migrate a database, and put *count* people into it.

    They are all of the provider ``other``, or *by_provider* where they belong.
    """
    await migrate.ensure(pool)
    file = folder / "people.csv"
    drawn = min(count, IMPORTED)
    with file.open("w", encoding="utf-8", newline="") as out:
        # Some are refused: the mistakes that people make are in it.
        lines = fiction.lines(drawn + drawn // 100 + 10, seed=1, now=given.NOW)
        out.writelines(lines)
    options = importing.Options(hints=hints() if by_provider else {})
    await importing.import_csv(pool, file, actor="bench", options=options)
    async with database.connection(pool) as tx:
        await tx.raw.execute(
            "DELETE FROM subscriber WHERE id NOT IN"
            " (SELECT id FROM subscriber ORDER BY id LIMIT $1)",
            drawn,
        )
    await more(pool, count)


async def more(pool: database.Pool, count: int) -> None:
    """Add copies of those who are there until there are *count* people."""
    async with database.transaction(pool) as tx:
        there, span = await tx.raw.fetchrow("SELECT count(*), max(id) FROM subscriber")
        for copy in range(1, -(-count // there)):
            left = min(there, count - copy * there)
            await tx.raw.execute(COPIES, copy * span, span, left)
            await tx.raw.execute(GIFTS, copy * span, span)
        await tx.raw.execute(SEQUENCE)
    async with database.connection(pool) as tx:
        await tx.raw.execute("VACUUM (ANALYZE) subscriber, giving")
        await tx.raw.execute("CHECKPOINT")  # nothing is left to write from before


def hints() -> dict[str, str]:
    """Return the provider of each domain that the shipped rules name."""
    text = (given.BENCH.parent / "config/providers.toml").read_text("utf-8")
    known = tomllib.loads(text)["provider"]
    return {
        domain: name for name, one in known.items() for domain in one.get("domains", ())
    }
