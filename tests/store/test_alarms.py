import asyncio

import pytest

from mailer import errors
from mailer.core.alarm import Alarm, Event, Kind
from mailer.store import alarms, database
from tests import given

BLAST = "blast eoq"


async def raised(db: database.Pool, detail: str = "x", subject: str = BLAST) -> int:
    async with database.transaction(db) as tx:
        return await alarms.raise_(tx, Kind.STALLED, subject, detail)


async def seen(db: database.Pool, id: int) -> Alarm:
    async with database.connection(db) as tx:
        return await alarms.get(tx, id)


async def later(db: database.Pool, minutes: int) -> None:
    """Move the clock of SQL on."""
    await given.rows(
        db, "UPDATE clock SET shift = shift + make_interval(mins => $1)", minutes
    )


async def test_what_comes_again_is_counted_and_no_second_alarm(
    db: database.Pool,
) -> None:
    first = await raised(db, "a")
    await later(db, 3)
    assert await raised(db, "b") == first
    other = await raised(db, "c", subject="blast other")
    async with database.transaction(db) as tx:
        assert await alarms.sustain(tx, Kind.STALLED, BLAST, "still") == first

    found = await seen(db, first)
    assert (found.count, found.detail) == (2, "still")
    assert 179 < (found.last_at - found.first_at).total_seconds() < 200
    assert other != first


async def test_many_who_notice_at_once_raise_one(db: database.Pool) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(raised(db)) for _ in range(8)]

    (id,) = {task.result() for task in tasks}
    assert (await seen(db, id)).count == 8


async def test_what_is_back_within_a_quarter_of_an_hour_is_the_same(
    db: database.Pool,
) -> None:
    id = await raised(db)
    async with database.transaction(db) as tx:
        assert await alarms.clear(tx, Kind.STALLED, BLAST, why="it goes on")
        assert not await alarms.clear(tx, Kind.STALLED, BLAST, why="it goes on")
    await later(db, 14)
    assert await raised(db) == id

    back = await seen(db, id)
    assert (back.is_open, back.count, back.reopened) == (True, 2, 1)
    async with database.transaction(db) as tx:
        await alarms.clear(tx, Kind.STALLED, BLAST, why="it goes on")
    await later(db, 16)
    assert await raised(db) != id


async def test_whoever_took_it_is_asked_anew_only_after_a_word_that_it_is_gone(
    db: database.Pool,
) -> None:
    id = await raised(db)
    for told in (False, True):
        async with database.transaction(db) as tx:
            await alarms.take(tx, id, who="ada", note=None)
            await alarms.clear(tx, Kind.STALLED, BLAST, why="it goes on")
            if told:
                await alarms.tell(tx, id, Event.CLEARED)
        await raised(db)
        assert (await seen(db, id)).taken_by == (None if told else "ada")


async def test_an_alarm_that_is_over_cannot_be_taken(db: database.Pool) -> None:
    id = await raised(db)
    async with database.transaction(db) as tx:
        await alarms.clear(tx, Kind.STALLED, BLAST, why="it goes on")

    with pytest.raises(errors.Conflict, match="alarm 1 is over: it goes on"):
        async with database.transaction(db) as tx:
            await alarms.take(tx, id, who="ada", note=None)
    with pytest.raises(errors.NotFound, match="no alarm 99: mailer alarm list"):
        async with database.transaction(db) as tx:
            await alarms.take(tx, 99, who="ada", note=None)


async def test_a_taken_alarm_that_stays_silent_ends_and_an_open_one_does_not(
    db: database.Pool,
) -> None:
    taken, untaken = await raised(db), await raised(db, subject="blast other")
    async with database.transaction(db) as tx:
        await alarms.take(tx, taken, who="ada", note=None)
    await later(db, 12 * 60 - 1)
    async with database.transaction(db) as tx:
        assert await alarms.lapse(tx) == 0
    await later(db, 2)
    async with database.transaction(db) as tx:
        assert await alarms.lapse(tx) == 1

    assert not (await seen(db, taken)).is_open
    assert (await seen(db, untaken)).is_open
