"""A worker that is suspended beyond its lease, and wakes up again (F2)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from mailer import runtime
from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected

PEOPLE = 300
# What is left is with one whose lease has run out, or with nobody.
THEIRS = """
SELECT 1 FROM chunk, pg_sleep(0.05)
WHERE state = 'ready' OR (state = 'leased' AND lease_until > clock_timestamp())
"""
OWED = "SELECT count(*) FROM delivery WHERE state IN ('owed', 'deferred')"


@pytest.mark.soak  # the short form is in test_lost_machines.py
@pytest.mark.timeout(90)
async def test_a_worker_that_slept_beyond_its_lease_starts_nothing_of_it(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    name = await stage.launched(db, PEOPLE)
    async with oracle(tmp_path, '[provider.other]\nlatency = "40ms"\n') as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house, 2) as (sleeper, survivor):
            await stage.at_work(db, count=2)
            await book.hears("dot", 20, more=True)
            sleeper.process.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(40):
                while await given.rows(db, THEIRS):
                    continue
            ((owed,),) = await given.rows(db, OWED)
            awake = runtime.now()
            sleeper.process.send_signal(signal.SIGCONT)
            await stage.finished(db, PEOPLE)
            await stage.stopped([sleeper, survivor])

    # Of what it had not started, others went on; what came of the rest, it knew.
    assert owed < PEOPLE / 2
    taken_late = [one for one in book.arrived() if one.at > awake]
    assert len(taken_late) <= owed
    expected = Expected(people=PEOPLE, connections=2 * stage.CONNECTIONS)
    await promises.kept(db, name, book, expected)
