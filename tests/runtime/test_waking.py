from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailer import runtime
from mailer.runtime import waking
from mailer.store import database
from tests import given, nameserver
from tests.pipeline.conftest import until


async def test_what_runs_looks_at_the_domains_of_our_people_by_itself(
    db: database.Pool, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "DOMAINS", 0.01)
    await given.people(db, ["ada@comcast.net"], provider="comcast")
    stop = asyncio.Event()

    async def is_known() -> bool:
        found = await given.rows(db, "SELECT provider FROM domain")
        return found == [("yahoo",)]

    with nameserver.serving({"comcast.net MX": ["10 mta5.am0.yahoodns.net."]}) as dns:
        path = workspace / "config/settings.toml"
        text = path.read_text("utf-8")
        path.write_text(f'{text}\n[dns]\nservers = ["{dns}"]\n', "utf-8")
        async with runtime.opened(workspace) as opened, asyncio.TaskGroup() as tasks:
            tasks.create_task(waking.wake(opened, stop=stop))
            try:
                await until(is_known)
            finally:
                stop.set()


async def test_a_stop_does_not_wait_for_a_dns_that_is_silent(
    db: database.Pool, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "DOMAINS", 0.0)
    await given.people(db, ["ada@silent.test"])
    stop = asyncio.Event()
    asked: list[str] = []

    async def is_asked() -> bool:
        await asyncio.to_thread(workspace.stat)
        return bool(asked)

    with nameserver.serving({}, silent="silent.test", asked=asked) as dns:
        path = workspace / "config/settings.toml"
        text = path.read_text("utf-8")
        path.write_text(f'{text}\n[dns]\nservers = ["{dns}"]\n', "utf-8")
        async with (
            runtime.opened(workspace) as opened,
            asyncio.timeout(15),
            asyncio.TaskGroup() as tasks,
        ):
            task = tasks.create_task(waking.wake(opened, stop=stop))
            await until(is_asked)
            async with asyncio.timeout(3):
                stop.set()
                await asyncio.wait([task])
