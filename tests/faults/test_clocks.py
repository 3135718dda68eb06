"""Clocks that are changed while a blast goes out (F9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected
from tests.program import Program

RATE = 60  # a second
RATED = f'rate = "{RATE}/s"'


def rated(house: Program) -> Program:
    """Have the relay take so many a second, and no more."""
    house.edit("config/settings.toml", 'rate = "unlimited"', RATED)
    return house


async def shifted(db: database.Pool, by: str) -> None:
    """Set our clock, which schedules, leases and workers go by."""
    await given.rows(
        db, "UPDATE clock SET shift = shift + $1::text::interval RETURNING 1", by
    )


@pytest.mark.timeout(90)
@pytest.mark.parametrize("jump", ["1 hour", "-1 hour"])
async def test_when_the_clock_jumps_nothing_bursts_and_nothing_goes_out_twice(
    jump: str, db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 300
    name = await stage.launched(db, people)
    async with oracle(tmp_path) as book:
        house = rated(await stage.made(tmp_path, database_url, book))
        async with stage.working(house, 2) as workers:
            await book.hears("dot", 140)
            await shifted(db, jump)
            await book.hears("dot", people, within=15)  # no stall
            await stage.finished(db, people)
            await stage.stopped(workers)
    await promises.kept(
        db,
        name,
        book,
        Expected(people=people, connections=stage.CONNECTIONS, rate=RATE),
    )
