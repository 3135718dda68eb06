"""Workers killed with -9 at any moment: nobody twice, nobody lost, doubt is said.

The oracle is the provider: it writes down who got what before it answers, in a
process that nobody kills.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from mailer.store import database
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected
from tests.program import Program, Running

PEOPLE = 1200
SCENARIO = """
[provider.other]
latency = "10ms"
unknown = "2%"
greylisted = "3%"
"""
ENDS = frozenset({"sent", "bounced"})


async def killed(
    house: Program, workers: list[Running], db: database.Pool, *, chance: random.Random
) -> None:
    """Kill a worker at any moment, and start another in its place."""
    if chance.random() < 0.7:  # else it may die while it starts, or takes over
        await stage.going_on(db, after=await stage.ended(db))
    victim = chance.randrange(len(workers))
    try:
        async with asyncio.timeout(chance.uniform(0.0, 0.8)):
            status = await workers[victim].process.wait()
            pytest.fail(f"it ended by itself: {status}")
    except TimeoutError:
        await workers[victim].kill()
    workers[victim] = await house.start("work")


async def survived(
    db: database.Pool,
    url: str,
    folder: Path,
    *,
    people: int,
    workers: int,
    kills: int,
    seed: int,
) -> promises.Outcome:
    """Kill workers at random while a blast goes out; return what came of it."""
    chance = random.Random(seed)
    name = await stage.launched(db, people)
    async with oracle(folder, SCENARIO) as book:
        house = await stage.made(folder, url, book)
        async with stage.working(house, workers) as running:
            for _ in range(kills):
                await killed(house, running, db, chance=chance)
            await stage.finished(db, people)
            await stage.stopped(running)
        return await promises.kept(
            db,
            name,
            book,
            Expected(
                people=people,
                doubts=stage.CONNECTIONS * kills,
                ends=ENDS,
                connections=stage.CONNECTIONS,
            ),
        )


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
    await survived(
        db,
        database_url,
        tmp_path,
        people=PEOPLE,
        workers=workers,
        kills=kills,
        seed=seed,
    )
