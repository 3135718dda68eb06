"""Stop means stop: pause, cancel, edit and SIGTERM while a blast goes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from mailer import runtime
from mailer.mail import sink as sinks
from mailer.mail.sink import Act, Conversation
from mailer.pipeline.sending import kept
from mailer.store import database
from tests import given
from tests.program import Program
from tests.sink import Sink

PEOPLE = 100
DELAY = 0.4  # seconds for each message: a chunk takes longer than a stop may
SECOND = timedelta(seconds=1)
STARTED = 30  # seconds that processes are given to start on a busy machine
CROWD = """
INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
SELECT 'p' || n || '@example.org', 'p' || n || '@example.org', 'example.org', 'other',
       '2026-01-01Z'
FROM generate_series(1, $1::integer) n RETURNING 1
"""
LEFT = "SELECT 1 FROM chunk WHERE state = 'leased' UNION ALL SELECT 1 FROM slot"


@dataclass
class SlowSink(Sink):
    """A provider that takes its time, and notes when each message had come."""

    times: list[datetime] = field(default_factory=list)

    def message(self, client: Conversation, content: bytes) -> Act:
        self.times.append(runtime.now())
        act = super().message(client, content)
        return Act(act.reply, delay=DELAY)

    @property
    def recipients(self) -> list[str]:
        return sorted(one.recipient for one in self.accepted)

    async def is_flowing(self) -> None:
        """Wait until the blast is under way, in its first chunks."""
        wanted = self.dots + 5
        await self.reached(lambda: self.dots >= wanted, within=STARTED)


@pytest.fixture
async def sink() -> AsyncIterator[SlowSink]:
    """A slow provider, in the test's own loop."""
    slow = SlowSink()
    async with sinks.serving(slow) as slow.port:
        yield slow


@pytest.fixture
async def eoq(db: database.Pool) -> str:
    """A blast to everybody, scheduled for now."""
    await given.rows(db, CROWD, PEOPLE)
    variants = [given.variant("a"), given.variant("b")]
    return await given.approved(db, given.content(variants=variants))


def everybody() -> list[str]:
    """Return all addresses."""
    return sorted(f"p{n}@example.org" for n in range(1, PEOPLE + 1))


async def moved(db: database.Pool, action: str) -> datetime:
    """Return when a person did this to the blast."""
    ((at,),) = await given.rows(db, "SELECT at FROM audit WHERE action = $1", action)
    assert isinstance(at, datetime)
    return at


async def at_rest(db: database.Pool, left: str = LEFT) -> None:
    """Wait until no worker holds anything of the blast."""
    async with asyncio.timeout(STARTED):
        while await given.rows(db, left):
            continue


@pytest.mark.timeout(90)
async def test_a_pause_stops_within_a_second_and_a_resume_goes_on_where_it_was(
    house: Program, sink: SlowSink, db: database.Pool, eoq: str
) -> None:
    async with house.running("run", "--workers", "2"):
        await sink.is_flowing()
        await house.say("blast", "pause", eoq, "--why", "a typo", actor="grace")
        await at_rest(db)
        stopped, before = await moved(db, "pause"), sink.recipients
        assert len(before) < PEOPLE
        assert max(sink.times) <= stopped + SECOND

        await house.say("blast", "resume", eoq)
        resumed = await moved(db, "resume")
        await house.say("blast", "watch", eoq)

    assert [at for at in sink.times if stopped + SECOND < at < resumed] == []
    assert sink.recipients == everybody()
    assert await given.states(db, eoq) == dict.fromkeys(everybody(), "sent")
    _, history, _ = await house.tell("blast", "show", eoq)
    done = [(one["actor"], one["action"], one["why"]) for one in history]
    assert done[2:] == [
        ("grace", "pause", "a typo"),
        ("ada", "resume", None),
        ("scheduler", "finish", None),
    ]


