import asyncio
from pathlib import Path

import pytest

from mailer import runtime
from mailer.core.alarm import Kind
from mailer.pipeline import alarming
from mailer.runtime import running
from mailer.store import database
from tests.pipeline.conftest import until
from tests.pipeline.test_complaints import known


@pytest.mark.timeout(60)  # three starts of a process, with waits between them
async def test_a_child_that_dies_again_and_again_wakes_somebody(
    workspace: Path, db: database.Pool
) -> None:
    said: list[str] = []
    stop = asyncio.Event()
    async with runtime.opened(workspace) as opened, asyncio.TaskGroup() as group:
        keeper = running.Supervisor(workspace=opened, stop=stop, tell=said.append)
        group.create_task(keeper.keep("worker 1", ["nonsense"]))
        async with asyncio.timeout(50):
            while not await known(db, Kind.CRASHING):
                pass
        stop.set()

    (found,) = await known(db, Kind.CRASHING)
    assert found.subject.startswith("worker 1 of ")
    assert found.detail == "It ended 3 times, the last time with exit status 2."


async def test_a_child_that_lives_for_a_while_ends_its_alarm(
    workspace: Path, db: database.Pool
) -> None:
    stop = asyncio.Event()
    async with runtime.opened(workspace) as opened, asyncio.TaskGroup() as group:
        keeper = running.Supervisor(
            workspace=opened, stop=stop, tell=lambda _: None, steady=0.1
        )
        await alarming.raise_(db, Kind.CRASHING, running._named("web"), "x")

        async def is_over() -> bool:
            return not (await known(db, Kind.CRASHING))[0].is_open

        group.create_task(keeper.keep("web", ["work"]))
        await until(is_over)
        stop.set()
