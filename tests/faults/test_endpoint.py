"""Promise 8 with all of it broken: no database, endpoints killed, sockets used up."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from mailer import settings, spool
from mailer.core import tracking
from mailer.core.event import Kind, Queue
from mailer.core.tracking import Purpose, Token
from mailer.pipeline import recording
from mailer.settings import Settings
from mailer.store import database
from tests import given
from tests.faults.test_tracker_dies import use_free_ports

NOWHERE = "postgresql://127.0.0.1:1/none"
GOAL = "https://example.org/donate?a=%7e"
FEW = 1024  # open files that a shell allows by default

Server = asyncio.subprocess.Process


@asynccontextmanager
async def serving(root: Path, *more: str) -> AsyncIterator[Server]:
    """Run an endpoint without a database, as a shell would."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailer", "-C", str(root), "serve", *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "MAILER_DATABASE_URL": NOWHERE},
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE,
            (FEW, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        ),
    )
    assert process.stdout is not None
    assert b"Tracking on" in await process.stdout.readline()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def chosen(workspace: Path) -> Settings:
    """The settings of a workspace whose endpoint knew a link when it last ran."""
    use_free_ports(workspace)
    file = workspace / ".mailer" / "spool" / "links.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"1": {"3": GOAL}}))
    return settings.load(workspace)


async def visit(
    chosen: Settings, lane: int, said: Counter[int], left: asyncio.Queue[int]
) -> None:
    """Click and unsubscribe over new connections, one person after the other."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        for person in range(lane, 1_000_000, 4):
            click = Token(blast=1, subscriber=person, link=3)
            leave = Token(blast=1, subscriber=person)
            sealed = tracking.seal(chosen.keys, Purpose.CLICK, click)
            away = tracking.seal(chosen.keys, Purpose.UNSUBSCRIBE, leave)
            home = chosen.public.url
            try:
                async with session.get(
                    f"{home}/c/{sealed}", allow_redirects=False
                ) as answer:
                    said[answer.status] += 1
                    assert answer.headers["Location"] == GOAL
                async with session.post(f"{home}/u/{away}") as answer:
                    said[answer.status] += 1
                    if answer.status == 200:
                        left.put_nowait(person)
            except aiohttp.ClientError:
                continue  # of one that was killed while it was asked


@pytest.mark.timeout(90)
async def test_without_database_and_with_one_of_two_killed_nothing_is_lost(
    db: database.Pool, workspace: Path, chosen: Settings
) -> None:
    said: Counter[int] = Counter()
    left: asyncio.Queue[int] = asyncio.Queue()
    async with (
        serving(workspace, "--number", "1") as first,
        serving(workspace, "--number", "2") as second,
        asyncio.TaskGroup() as tasks,
    ):
        crowd = [
            tasks.create_task(visit(chosen, lane, said, left)) for lane in range(1, 5)
        ]
        heard = {await left.get() for _ in range(150)}
        first.kill()
        heard |= {await left.get() for _ in range(150)}
        second.kill()
        for one in crowd:
            one.cancel()
    heard |= {left.get_nowait() for _ in range(left.qsize())}
    root = workspace / ".mailer" / "spool"
    for folder in (root / Queue.URGENT).iterdir():  # a power cut tears the last record
        with spool.segments(folder)[-1][1].open("ab") as file:
            file.write(b"\0\0\1\0torn")

    loaded = await recording.drain(db, root)
    again = await recording.drain(db, root)

    assert set(said) == {200, 302}
    kept = await given.rows(db, "SELECT kind::text, subscriber_id FROM event")
    assert heard <= {who for kind, who in kept if kind == Kind.UNSUBSCRIBE}
    assert sum(kind == Kind.CLICK for kind, _ in kept) >= said[302]
    assert (loaded, again) == (len(kept), 0)


@pytest.mark.timeout(60)
async def test_a_thousand_idle_strangers_stop_no_redirect(
    workspace: Path, chosen: Settings
) -> None:
    host, port = chosen.public.host, chosen.public.port
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most[1], most[1]))
    token = Token(blast=1, subscriber=5, link=3)
    sealed = tracking.seal(chosen.keys, Purpose.CLICK, token)
    idle = []
    try:
        async with serving(workspace), aiohttp.ClientSession() as session:
            for _ in range(FEW + 200):
                idle.append(await asyncio.open_connection(host, port))  # noqa: PERF401
            async with session.get(
                f"{chosen.public.url}/c/{sealed}", allow_redirects=False
            ) as answer:
                status = answer.status
    finally:
        for _, writer in idle:
            writer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, most)

    assert status == 302
