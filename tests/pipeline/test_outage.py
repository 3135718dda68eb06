"""The database itself is away: people are told from memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mailer import settings
from mailer.core.notice import Secret
from mailer.core.provider import Tls
from mailer.pipeline import alarming
from mailer.store import database
from mailer.web import posting
from tests import gate, given, receiver
from tests.gate import Gate
from tests.receiver import SECRET, Receiver
from tests.sink import Sink


@dataclass
class Outage:
    """A watcher before whose database there is a gate, and its clock."""

    gate: Gate
    hook: Receiver
    watcher: alarming.Watcher
    clock: list[datetime] = field(default_factory=list)

    async def pass_by(self, **span: float) -> list[str]:
        """Let time pass, ask, and tell; return what the webhook heard so far."""
        self.clock[0] += timedelta(**span)
        await self.watcher.ask()
        await self.watcher.tell()
        return [one.removeprefix("alarm.") for one in self.hook.types]


@pytest.fixture
async def outage(
    workspace: Path, database_url: str, sink: Sink
) -> AsyncIterator[Outage]:
    clock = [given.NOON]
    async with (
        receiver.receiving() as hook,
        gate.before(database_url) as gated,
        database.opened(gated.url, size=2) as pool,
    ):
        chosen = settings.load(workspace)
        relay = replace(chosen.sources[0], port=sink.port, tls=Tls.NONE)
        wanted = replace(
            chosen.alarms,
            email=("ada@example.org",),
            webhook=hook.url,
            secret=Secret.parse(SECRET),
        )
        chosen = replace(chosen, sources=(relay,), alarms=wanted)
        caller = alarming.Caller(settings=chosen, post=posting.post)
        watcher = alarming.Watcher(pool, caller, host="host-1", now=lambda: clock[0])
        yield Outage(gate=gated, hook=hook, watcher=watcher, clock=clock)


async def test_a_database_that_is_away_is_told_without_it_and_its_return_too(
    outage: Outage, db: database.Pool, sink: Sink
) -> None:
    assert await outage.pass_by(seconds=10) == []
    outage.gate.close()
    assert await outage.pass_by(seconds=29) == []
    assert await outage.pass_by(seconds=1) == ["raised"]
    assert await outage.pass_by(minutes=14) == ["raised"]
    assert await outage.pass_by(minutes=1) == ["raised", "repeated"]
    outage.gate.open()
    assert await outage.pass_by(seconds=10) == ["raised", "repeated"]
    heard = await outage.pass_by(seconds=60)

    assert heard == ["raised", "repeated", "cleared"]
    assert len(set(outage.hook.ids)) == 3
    first = outage.hook.got[0]["data"]
    assert (first["kind"], first["subject"]) == ("database_away", "host-1")
    assert "alarm take" not in outage.hook.got[0]["text"]
    assert outage.hook.got[-1]["text"] == (
        "over: host-1: the database answers again, after 15 minutes"
    )
    assert [one.message["Subject"] for one in sink.accepted] == [
        "[mailer] CRITICAL: host-1 does not reach the database",
        "[mailer] STILL CRITICAL: host-1 does not reach the database",
        "[mailer] over: host-1: the database answers again, after 15 minutes",
    ]
    rows = "SELECT kind, subject, detail, told, cleared_at IS NOT NULL FROM alarm"
    assert await given.rows(db, rows) == [
        ("database_away", "host-1", "Away since 2026-10-01 12:00 UTC.", None, True)
    ]


async def test_a_database_that_swallows_everything_is_told_too(
    outage: Outage,
) -> None:
    outage.gate.mute()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(outage.watcher.ask())
        outage.clock[0] += timedelta(seconds=30)
        told = await outage.watcher.tell()

        assert not asking.done()
        outage.gate.open()

    assert asking.result() is True
    assert [one.error for one in told] == [None, None]
    assert outage.hook.types == ["alarm.raised"]


async def test_what_reached_nobody_is_said_again_after_a_minute(
    outage: Outage, sink: Sink
) -> None:
    outage.hook.answers = [404]
    sink.script("ada@example.org", "451 4.3.0 later")
    outage.gate.close()
    assert await outage.pass_by(seconds=30) == []
    outage.hook.answers = [204]
    assert await outage.pass_by(seconds=59) == []
    assert await outage.pass_by(seconds=1) == ["repeated"]
