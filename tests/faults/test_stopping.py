"""Stop means stop, under full load and at the provider's own clock (F13)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mailer import runtime
from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import Oracle, oracle
from tests.faults.promises import Expected

FAST = '[provider.other]\nlatency = "5ms"\n'
SLOW = '[provider.other]\nlatency = "300ms"\n'
CONNECTIONS = 20
SECOND = timedelta(seconds=1)
LATENCY = timedelta(milliseconds=200)


def begun(book: Oracle, *, after: datetime, before: datetime | None = None) -> int:
    """Return how many messages were begun in a time."""
    return sum(
        one.is_yes and one.at > after and (before is None or one.at < before)
        for one in book.heard("mail")
    )


@pytest.mark.timeout(90)
async def test_pause_resume_and_cancel_take_effect_within_a_second_at_full_speed(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 20_000
    name = await stage.launched(db, people)
    async with oracle(tmp_path, FAST) as book:
        house = await stage.made(tmp_path, database_url, book, connections=CONNECTIONS)
        async with stage.working(house, 2) as workers:
            await book.hears("dot", 300)
            await house.say("blast", "pause", name)
            paused = runtime.now()
            await stage.at_rest(db)
            so_far = len(book.heard("mail"))
            await house.say("blast", "resume", name)
            resumed = runtime.now()
            await book.hears("dot", 300, more=True)
            await house.say("blast", "cancel", name)
            cancelled = runtime.now()
            await stage.at_rest(db)
            await stage.finished(db, people)
            await stage.stopped(workers)

    assert 0 < so_far < people
    assert begun(book, after=paused + SECOND, before=resumed - SECOND) == 0
    assert begun(book, after=resumed, before=resumed + 2 * SECOND) > 0
    assert begun(book, after=cancelled + SECOND) == 0
    assert len(book.arrived()) < people
    await promises.kept(
        db,
        name,
        book,
        Expected(
            people=people,
            ends=frozenset({"sent", "cancelled"}),
            connections=CONNECTIONS,
        ),
    )


@pytest.mark.timeout(90)
async def test_sigterm_waits_for_open_dots_settles_them_and_says_good_bye(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 80
    name = await stage.launched(db, people)
    async with oracle(tmp_path, SLOW) as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house, 2) as workers:
            await stage.at_work(db, count=2)
            await book.hears("dot", 12)
            await stage.stopped(workers)
        left = book.heard("left")
        taken = {one.recipient for one in book.arrived()}

        assert [one for one in left if not one.has_quit] == []
        assert len(left) == len({one.client for one in book.steps})
        states = await given.states(db, name)
        assert promises.having(states, "sent") == taken
        assert promises.having(states, "owed") == set(states) - taken != set()
        assert await given.rows(db, stage.HELD) == []
        async with stage.working(house) as workers:
            await stage.finished(db, people)
            await stage.stopped(workers)
        await promises.kept(
            db, name, book, Expected(people=people, connections=stage.CONNECTIONS)
        )


@pytest.mark.timeout(90)
async def test_a_second_sigterm_stops_now_and_loses_nothing(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 200
    silence = '[[trouble]]\nat = "dot"\ndoes = "silence"\nshare = "3%"\n'
    name = await stage.launched(db, people)
    async with oracle(tmp_path, silence) as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house) as (worker,):
            await book.ear.reached(lambda: bool(silent(book)), within=20)
            worker.process.terminate()
            await book.hears("left", more=True)  # it ends what it can
            assert worker.process.returncode is None
            await worker.end()
        assert worker.process.returncode == 1
        # Where somebody never answers, the worker never ends: a person ends it.
        while promises.open_to(await given.states(db, name)):
            async with stage.working(house) as (worker,):
                so_far = len(silent(book))
                async with asyncio.timeout(30):
                    while len(silent(book)) == so_far and promises.open_to(
                        await given.states(db, name)
                    ):
                        continue
                await worker.kill()
        async with stage.working(house):
            await stage.finished(db, people)
            await stage.at_rest(db)

    never_answered = silent(book)
    states = await given.states(db, name)
    assert never_answered <= promises.having(states, "in_doubt")
    expected = Expected(
        people=people, doubts=people // 10, connections=stage.CONNECTIONS
    )
    await promises.kept(db, name, book, expected)


def silent(book: Oracle) -> set[str | None]:
    """Return who was taken and never answered."""
    return {one.recipient for one in book.heard("dot") if one.then == "hold"}


@pytest.mark.timeout(90)
async def test_who_leaves_while_it_goes_out_gets_nothing_after_five_seconds(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 200
    gone = await stage.crowd(db, people, domain="leaving.test", prefix="gone")
    name = await stage.launched(db, people)
    async with oracle(tmp_path, '[provider.other]\nlatency = "60ms"\n') as book:
        house = await stage.made(tmp_path, database_url, book, connections=4)
        async with stage.working(house) as workers:
            await book.hears("dot", 30)
            await house.say("suppress", "add", "@leaving.test")
            since = runtime.now()
            await stage.finished(db, 2 * people)
            await stage.stopped(workers)

    states = await given.states(db, name)
    assert promises.having(states, "suppressed") <= set(gone)
    assert len(promises.having(states, "suppressed")) > people // 2
    await promises.kept(
        db,
        name,
        book,
        Expected(
            people=2 * people,
            ends=frozenset({"sent", "suppressed"}),
            connections=4,
            suppressed=dict.fromkeys(gone, since),
        ),
    )


@pytest.mark.timeout(90)
async def test_no_message_begins_and_no_dot_is_written_when_it_is_too_late(
    db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    people = 300
    await stage.crowd(db, people)
    async with oracle(tmp_path, '[provider.other]\nlatency = "200ms"\n') as book:
        house = await stage.made(tmp_path, database_url, book)
        name = await stage.launched(
            db, expires_at="mailer_now() + interval '4 seconds'"
        )
        ((end,),) = await given.rows(db, "SELECT expires_at FROM blast")
        async with stage.working(house) as workers:
            await book.hears("dot")
            await stage.finished(db, people)
            await stage.stopped(workers)

    slack = timedelta(milliseconds=100)  # from us to the provider
    # A MAIL that came with a body is heard when that is answered.
    assert begun(book, after=end + slack + LATENCY) == 0
    assert [one for one in book.heard("dot") if one.at > end + slack] == []
    await promises.kept(
        db,
        name,
        book,
        Expected(
            people=people,
            ends=frozenset({"sent", "expired"}),
            connections=stage.CONNECTIONS,
        ),
    )
