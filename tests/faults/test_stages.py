"""Workers killed with -9 at each named stage of a message (C1 to C7).

Where a message stands, the provider hears: it keeps silent, and then we kill.  What
only the worker sees (the reply is read, the journal is written, the ledger is not)
the worker does to itself, at a function that the test names.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import Step, oracle
from tests.faults.promises import Expected

PEOPLE = 600
SILENCES = "".join(
    f'[[trouble]]\nat = "{at}"\ndoes = "silence"\nshare = "{share}"\ntimes = 1\n'
    for at, share in (
        ("connect", "100%"),  # C1: claimed
        ("mail", "100%"),
        ("data", "0.4%"),  # C2: MAIL and RCPT are accepted
        ("body", "0.4%"),  # C3: 354 is read, the body is on its way
        ("dot", "0.4%"),  # C4: the dot is written, and it was taken
    )
)
OWN = [
    "journal.py:write_started:call:20",  # C3: composed, 354 read, nothing journalled
    "spool/writer.py:write:return:31",  # C4 or C6: a record is written, nothing more
    "journal.py:write_ended:call:20",  # C5: the reply is read, not journalled
    "settler.py:_write:call:2",  # C6: journalled, not in the database
    "settler.py:_write:call:3",  # C7: committed, and no more than that
]


@pytest.mark.timeout(90)
async def test_a_worker_killed_at_any_stage_that_the_provider_hears(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    name = await stage.launched(db, PEOPLE)
    async with oracle(tmp_path, SILENCES) as book:
        house = await stage.made(tmp_path, database_url, book)
        kills = 0
        async with stage.working(house) as workers:

            def held() -> list[Step]:
                return [one for one in book.steps if one.then == "hold"]

            async def next_silence() -> None:
                so_far = len(held())
                await book.ear.reached(lambda: len(held()) > so_far, within=30)

            async with asyncio.TaskGroup() as tasks:
                end = tasks.create_task(stage.finished(db, PEOPLE))
                while not end.done():
                    silence = tasks.create_task(next_silence())
                    await asyncio.wait(
                        {silence, end}, return_when=asyncio.FIRST_COMPLETED
                    )
                    if not silence.done():
                        silence.cancel()
                        break
                    await workers[0].kill()
                    kills += 1
                    workers[0] = await house.start("work")
            await stage.stopped(workers)

    stages = {one.step for one in held()}
    assert stages == {"connect", "mail", "data", "body", "dot"}
    expected = Expected(
        people=PEOPLE,
        doubts=stage.CONNECTIONS * kills,
        connections=stage.CONNECTIONS,
    )
    await promises.kept(db, name, book, expected)
    states = await given.states(db, name)
    for one in held():
        if one.step == "dot":
            assert one.recipient is not None
            assert states[one.recipient] == "in_doubt"
    began = {one.recipient for one in book.steps if one.step in {"body", "dot"}}
    assert promises.having(states, "in_doubt") <= began


@pytest.mark.timeout(90)
async def test_a_worker_killed_at_any_stage_that_only_it_sees(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    name = await stage.launched(db, PEOPLE)
    async with oracle(tmp_path) as book:
        house = await stage.made(tmp_path, database_url, book)
        dying = Path(__file__).with_name("dying.py")
        for point in OWN:
            one = replace(house, launcher=(str(dying), point))
            async with one.running("work") as worker:
                async with asyncio.timeout(20):
                    status = await worker.process.wait()
            assert status == -signal.SIGKILL, f"{point}: {worker.log.read_text()}"
        async with house.running("work"):
            await stage.finished(db, PEOPLE)
    expected = Expected(
        people=PEOPLE,
        doubts=stage.CONNECTIONS * len(OWN),
        connections=stage.CONNECTIONS,
    )
    await promises.kept(db, name, book, expected)
