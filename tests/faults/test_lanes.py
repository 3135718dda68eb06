"""However many workers and machines: no lane is faster than it may be, and none idle.

Measured where it counts, in the provider's own book.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from mailer.store import database
from tests import given, tools
from tests.faults import promises, stage
from tests.faults.oracle import Arrival, Oracle, oracle
from tests.faults.promises import Expected
from tests.program import Program, Running

RATE = 10.0  # messages a second, 600/min
BURST = 20.0  # two seconds' worth
CONNECTIONS = 5
USED = 0.97  # of the rate
SETTLED = timedelta(
    seconds=3
)  # after the first message: the burst at the start is over
BUSIEST = """
SELECT p.pid FROM slot s JOIN process p ON p.id = s.owner
GROUP BY p.pid ORDER BY count(*) DESC LIMIT 1
"""
AGAIN = timedelta(seconds=20)  # after a worker died


async def limited(folder: Path, database_url: str, book: Oracle) -> Program:
    """Make a workspace whose relay is held to the rate."""
    house = await stage.made(folder, database_url, book, connections=CONNECTIONS)
    house.edit("config/settings.toml", 'rate = "unlimited"', 'rate = "600/min"')
    return house


def excess(arrivals: Sequence[Arrival]) -> float:
    """Return by how much the worst of all windows exceeds rate x window + burst."""
    times = [one.at for one in arrivals]
    return max(
        last + 1 - first - RATE * (times[last] - times[first]).total_seconds() - BURST
        for first in range(len(times))
        for last in range(first, len(times))
    )


def used(
    arrivals: Sequence[Arrival], *, since: datetime, until: datetime | None = None
) -> float:
    """Return the share of the rate that was used between two times."""
    times = [one.at for one in arrivals if since <= one.at <= (until or one.at)]
    return (len(times) - 1) / (times[-1] - times[0]).total_seconds() / RATE


def held(book: Oracle) -> list[Arrival]:
    """Return what arrived, when no window and no moment had too much."""
    arrivals = book.arrived()
    assert excess(arrivals) <= 0
    assert book.most_open() <= CONNECTIONS
    return arrivals


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("workers", "people"),
    [
        pytest.param(1, 900, marks=pytest.mark.soak),
        (2, 150),
        pytest.param(4, 900, marks=pytest.mark.soak),
    ],
)
async def test_workers_together_use_all_of_a_lane_and_no_more(
    db: database.Pool, database_url: str, tmp_path: Path, workers: int, people: int
) -> None:
    async with oracle(tmp_path) as book:
        house = await limited(tmp_path, database_url, book)
        async with stage.working(house, workers) as running:
            await stage.at_work(db, count=workers, within=60)
            name = await stage.launched(db, people)
            await book.hears("dot", people, within=people / RATE + 45)
            await stage.finished(db, people)
            await stage.stopped(running)

    arrivals = held(book)
    assert used(arrivals, since=arrivals[0].at + SETTLED) >= USED
    await promises.kept(
        db, name, book, Expected(people=people, connections=CONNECTIONS)
    )


@pytest.mark.timeout(150)
@pytest.mark.parametrize("people", [300, pytest.param(1500, marks=pytest.mark.soak)])
async def test_a_worker_that_dies_takes_nothing_of_its_lane_with_it(
    db: database.Pool, database_url: str, tmp_path: Path, people: int
) -> None:
    async with oracle(tmp_path) as book:
        house = await limited(tmp_path, database_url, book)
        async with stage.working(house, 4) as running:
            await stage.at_work(db, count=4, within=60)
            name = await stage.launched(db, people)
            await book.hears("dot", people // 4, within=people / RATE)
            (busiest,) = await given.rows(db, BUSIEST)
            victim = next(one for one in running if one.process.pid == busiest[0])
            await victim.kill()
            killed = book.arrived()[-1].at
            await stage.finished(db, people, within=people / RATE + 45)
            await stage.stopped([one for one in running if one is not victim])

    arrivals = held(book)
    assert used(arrivals, since=min(killed + AGAIN, arrivals[-50].at)) >= USED
    await promises.kept(
        db,
        name,
        book,
        Expected(people=people, connections=CONNECTIONS, doubts=CONNECTIONS),
    )


# ── Machines ────────────────────────────────────────────────────────────────

PROVIDER = "10.213.77.1"  # of the bridge, where the provider listens


def ip(*words: str) -> None:
    """Run ip(8)."""
    found = tools.namespaces()
    assert found is not None
    subprocess.run([found, *words], check=True, capture_output=True)


@contextmanager
def machines(count: int) -> Iterator[list[str]]:
    """Have network namespaces on one bridge, an address each; yield their names."""
    mark = uuid4().hex[:4]
    bridge, names = f"mbr{mark}", [f"mailer-{mark}-{one}" for one in range(count)]
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{PROVIDER}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, name in enumerate(names):
            here, there = f"mv{mark}{number}", f"mw{mark}{number}"
            ip("netns", "add", name)
            ip("link", "add", here, "type", "veth", "peer", "name", there)
            ip("link", "set", here, "master", bridge, "up")
            ip("link", "set", there, "netns", name)
            ip("-n", name, "addr", "add", f"10.213.77.{10 + number}/24", "dev", there)
            ip("-n", name, "link", "set", there, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", bridge)


@asynccontextmanager
async def working_on(
    names: Sequence[str], tmp_path: Path, database_url: str, book: Oracle
) -> AsyncIterator[list[Running]]:
    """Have a worker on each machine, with a workspace and a journal of its own."""
    found = tools.namespaces()
    async with AsyncExitStack() as stack:
        workers = []
        for name in names:
            folder = tmp_path / name
            await asyncio.to_thread(folder.mkdir)
            house = await limited(folder, database_url, book)
            house.edit(
                "config/settings.toml",
                'host = "127.0.0.1"\nport = ' + str(book.port),
                f'host = "{PROVIDER}"\nport = {book.port}',
            )
            house = replace(house, runner=(str(found), "netns", "exec", name))
            workers += await stack.enter_async_context(stage.working(house))
        yield workers


@pytest.mark.namespaces
@pytest.mark.timeout(150)
@pytest.mark.parametrize("people", [150, pytest.param(900, marks=pytest.mark.soak)])
async def test_machines_together_use_all_of_a_lane_and_no_more(
    db: database.Pool, database_url: str, tmp_path: Path, people: int
) -> None:
    with machines(3) as names:
        async with (
            oracle(tmp_path, host=PROVIDER) as book,
            working_on(names, tmp_path, database_url, book) as running,
        ):
            await stage.at_work(db, count=3, within=60)
            name = await stage.launched(db, people)
            await stage.finished(db, people, within=people / RATE + 45)
            await stage.stopped(running)

    arrivals = held(book)
    assert used(arrivals, since=arrivals[0].at + SETTLED) >= USED
    await promises.kept(
        db, name, book, Expected(people=people, connections=CONNECTIONS)
    )


# ── Others ──────────────────────────────────────────────────────────────────

PROVIDERS = """
[provider.google]
rate = "600/min"
ceiling = "600/min"
[provider.yahoo]
rate = "600/min"
ceiling = "600/min"
"""
PLAY = """
[provider.google]
domains = ["google.test"]
{trouble}
[provider.yahoo]
domains = ["yahoo.test"]
latency = "10ms"
"""
TARPIT = 'latency = "15s"'
SUSPENSION = 'closed = "421 4.7.28 Our system has detected an unusual rate of mail"'


async def spent(
    db: database.Pool, database_url: str, folder: Path, trouble: str, people: int
) -> float:
    """Return how many seconds yahoo's people took while google is in trouble."""
    await asyncio.to_thread(folder.mkdir)
    await given.rows(db, "TRUNCATE delivery, chunk, slot, lane CASCADE")
    async with oracle(folder, PLAY.format(trouble=trouble)) as book:
        house = await stage.made(folder, database_url, book, providers=PROVIDERS)
        house.edit("config/settings.toml", 'rate = "unlimited"', "")
        house.edit("config/settings.toml", f"connections = {stage.CONNECTIONS}", "")
        async with stage.working(house, 2) as running:
            await stage.at_work(db, count=2, within=60)
            await stage.launched(db, content={"name": folder.name})
            async with asyncio.timeout(people / RATE + 60):
                while len(yahoos := arrived(book)) < people:
                    await book.hears("dot", 1, more=True, within=30)
            for one in running:
                await one.kill()
    return (yahoos[-1].at - yahoos[0].at).total_seconds()


def arrived(book: Oracle) -> list[Arrival]:
    return [one for one in book.arrived() if one.provider == "yahoo"]


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_provider_in_trouble_delays_no_other(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 300
    for name in ("google", "yahoo"):
        await stage.crowd(db, people, domain=f"{name}.test", provider=name, prefix=name)

    usual = await spent(db, database_url, tmp_path / "usual", "", people)
    stuck = await spent(db, database_url, tmp_path / "stuck", TARPIT, people)
    closed = await spent(db, database_url, tmp_path / "closed", SUSPENSION, people)

    assert max(stuck, closed) <= 1.05 * usual, (usual, stuck, closed)