@pytest.mark.timeout(90)
async def test_a_cancel_ends_it_for_good_and_says_who_got_it(
    house: Program, sink: SlowSink, db: database.Pool, eoq: str
) -> None:
    async with house.running("run", "--workers", "2"):
        await sink.is_flowing()
        await house.say("blast", "cancel", eoq, "--why", "wrong list")
        await at_rest(db, LEFT + " UNION ALL SELECT 1 FROM chunk WHERE state <> 'done'")
        stopped = await moved(db, "cancel")
        report = await house.tell("report", eoq)
        again = await house.run("blast", "resume", eoq)

    got = sink.recipients
    assert max(sink.times) <= stopped + SECOND
    assert len(set(got)) == len(got) < PEOPLE
    states = await given.states(db, eoq)
    assert {one for one, state in states.items() if state == "sent"} == set(got)
    assert set(states.values()) == {"sent", "cancelled"}
    counts = (report["totals"]["sent"], report["totals"]["cancelled"])
    assert (report["head"]["state"], *counts) == (
        "cancelled", len(got), PEOPLE - len(got),
    )  # fmt: skip
    assert again.status == 1
    assert again.line.startswith("mailer: blast eoq is cancelled: cannot resume")


@pytest.mark.timeout(90)
async def test_sigterm_finishes_what_is_open_and_leaves_the_rest_for_the_next_start(
    house: Program, sink: SlowSink, db: database.Pool, eoq: str
) -> None:
    async with house.running("run", "--workers", "2") as running:
        await sink.is_flowing()
        status = await running.end()
        got = sink.recipients

    assert status == 0, running.log.read_text()
    assert 0 < len(got) < PEOPLE
    states = await given.states(db, eoq)
    assert {one for one, state in states.items() if state == "sent"} == set(got)
    assert set(states.values()) == {"sent", "owed"}
    assert await given.rows(db, LEFT) == []
    journals = list((house.root / ".mailer" / "journal").iterdir())
    assert all(kept.read(one) for one in journals)  # settled, and kept for a day
    assert await given.rows(db, "SELECT 1 FROM process WHERE stopped_at IS NULL") == []

    async with house.running("run", "--workers", "1"):
        await house.say("blast", "watch", eoq)

    assert sink.recipients == everybody()
    assert await given.states(db, eoq) == dict.fromkeys(everybody(), "sent")


@pytest.mark.timeout(90)
async def test_an_edit_voids_the_approval_whatever_file_it_is_in(
    house: Program, sink: SlowSink, db: database.Pool
) -> None:
    await given.people(db, ["ada@example.org"])
    await house.say("blast", "new", "rally")

    async def approved() -> None:
        await house.say("blast", "proof", "rally", "--to", "boss@example.org")
        await house.say("blast", "preflight", "rally")
        await house.say("blast", "approve", "rally", actor="grace")

    await approved()
    house.edit("templates/appeal/body.mjml", "I will be honest", "I'll be honest")
    refused = await house.run("blast", "schedule", "rally", "--at", "2099-01-01T00:00Z")
    assert (refused.status, refused.line) == (
        1,
        "mailer: blast rally is draft: cannot schedule; "
        "proof it first: mailer blast proof rally --to YOU",
    )
    await approved()
    await house.say("blast", "schedule", "rally", "--at", "2099-01-01T00:00Z")
    house.edit("segments/active-donors.toml", "365d", "30d")  # of another blast
    assert (await house.tell("blast", "check", "rally"))["state"] == "scheduled"
    house.edit("templates/layouts/footer.mjml", "Unsubscribe", "Leave")
    assert (await house.tell("blast", "check", "rally"))["state"] == "draft"
    _, history, _ = await house.tell("blast", "show", "rally")
    voided = [(one["action"], one["before"], one["why"]) for one in history]
    assert ("edit", "approved", "its files changed") in voided
    assert voided[-1] == ("edit", "scheduled", "its files changed")
