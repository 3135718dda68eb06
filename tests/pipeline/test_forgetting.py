"""What is kept of people: by their wish, for a time, and nothing once erased."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mailer import errors
from mailer.core.delivery import ANYBODY
from mailer.core.event import Event, Kind
from mailer.core.preference import Mode
from mailer.core.tracking import Label, Purpose, Ring, Token, seal, unseal
from mailer.mail import message, template
from mailer.pipeline import forgetting, recording
from mailer.store import database, subscribers
from tests import given
from tests.pipeline.test_recording import NOON, PEOPLE, ROLLUP, an_event

RING = Ring(keys={1: bytes(32)}, current=1)


@pytest.fixture
async def blasts(db: database.Pool) -> database.Pool:
    async with database.connection(db) as connection:
        await connection.raw.execute(PEOPLE)
    return db


async def wish(db: database.Pool, mode: Mode) -> None:
    await given.rows(
        db,
        "INSERT INTO preference (subscriber_id, tracking, updated_at)"
        " VALUES (1, $1, now())",
        mode.value,
    )


def visits() -> list[Event]:
    return [
        an_event(Kind.OPEN),
        an_event(Kind.CLICK),
        an_event(Kind.CLICK, label=Label.MACHINE),
        an_event(Kind.CLICK, subscriber=2),
        an_event(Kind.UNSUBSCRIBE),
    ]


KEPT = "SELECT kind::text, subscriber_id, agent, ip::text FROM event ORDER BY id"


@pytest.mark.parametrize("mode", [Mode.AGGREGATE, Mode.OFF])
async def test_a_wish_holds_for_mail_that_was_sent_before_it(
    mode: Mode, blasts: database.Pool
) -> None:
    await wish(blasts, mode)

    some = visits()
    await recording.load(blasts, some)
    await recording.load(blasts, some)  # told twice

    agent, network = "Mozilla/5.0 (X11)", "192.0.2.0/32"
    others = [("click", 2, agent, network), ("unsubscribe", 1, agent, network)]
    nameless = [(kind, ANYBODY, None, None) for kind in ("open", "click", "click")]
    expected = others if mode is Mode.OFF else [*nameless, *others]
    assert await given.rows(blasts, KEPT) == expected
    counted = await given.rows(
        blasts,
        "SELECT kind::text, link, human, machine FROM anonymous_visit ORDER BY link",
    )
    assert counted == (
        [] if mode is Mode.OFF else [("open", -1, 1, 0), ("click", 3, 1, 1)]
    )
    assert await given.rows(
        blasts, "SELECT subscriber_id FROM engagement WHERE opened_at IS NOT NULL"
    ) == []  # fmt: skip


@pytest.mark.parametrize("mode", Mode)
async def test_a_message_carries_as_much_as_a_person_lets_it(
    mode: Mode, db: database.Pool
) -> None:
    [id] = await given.people(db, ["ada@example.org"], first_name="Ada")
    async with database.connection(db) as tx:
        [ada] = await subscribers.by_ids(tx, [id])
    body = given.content()
    composer = message.Composer(
        template.Compiled.from_document(body["variants"][0]["compiled"]),
        blast=message.Blast(
            id=1,  # type: ignore[arg-type]
            name="x",
            topic="news",
            organization={"organization": "Example"},
            public_url="https://x.test",
            ring=RING,
        ),
        variant=1,
        sender="team@example.org",
    )

    html = composer.render(ada._replace(tracking=mode)).html

    clicks = [part.split('"')[0] for part in html.split("https://x.test/c/")[1:]]
    opens = [part.split('"')[0] for part in html.split("https://x.test/o/")[1:]]
    whom = {
        unseal(RING, purpose, text).subscriber
        for purpose, texts in ((Purpose.CLICK, clicks), (Purpose.OPEN, opens))
        for text in texts
    }
    expected = {Mode.FULL: {id}, Mode.AGGREGATE: {ANYBODY}, Mode.OFF: set()}
    assert whom == expected[mode]
    leave = seal(RING, Purpose.UNSUBSCRIBE, Token(blast=1, subscriber=id))
    assert f"https://x.test/u/{leave}" in html


async def test_old_events_go_and_the_counters_stay(blasts: database.Pool) -> None:
    await recording.load(blasts, visits())
    before = await given.rows(blasts, ROLLUP)
    [(now,)] = await given.rows(blasts, "SELECT now()")

    kept = await forgetting.purge(blasts, keep=now - NOON + timedelta(hours=1))
    gone = await forgetting.purge(blasts, keep=now - NOON - timedelta(hours=1))

    assert (kept, gone) == (0, 5)
    assert await given.rows(blasts, KEPT) == []
    assert await given.rows(blasts, ROLLUP) == before != []


async def everywhere(db: database.Pool, text: str) -> set[str]:
    """Return the tables in which *text* stands somewhere."""
    tables = await given.rows(
        db, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    found = set()
    for (name,) in tables:
        query = f"SELECT count(*) FROM {name} t WHERE t::text ILIKE $1"
        if await given.rows(db, query, f"%{text}%") != [(0,)]:
            found.add(name)
    return found


async def test_who_is_erased_is_nowhere_and_does_not_come_back(
    blasts: database.Pool,
) -> None:
    await recording.load(blasts, visits())
    await given.rows(
        blasts,
        "UPDATE delivery SET reply = '550 no p1@example.org here'"
        " WHERE subscriber_id = 1",
    )
    await given.rows(
        blasts,
        "INSERT INTO audit (actor, object, action)"
        " VALUES ('bo', 'suppression p1@example.org', 'add')",
    )
    before = await given.rows(blasts, ROLLUP)
    said = json.dumps(await forgetting.export(blasts, "P1@Example.org"), default=str)

    known = await forgetting.erase(blasts, "p1@example.org", actor="bo")
    again = await forgetting.erase(blasts, "p1@example.org", actor="bo")
    left = await everywhere(blasts, "p1@example.org")
    with pytest.raises(errors.NotFound):
        await forgetting.export(blasts, "p1@example.org")
    await given.people(blasts, ["p1@example.org", "p9@example.org"])

    assert said.count("unsubscribe") > 1
    assert "Mozilla/5.0 (X11)" in said
    assert (known, again, left) == (True, False, set())
    assert await given.rows(blasts, ROLLUP) == before
    events = await given.rows(blasts, "SELECT agent FROM event WHERE agent IS NULL")
    assert len(events) == 4
    assert await given.rows(
        blasts, "SELECT address, reason::text, source FROM suppression"
    ) == [("p1@example.org", "manual", "erased")]
