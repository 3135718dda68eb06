"""Machines that are gone, hang, lose power, or have no room left."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mailer import spool
from mailer.pipeline import closing
from mailer.pipeline.sending import journal
from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import Oracle, oracle
from tests.faults.promises import Expected
from tests.program import Program

SLOW = '[provider.other]\nlatency = "100ms"\n'
# What is owed beyond what a lost worker may have started.
FREE = """
SELECT count(*)::integer FROM delivery d, pg_sleep(0.05)
WHERE d.state IN ('owed', 'deferred') AND NOT EXISTS (
    SELECT FROM chunk c
    WHERE c.lost_at IS NOT NULL AND d.seq BETWEEN c.first_seq AND c.last_seq
)
"""
LOST = "SELECT count(*)::integer FROM chunk WHERE lost_at IS NOT NULL"
WAITING = "SELECT count(*)::integer FROM delivery WHERE state IN ('owed', 'deferred')"
LATE = """
UPDATE chunk SET lease_until = now() - interval '11 minutes' WHERE lost_at IS NOT NULL
RETURNING 1
"""
# Chunks so long that a worker is in the middle of them.
LONGER = """
WITH old AS (DELETE FROM chunk RETURNING *)
INSERT INTO chunk (blast_id, round, provider, pool, start_at, first_seq, last_seq)
SELECT blast_id, round, provider, pool, min(start_at), min(first_seq), max(last_seq)
FROM old GROUP BY blast_id, round, provider, pool, (first_seq - 1) / 50
RETURNING 1
"""
STARTED = """
SELECT sum(started_through - first_seq + 1)::integer FROM chunk WHERE state = 'leased'
"""


async def number(db: database.Pool, question: str) -> int:
    ((found,),) = await given.rows(db, question)
    return int(found or 0)


@pytest.mark.timeout(120)
async def test_what_a_lost_machine_cannot_have_started_goes_on_within_20_seconds(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 600
    name = await stage.launched(db, people)
    await given.rows(db, LONGER)
    async with oracle(tmp_path, SLOW) as book:
        gone = await machine(tmp_path / "gone", database_url, book)
        here = await machine(tmp_path / "here", database_url, book)
        async with stage.working(gone) as (victim,):
            await book.hears("dot", 10)
            async with stage.working(here) as survivors:
                await book.hears("dot", 40, more=True)
                await victim.kill()
                shutil.rmtree(gone.root / ".mailer" / "journal")
                async with asyncio.timeout(20):
                    while await number(db, LOST) == 0:
                        continue
                await stage.going_on(db, after=await stage.ended(db), within=5)
                async with asyncio.timeout(20):
                    while await number(db, FREE) > 0:
                        continue
                doubts = await number(db, WAITING)
                assert 0 < doubts < 100
                await given.rows(db, LATE)
                await stage.finished(db, people)
                await stage.stopped(survivors)

    found = await promises.kept(
        db,
        name,
        book,
        Expected(people=people, doubts=doubts, connections=2 * stage.CONNECTIONS),
    )
    assert found.in_doubt == doubts


@pytest.mark.timeout(120)
async def test_a_worker_that_was_stopped_beyond_its_leases_starts_nothing_of_them(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 300
    name = await stage.launched(db, people)
    await given.rows(db, LONGER)
    async with oracle(tmp_path, SLOW) as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house) as (stopped,):
            await book.hears("dot", 40)
            stopped.process.send_signal(signal.SIGSTOP)
            async with stage.working(house) as others:
                async with asyncio.timeout(40):
                    while await number(db, LOST) == 0 or await number(db, FREE) > 0:
                        continue
                stopped.process.send_signal(signal.SIGCONT)
                await stage.finished(db, people)
                await stage.stopped([stopped, *others])

    # Messages whose answer came while it was stopped are read when it goes on.
    await promises.kept(
        db, name, book, Expected(people=people, connections=2 * stage.CONNECTIONS)
    )


@pytest.mark.timeout(90)
@pytest.mark.parametrize("share", [0.0, 0.7], ids=["all of it", "its end"])
async def test_a_power_cut_that_takes_the_journal_leads_to_no_second_copy(
    db: database.Pool, database_url: str, tmp_path: Path, share: float
) -> None:
    """What was not synced is gone: here more than ever could be."""
    people = 300
    name = await stage.launched(db, people)
    async with oracle(tmp_path, SLOW) as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house) as workers:
            await book.hears("dot", 60)
            await workers[0].kill()
            may_be_started = await number(db, STARTED)
            cut(house.root / ".mailer" / "journal", share=share)
            workers[0] = await house.start("work")
            await stage.finished(db, people)
            await stage.stopped(workers)

    await promises.kept(
        db,
        name,
        book,
        Expected(
            people=people, doubts=may_be_started, connections=2 * stage.CONNECTIONS
        ),
    )


def cut(root: Path, *, share: float) -> None:
    """Leave so much of the one journal, as another life of the machine wrote it."""
    (folder,) = root.iterdir()
    records = [record.payload for record in spool.read(folder)]
    kept = records[1 : int(len(records) * share)]
    for _, path in spool.segments(folder):
        path.unlink()
    with spool.writing(folder) as writer:
        if share:
            writer.write(journal.write_opened(journal.Opened("another life")))
        for record in kept:
            writer.write(record)


@pytest.mark.timeout(90)
async def test_a_journal_on_a_full_disk_stops_the_sending_and_loses_nobody(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    """Files end at 8 kB, again and again; then nothing is taken at all for a while."""
    people = 400
    name = await stage.launched(db, people)
    alarm = (
        "SELECT count(*)::integer FROM alarm, pg_sleep(0.02)"
        " WHERE kind = 'journal_failing' AND cleared_at IS NULL"
    )
    async with oracle(tmp_path) as book:
        house = await stage.made(tmp_path, database_url, book)
        scarce = Path(__file__).with_name("scarce.py")
        house = replace(house, launcher=(str(scarce), "8000"))
        async with stage.working(house) as (worker,):
            await book.hears("dot", 150)
            limits = resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
            async with asyncio.timeout(20):
                while await number(db, alarm) == 0:
                    continue
            resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, limits)
            await stage.finished(db, people)
            await closing.close_due(db)
            await stage.stopped([worker])

    await promises.kept(
        db, name, book, Expected(people=people, connections=2 * stage.CONNECTIONS)
    )


async def machine(folder: Path, database_url: str, book: Oracle) -> Program:
    """Make a workspace of its own: another machine, as far as mailer can see."""
    await asyncio.to_thread(folder.mkdir)
    return await stage.made(folder, database_url, book)
