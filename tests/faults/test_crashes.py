"""Workers killed with -9 at any moment: nobody twice, nobody lost, doubt is said.

The oracle is the provider: it writes down who got what before it answers, in a
process that nobody kills.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import click
import pytest

from mailer.store import database
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected
from tests.program import Program, Running

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
            await stage.finished(db, people, within=45 + people / 50)
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
async def test_a_worker_that_is_killed_sends_nobody_a_second_copy_and_loses_nobody(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    await survived(db, database_url, tmp_path, people=1000, workers=2, kills=5, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, 3])
async def test_a_hundred_kills(
    workers: int,
    db: database.Pool,
    database_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kills, people = 100, 20_000
    outcome = await survived(
        db, database_url, tmp_path, people=people, workers=workers, kills=kills, seed=7
    )
    with capsys.disabled():
        click.echo(
            f"\n{people:,} messages, {workers} workers, {kills} kills at random: "
            f"{outcome.lost} lost, {outcome.twice} twice, {outcome.in_doubt} in doubt "
            f"({outcome.in_doubt / kills:.1f} a kill), of which "
            f"{outcome.delivered_in_doubt} had been delivered"
        )


@pytest.mark.timeout(60)
async def test_what_a_dead_worker_left_is_taken_over_by_one_that_lives(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 200
    name = await stage.launched(db, people)
    async with oracle(tmp_path, '[provider.other]\nlatency = "100ms"\n') as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house) as (victim,):
            await book.hears("dot")
            async with stage.working(house) as survivors:
                await stage.at_work(db, count=2)
                await book.hears("dot", 20, more=True)
                await victim.kill()
                await book.hears("dot", more=True, within=20)  # DESIGN.md 5.3
                await stage.finished(db, people)
                await stage.stopped(survivors)

    expected = Expected(
        people=people, doubts=stage.CONNECTIONS, connections=stage.CONNECTIONS
    )
    await promises.kept(db, name, book, expected)
