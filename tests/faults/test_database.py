"""The database dies, or hangs, while a blast goes out (F3, F4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailer import runtime
from tests.faults import promises, stage
from tests.faults.cluster import Cluster, cluster, migrated, wired
from tests.faults.oracle import oracle
from tests.faults.promises import Expected
from tests.program import Running

SLOW = '[provider.other]\nlatency = "30ms"\n'
STALE = timedelta(seconds=4.5)  # who asked longer ago may not know of a stop


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A server that only this test has."""
    with cluster() as one:
        yield one


def cpu(worker: Running) -> float:
    """Return the seconds that a process has computed."""
    text = Path(f"/proc/{worker.process.pid}/stat").read_text("ascii")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("crashes", "people"), [(2, 400), pytest.param(5, 1000, marks=pytest.mark.soak)]
)
async def test_sending_goes_on_after_each_crash_of_the_database(
    crashes: int, people: int, own: Cluster, tmp_path: Path
) -> None:
    async with migrated(own) as db, oracle(tmp_path, SLOW) as book:
        name = await stage.launched(db, people)
        house = await stage.made(tmp_path, own.url, book)
        async with stage.working(house, 2) as workers:
            for _ in range(crashes):
                await book.hears("dot", 20, more=True)
                own.restart()
                # More than the chunks that were leased before: the ledger is back.
                await book.hears("dot", 80, more=True, within=10)
            await stage.finished(db, people)
            await stage.stopped(workers)
        await promises.kept(
            db,
            name,
            book,
            Expected(people=people, connections=stage.CONNECTIONS),
        )


async def hung(own: Cluster, folder: Path, *, seconds: float, people: int) -> None:
    """Let the database hang for one of two workers; the other has its own wire."""
    async with (
        migrated(own) as db,
        wired(own) as wire,
        oracle(folder, SLOW) as book,
    ):
        name = await stage.launched(db, people)
        house = await stage.made(folder, own.url, book)
        cut_off = stage.having(house, MAILER_DATABASE_URL=wire.url)
        async with stage.working(cut_off) as (worker,):
            await book.hears("dot", 20)
            wire.hang()
            since, before = runtime.now(), cpu(worker)
            async with stage.working(house) as others:
                while runtime.now() < since + timedelta(seconds=seconds):
                    await stage.ended(db)
                spent = cpu(worker) - before
                wire.mend()
                mended = runtime.now()
                await stage.finished(db, people)
                await stage.stopped([worker, *others])
        await promises.kept(
            db,
            name,
            book,
            Expected(people=people, connections=2 * stage.CONNECTIONS),
        )
    assert spent < 0.1 * seconds + 1.0, "it spins"
    own_clients = {one.client for one in book.steps if one.at < since}
    late = [
        one
        for one in book.heard("mail")
        if one.client in own_clients and since + STALE < one.at < mended
    ]
    assert late == [], "it started messages and knew nothing of stops"
    assert [one for one in book.heard("dot") if one.at > mended or seconds > 20]


@pytest.mark.timeout(120)
async def test_a_worker_whose_database_hangs_starts_nothing_and_then_goes_on(
    own: Cluster, tmp_path: Path
) -> None:
    await hung(own, tmp_path, seconds=6, people=400)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_what_a_worker_had_whose_database_hangs_for_a_minute_goes_on_elsewhere(
    own: Cluster, tmp_path: Path
) -> None:
    await hung(own, tmp_path, seconds=60, people=3000)
