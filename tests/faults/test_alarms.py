"""The whole program is killed while it tells people of an alarm."""

import asyncio
import re
from pathlib import Path

import pytest

from mailer.core.alarm import Kind
from mailer.store import alarms, database
from tests import given, program, receiver
from tests.sink import Sink


@pytest.mark.timeout(90)
async def test_a_notice_that_was_on_its_way_when_its_process_was_killed_arrives(
    db: database.Pool, database_url: str, sink: Sink, tmp_path: Path
) -> None:
    async with receiver.receiving() as hook:
        team = await program.made(
            tmp_path / "team", database=database_url, sink=sink.port
        )
        text = team.read("config/settings.toml")
        team.write(
            "config/settings.toml",
            f'{text}\nwebhook = "{hook.url}"\nemail = ["ada@example.org"]\n',
        )
        team.environment["MAILER_ALARM_SECRET"] = receiver.SECRET  # type: ignore[index]  # a dict
        async with database.transaction(db) as tx:
            await alarms.raise_(tx, Kind.LANE, "lane google/relay", "550 5.7.26")
        hook.gate = asyncio.Event()

        async with team.running("run", "--workers", 0) as first:
            await hook.reached(lambda: hook.asked == 1, within=30)
            await first.kill()
        hook.gate.set()
        before = await given.rows(
            db, "SELECT id::text, sent_at FROM notice WHERE channel = 'webhook'"
        )
        await given.rows(db, "UPDATE clock SET shift = '121 seconds'")
        async with team.running("run", "--workers", 0):
            await hook.reached(lambda: hook.asked == 2 and bool(hook.ids), within=30)
            taken = await team.say("alarm", "take", 1, "--by", "Ada")
            await hook.reached(lambda: "alarm.taken" in hook.types, within=30)
            await sink.received(2)

    ((id, sent_at),) = before
    assert sent_at is None
    mine = f"alarm-{id.replace('-', '')[:16]}"
    told = dict(zip(hook.ids, hook.types, strict=True))  # twice is once
    assert [told.pop(mine), *told.values()] == ["alarm.raised", "alarm.taken"]
    assert taken.startswith("Ada looks after alarm 1: lane google/relay is closed")
    subjects = [one.message["Subject"] for one in sink.accepted]
    assert re.match(r"\[mailer\] CRITICAL: lane google/relay is closed", subjects[0])
    assert re.match(r"\[mailer\] Ada looks after it: lane google", subjects[-1])
