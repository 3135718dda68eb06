"""A blast is rehearsed as a whole, and nothing of it is real."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from mailer.store import database
from tests import given
from tests.program import Done, Program, Running
from tests.sink import Sink

pytestmark = pytest.mark.timeout(240)
LONG = 120  # seconds for a rehearsal, on a machine that does other things too
PEOPLE = 300
CROWD = """
INSERT INTO subscriber (address, email, domain, provider, first_name, signed_up_at)
SELECT 'p' || n || '@gmail.test', 'p' || n || '@gmail.test', 'gmail.test', 'google',
       CASE WHEN n > $2::integer THEN 'Ada' END, '2026-01-01Z'
FROM generate_series(1, $1::integer) n RETURNING 1
"""
BLAST = """
name = "hello"
topic = "fundraising"
segment = "everyone"
template = "letter"
subject = "Hello"
from = "Example <team@example.org>"
"""
LETTER = """
{% extends "layouts/base.mjml" %}
{% block content %}
<mj-section><mj-column><mj-text>Hello {{ first_name }}
<a href="https://www.example.org/">us</a></mj-text></mj-column></mj-section>
{% endblock %}
"""
SCENARIO = """
[provider.google]
domains = ["gmail.test"]
"""
TABLES = """
SELECT relname::text FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""


async def prepared(house: Program, db: database.Pool, *, nameless: int = 0) -> None:
    """Have a blast to 300 people, of whom some have no first name."""
    await given.rows(db, CROWD, PEOPLE, nameless)
    house.write("templates/letter/meta.toml", 'subject = "Hello"\n')
    house.write("templates/letter/body.mjml", LETTER)
    house.write("blasts/hello.toml", BLAST)
    house.write("plain.toml", SCENARIO)
    await house.say("blast", "new", "hello")


async def rehearsed(house: Program, *arguments: object) -> Done:
    """Rehearse the blast, however long that takes here."""
    running = await begun(house, *arguments)
    status = await ended(running)
    return Done(status=status, out=running.log.read_text("utf-8"), err="")


async def ended(running: Running) -> int:
    """Wait until a command has ended, and return its exit status."""
    async with asyncio.timeout(LONG):
        return await running.process.wait()


async def begun(house: Program, *arguments: object) -> Running:
    scenario = house.root / "plain.toml"
    command = ("blast", "rehearse", "hello", "--scenario", scenario)
    return await house.start(*command, *arguments)


def told(done: Done) -> Any:
    """Return the JSON of a rehearsal."""
    return json.loads(done.out[done.out.index("{\n") :])


async def everything(db: database.Pool) -> dict[str, object]:
    """Return all that the database holds, in short."""
    found = {}
    for (table,) in await given.rows(db, TABLES):
        ((all_of_it,),) = await given.rows(
            db, f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
        )
        found[table] = all_of_it
    return found


def left(house: Program) -> list[str]:
    """Return what lies about of rehearsals."""
    return [one.name for one in (house.root / ".mailer").glob("rehearsal-*")]


async def test_a_rehearsal_sends_everything_and_the_real_blast_is_untouched(
    house: Program, sink: Sink, db: database.Pool
) -> None:
    await prepared(house, db)
    await house.say("blast", "proof", "hello", "--to", "bo@example.org")
    await house.say("blast", "preflight", "hello")
    await house.say("blast", "approve", "hello")
    proofs = len(sink.accepted)
    before = await everything(db)

    done = await rehearsed(house, "--full-speed", "--json")

    report = told(done)
    assert done.status == 0
    assert (report["people"], report["failed"], report["stands"]) == (PEOPLE, 0, None)
    assert report["is_approved"]
    assert [one["sent"] for one in report["providers"]] == [PEOPLE]
    assert report["sizes"]["messages"] == PEOPLE
    assert report["sizes"]["smallest"] > 1000
    assert await everything(db) == before
    assert len(sink.accepted) == proofs
    assert left(house) == []

    await house.say("blast", "send", "hello")
    async with house.running("run", "--workers", "1"):
        await ended(await house.start("blast", "watch", "hello"))
    assert set((await given.states(db, "hello")).values()) == {"sent"}
    assert len(sink.accepted) == proofs + PEOPLE


async def test_where_the_limit_is_known_the_forecast_is_within_a_tenth(
    house: Program, db: database.Pool
) -> None:
    await prepared(house, db)
    house.edit("config/settings.toml", 'rate = "unlimited"', 'rate = "600/min"')

    done = await rehearsed(house, "--speed", "3", "--json")

    report = told(done)
    (google,) = report["providers"]
    assert not report["forecast"]["is_range"]
    early, late = google["forecast"]
    assert early == late
    assert abs(google["took"] / late - 1) <= 0.1
    assert google["came_true"]


async def test_whoever_cannot_be_written_to_is_told_by_name(
    house: Program, db: database.Pool
) -> None:
    await prepared(house, db, nameless=25)

    done = await rehearsed(house, "--full-speed")

    assert done.status == 1
    assert "can be made for 25 people" in done.out
    named = re.findall(
        r"p(\d+)@gmail.test \(only\): 'first_name' is undefined", done.out
    )
    assert len(named) == 10
    assert {int(n) for n in named} <= set(range(1, 26))
    lines = house.read(".mailer/rehearsal-hello.csv").splitlines()
    assert lines[0] == "email,variant,reason"
    assert {one.partition(",")[0] for one in lines[1:]} == {
        f"p{n}@gmail.test" for n in range(1, 26)
    }
    assert (house.root / ".mailer/rehearsal-hello.csv").stat().st_mode & 0o077 == 0


async def test_who_stops_a_rehearsal_finds_nothing_of_it(
    house: Program, db: database.Pool
) -> None:
    await prepared(house, db)
    house.edit("config/settings.toml", 'rate = "unlimited"', 'rate = "60/min"')
    running = await begun(house, "--speed", "1")
    await database_begun(house)

    running.process.send_signal(signal.SIGINT)
    status = await ended(running)

    assert status == 1
    assert "Stopped." in running.log.read_text("utf-8")
    assert left(house) == []


async def test_what_kill_9_leaves_goes_by_itself_or_with_the_next_rehearsal(
    house: Program, db: database.Pool
) -> None:
    await prepared(house, db)
    house.edit("config/settings.toml", 'rate = "unlimited"', 'rate = "60/min"')
    running = await begun(house, "--speed", "1")
    await database_begun(house)
    dead = house.root / ".mailer" / "rehearsal-dead"
    (dead / "journal").mkdir(parents=True)
    (dead / "db.users").touch()

    os.kill(running.process.pid, signal.SIGKILL)
    await running.process.wait()
    async with asyncio.timeout(LONG):
        while left(house) != ["rehearsal-dead"]:
            await asyncio.to_thread(os.stat, house.root)
    house.edit("config/settings.toml", 'rate = "60/min"', 'rate = "unlimited"')
    await rehearsed(house, "--full-speed")

    assert left(house) == []


async def database_begun(house: Program) -> None:
    """Wait until the rehearsal's database runs."""
    async with asyncio.timeout(LONG):
        while not any(_journals(house.root / ".mailer")):
            await asyncio.to_thread(os.stat, house.root)


def _journals(folder: Path) -> list[Path]:
    return list(folder.glob("rehearsal-*/journal"))
