"""Workers killed with -9 at any moment: nobody twice, nobody lost, doubt is said.

The oracle is the provider: it writes down who got what before it answers, in a
process that nobody kills.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailer.pipeline import closing, launching
from mailer.store import database
from tests import given, program
from tests.program import Program, Running

PEOPLE = 1200
CONNECTIONS = 6  # of the lane, whatever the number of workers
SCENARIO = """
[provider.other]
latency = "10ms"
unknown = "2%"
greylisted = "3%"
"""
CROWD = """
INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
SELECT 'p' || n || '@example.org', 'p' || n || '@example.org', 'example.org', 'other',
       '2026-01-01Z'
FROM generate_series(1, $1::integer) n RETURNING 1
"""
ROLLUP = """
SELECT variant::integer, provider, sum(recipients)::integer, sum(sent)::integer,
       sum(bounced)::integer, sum(in_doubt)::integer, sum(expired + cancelled)::integer
FROM rollup GROUP BY variant, provider ORDER BY variant
"""
RECOUNT = """
SELECT variant::integer, provider, count(*)::integer,
       count(*) FILTER (WHERE state = 'sent')::integer,
       count(*) FILTER (WHERE state = 'bounced')::integer,
       count(*) FILTER (WHERE state = 'in_doubt')::integer,
       count(*) FILTER (WHERE state IN ('expired', 'cancelled'))::integer
FROM delivery GROUP BY variant, provider ORDER BY variant
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The provider's own book."""

    port: int
    record: Path

    def arrived(self) -> list[tuple[str, str]]:
        """Return recipient and Message-ID of all that was taken."""
        lines = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [(line["recipient"], line["message_id"]) for line in lines]


@asynccontextmanager
async def oracle(folder: Path) -> AsyncIterator[Oracle]:
    """Have the simulated provider beside the test, in its own process."""
    scenario, record = folder / "scenario.toml", folder / "arrived.jsonl"
    scenario.write_text(SCENARIO)
    outside = Program(root=folder / "nowhere", environment=program.environment())
    words = ["sink", "--port", 0, "--scenario", scenario, "--record", record]
    async with outside.running(*words) as sink:
        port = None
        while port is None:
            assert sink.process.returncode is None
            await asyncio.to_thread(sink.log.stat)
            port = re.search(r"Listening on .*:(\d+)", sink.log.read_text())
        yield Oracle(port=int(port[1]), record=record)


async def ended(db: database.Pool) -> int:
    """Return how many deliveries have their end."""
    ((count,),) = await given.rows(
        db,
        "SELECT count(*) FROM delivery, pg_sleep(0.02)"
        " WHERE state NOT IN ('owed', 'deferred')",
    )
    assert isinstance(count, int)
    return count


async def going_on(db: database.Pool, *, after: int) -> None:
    """Wait until more than *after* have their end: long before any lease runs out."""
    async with asyncio.timeout(15):
        while await ended(db) <= after:
            continue


async def killed(
    house: Program, workers: list[Running], db: database.Pool, *, chance: random.Random
) -> None:
    """Kill a worker at any moment, and start another in its place."""
    if chance.random() < 0.7:  # else it may die while it starts, or takes over
        await going_on(db, after=await ended(db))
    victim = chance.randrange(len(workers))
    try:
        async with asyncio.timeout(chance.uniform(0.0, 0.8)):
            status = await workers[victim].process.wait()
            pytest.fail(f"it ended by itself: {status}")
    except TimeoutError:
        await workers[victim].kill()
    workers[victim] = await house.start("work")


async def finished(db: database.Pool, people: int) -> None:
    """Wait until everybody has their end; lost retries are due in a minute."""
    async with asyncio.timeout(30):
        while await ended(db) < people:
            await given.rows(
                db,
                "UPDATE clock SET shift = '5 minutes' WHERE NOT EXISTS ("
                "SELECT FROM chunk WHERE state <> 'done' AND start_at <= mailer_now()"
                ") RETURNING 1",
            )
    await closing.close_due(db)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("workers", "kills", "seed"), [(1, 5, 1), (3, 6, 3)])
async def test_a_worker_that_is_killed_sends_nobody_a_second_copy_and_loses_nobody(
    db: database.Pool,
    database_url: str,
    tmp_path: Path,
    workers: int,
    kills: int,
    seed: int,
) -> None:
    chance = random.Random(seed)
    name = await launched(db, PEOPLE)

    async with oracle(tmp_path) as book:
        house = await made(tmp_path, database_url, book)
        running = [await house.start("work") for _ in range(workers)]
        for _ in range(kills):
            await killed(house, running, db, chance=chance)
        await finished(db, PEOPLE)
        for one in running:
            assert await one.end() == 0, one.log.read_text()

    await invariants(db, name, book, people=PEOPLE, doubts=CONNECTIONS * kills)


@pytest.mark.timeout(60)
async def test_what_a_dead_worker_left_is_taken_over_by_one_that_lives(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 5000  # enough to be at it still when the second one has started
    name = await launched(db, people)

    async with oracle(tmp_path) as book:
        house = await made(tmp_path, database_url, book)
        journals = house.root / ".mailer" / "journal"
        victim = await house.start("work")
        async with house.running("work"):
            # A worker opens its journal when it has looked for those of the dead.
            while (
                len(list(journals.glob("*/*.spool"))) < 2 and await ended(db) < people
            ):
                continue
            assert await ended(db) < people, "the second one came too late"
            await victim.kill()
            await finished(db, people)

    await invariants(db, name, book, people=people, doubts=CONNECTIONS)


async def launched(db: database.Pool, people: int) -> str:
    """Launch a blast of three variants to so many people."""
    await given.rows(db, CROWD, people)
    variants = [given.variant("a"), given.variant("b"), given.variant("c")]
    name = await given.approved(db, given.content(variants=variants))
    await launching.launch(db, name)
    return name


async def made(folder: Path, database_url: str, book: Oracle) -> Program:
    """Make a workspace whose relay is the provider that keeps the book."""
    house = await program.made(
        folder / "workspace",
        database=database_url,
        sink=book.port,
        connections=CONNECTIONS,
    )
    house.write("config/providers.toml", '[provider.other]\nretry = ["1s"]\n')
    return house


async def invariants(
    db: database.Pool, name: str, book: Oracle, *, people: int, doubts: int
) -> None:
    """Compare the ledger with the provider's book: I1 to I5, I8 of the fault plan."""
    states = await given.states(db, name)
    assert len(states) == people
    assert set(states.values()) <= {"sent", "bounced", "in_doubt"}
    arrived = book.arrived()
    sent = {email for email, state in states.items() if state == "sent"}
    doubted = {email for email, state in states.items() if state == "in_doubt"}
    assert [one for one, count in Counter(arrived).items() if count > 1] == []
    assert len({email for email, _ in arrived}) == len(arrived)
    assert sent <= {email for email, _ in arrived}
    assert {email for email, _ in arrived} - sent <= doubted
    assert len(doubted) <= doubts
    assert await given.rows(db, ROLLUP) == await given.rows(db, RECOUNT)
    assert await given.rows(db, "SELECT DISTINCT state::text FROM chunk") == [("done",)]
    assert await given.rows(db, "SELECT count(*) FROM slot") == [(0,)]
    assert await given.rows(db, "SELECT state::text FROM blast") == [("done",)]
