"""What a fault scenario is played on: a crowd, a workspace, workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailer.pipeline import closing, launching
from mailer.store import database
from tests import given, program
from tests.faults.oracle import Oracle
from tests.program import Program, Running

CONNECTIONS = 6  # of the lane, whatever the number of workers
WORKERS = """
SELECT 1 FROM process, pg_sleep(0.02) WHERE kind = 'worker' AND stopped_at IS NULL
"""
CROWD = """
INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
SELECT address, address, $2, $3, '2026-01-01Z'
FROM (SELECT $4 || n || '@' || $2 AS address FROM generate_series(1, $1::integer) n) x
RETURNING 1
"""
HELD = """
SELECT 1 FROM chunk, pg_sleep(0.02) WHERE state = 'leased'
UNION ALL SELECT 1 FROM slot
"""
OPEN = "SELECT 1 FROM chunk, pg_sleep(0.02) WHERE state <> 'done'"
SOONER = """
UPDATE clock SET shift = shift + '5 minutes'
WHERE NOT EXISTS (
    SELECT FROM chunk WHERE state <> 'done' AND start_at <= mailer_now()
) AND NOT EXISTS (SELECT FROM lane WHERE not_before > clock_timestamp())
RETURNING 1
"""


async def crowd(
    db: database.Pool,
    people: int,
    *,
    domain: str = "example.org",
    provider: str = "other",
    prefix: str = "p",
) -> list[str]:
    """Have so many subscribers of one provider; return their addresses."""
    await given.rows(db, CROWD, people, domain, provider, prefix)
    return [f"{prefix}{number}@{domain}" for number in range(1, people + 1)]


async def launched(db: database.Pool, people: int = 0, **changes: Any) -> str:
    """Launch a blast of three variants to everybody, *people* more than there are."""
    if people:
        await crowd(db, people)
    variants = [given.variant("a"), given.variant("b"), given.variant("c")]
    body = given.content(variants=variants, **changes.pop("content", {}))
    name = await given.approved(db, body, **changes)
    await launching.launch(db, name)
    return name


async def made(
    folder: Path,
    database_url: str,
    book: Oracle,
    *,
    connections: int = CONNECTIONS,
    providers: str = '[provider.other]\nretry = ["1s"]\n',
) -> Program:
    """Make a workspace whose relay is the provider that keeps the book."""
    house = await program.made(
        folder / "workspace",
        database=database_url,
        sink=book.port,
        connections=connections,
    )
    house.write("config/providers.toml", providers)
    return house


def having(house: Program, **more: str) -> Program:
    """Return the same workspace, whose processes have more in their environment."""
    return replace(house, environment={**house.environment, **more})


async def at_rest(db: database.Pool) -> None:
    """Wait until no worker holds anything."""
    async with asyncio.timeout(30):
        while await given.rows(db, HELD):
            continue


async def ended(db: database.Pool) -> int:
    """Return how many deliveries have their end; asks no faster than it can change."""
    ((count,),) = await given.rows(
        db,
        "SELECT count(*) FROM delivery, pg_sleep(0.02)"
        " WHERE state NOT IN ('owed', 'deferred')",
    )
    assert isinstance(count, int)
    return count


async def at_work(db: database.Pool, *, count: int, within: float = 20) -> None:
    """Wait until so many workers are at work: one that starts may still refuse to."""
    async with asyncio.timeout(within):
        while len(await given.rows(db, WORKERS)) < count:
            continue


async def going_on(db: database.Pool, *, after: int, within: float = 30) -> None:
    """Wait until more than *after* have their end."""
    async with asyncio.timeout(within):
        while await ended(db) <= after:
            continue


async def finished(db: database.Pool, people: int, *, within: float = 45) -> None:
    """Wait until everybody has their end; what is due later, is due now."""
    async with asyncio.timeout(within):
        while await ended(db) < people:
            await given.rows(db, SOONER)
            await closing.close_due(db)  # what was cancelled, or came too late
        # Everybody has an end before the last chunk is given back.
        while await given.rows(db, OPEN):
            await closing.close_due(db)
    await closing.close_due(db)


async def stopped(workers: Sequence[Running]) -> None:
    """End workers as a service manager does; each must be content."""
    for one in workers:
        assert await one.end() == 0, one.log.read_text()


@asynccontextmanager
async def working(house: Program, count: int = 1) -> AsyncIterator[list[Running]]:
    """Have so many workers beside the test; those that still live end with it.

    A test may kill some of them, and put others in their place.
    """
    workers = [await house.start("work") for _ in range(count)]
    try:
        yield workers
    finally:
        for one in workers:
            if one.process.returncode is None:
                await one.kill()
