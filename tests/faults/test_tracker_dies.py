"""Promise 8: kill -9 of the tracker loses nothing that it answered."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest

from mailer import settings
from mailer.core import tracking
from mailer.core.tracking import Purpose, Token
from mailer.pipeline import recording
from mailer.settings import Settings
from mailer.store import database
from tests import given


def use_free_ports(root: Path) -> None:
    file = root / "config" / "settings.toml"
    text = file.read_text("utf-8")
    for port in ("8080", "8081"):
        with socket.create_server(("127.0.0.1", 0)) as found:
            text = text.replace(port, str(found.getsockname()[1]))
    file.write_text(text, "utf-8")


async def unsubscribe(
    session: aiohttp.ClientSession,
    chosen: Settings,
    people: Iterable[int],
    answered: asyncio.Queue[int],
) -> None:
    """Unsubscribe one after the other until the tracker is gone."""
    for person in people:
        token = Token(blast=1, subscriber=person)
        place = tracking.seal(chosen.keys, Purpose.UNSUBSCRIBE, token)
        try:
            async with session.post(f"{chosen.public.url}/u/{place}") as answer:
                if answer.status == 200:
                    answered.put_nowait(person)
        except aiohttp.ClientError:
            return


@pytest.mark.timeout(60)
async def test_every_unsubscribe_that_was_answered_is_there_after_kill_9(
    db: database.Pool, workspace: Path
) -> None:
    use_free_ports(workspace)
    chosen = settings.load(workspace)
    tracker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailer", "-C", str(workspace), "serve"),
        stdout=asyncio.subprocess.PIPE,
        stderr=None,
    )
    assert tracker.stdout is not None
    assert b"Tracking on" in await tracker.stdout.readline()

    answered: asyncio.Queue[int] = asyncio.Queue()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for lane in range(1, 5):
            people = range(lane, 1_000_000, 4)
            tasks.create_task(unsubscribe(session, chosen, people, answered))
        heard = {await answered.get() for _ in range(300)}
        tracker.kill()
    await tracker.communicate()
    heard |= {answered.get_nowait() for _ in range(answered.qsize())}

    await recording.drain(db, workspace / ".mailer" / "spool")
    kept = await given.rows(db, "SELECT subscriber_id FROM event")
    assert heard <= {number for (number,) in kept}
