"""Whom a machine played is not counted as human, whenever that is found out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mailer.core.event import Kind
from mailer.core.machine import Bursts
from mailer.pipeline import recording, relabelling
from mailer.store import database
from tests import given
from tests.pipeline.test_recording import NOON, PEOPLE, RECOUNT, ROLLUP, an_event

HUMAN, MACHINE = (1, 0), (0, 1)


@pytest.fixture
async def blasts(db: database.Pool) -> database.Pool:
    async with database.connection(db) as connection:
        await connection.raw.execute(PEOPLE)
    return db


async def click(
    db: database.Pool, bursts: Bursts, link: int, *, seconds: float, person: int = 1
) -> None:
    at = NOON + timedelta(seconds=seconds)
    one = an_event(Kind.CLICK, at=at, subscriber=person)
    object.__setattr__(one, "link", link)
    await recording.load(db, [one], bursts=bursts)


async def counted(db: database.Pool) -> tuple[int, int]:
    [(human, machine)] = await given.rows(
        db, "SELECT sum(clicks)::int, sum(machine_clicks)::int FROM rollup"
    )
    assert await given.rows(db, ROLLUP) == await given.rows(db, RECOUNT)
    return human, machine


async def labels(db: database.Pool) -> list[tuple[str, list[str]]]:
    return await given.rows(
        db, "SELECT label::text, reasons FROM event ORDER BY at, id"
    )


async def test_the_first_click_of_a_burst_is_taken_back_when_the_third_is_there(
    blasts: database.Pool,
) -> None:
    bursts = Bursts()
    await click(blasts, bursts, 1, seconds=0)
    await click(blasts, bursts, 2, seconds=0.5)
    before = await counted(blasts)
    await click(blasts, bursts, 3, seconds=1)

    assert (before, await counted(blasts)) == (HUMAN, MACHINE)
    assert await labels(blasts) == [("machine", ["burst"])] * 3


async def test_a_person_who_comes_after_the_machine_is_counted_as_one(
    blasts: database.Pool,
) -> None:
    bursts = Bursts()
    for link in (1, 2, 3):
        await click(blasts, bursts, link, seconds=link / 2)
    await click(blasts, bursts, 1, seconds=7200)

    assert await counted(blasts) == (1, 1)
    [(first, last)] = await given.rows(
        blasts, "SELECT clicked_at, last_machine_clicked_at FROM engagement"
    )
    assert first - last == timedelta(seconds=7200 - 1.5)


async def test_relabelling_finds_what_a_restarted_loader_forgot_and_then_nothing(
    blasts: database.Pool, tmp_path: Path
) -> None:
    for link in (1, 2, 3):
        await click(blasts, Bursts(), link, seconds=link / 2)
    before = await counted(blasts)

    first = await relabelling.relabel(blasts, name="first")
    again = await relabelling.relabel(blasts)

    assert (before, await counted(blasts)) == (HUMAN, MACHINE)
    assert (first, again) == ((3, 1), (3, 0))


async def test_relabelling_takes_back_what_earlier_rules_said(
    blasts: database.Pool,
) -> None:
    await click(blasts, Bursts(), 1, seconds=0)
    wrong = "UPDATE event SET label = 'machine', reasons = '{an_old_rule}', rules = 1"
    await given.rows(blasts, wrong)
    await given.rows(
        blasts,
        "UPDATE engagement SET machine_clicked_at = clicked_at,"
        " last_machine_clicked_at = clicked_at, clicked_at = NULL,"
        " last_clicked_at = NULL",
    )
    await given.rows(blasts, "UPDATE rollup SET clicks = 0, machine_clicks = 1")

    await relabelling.relabel(blasts)

    assert await counted(blasts) == HUMAN
    assert await labels(blasts) == [("human", [])]


async def test_a_machine_unsubscribes_nobody_and_a_person_is_never_refused(
    blasts: database.Pool,
) -> None:
    bursts = Bursts()
    for link in (1, 2, 3):
        await click(blasts, bursts, link, seconds=link / 2)

    assert await given.rows(blasts, "SELECT address FROM suppression") == []
    await recording.load(blasts, [an_event(Kind.UNSUBSCRIBE)], bursts=bursts)
    assert len(await given.rows(blasts, "SELECT address FROM suppression")) == 1
