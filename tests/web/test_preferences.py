"""A person chooses what they get; a GET, a scanner and another token choose nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from mailer.core.event import Kind
from mailer.core.tracking import Purpose, Token
from mailer.pipeline import linking, preferring, receiving, recording
from mailer.settings import Named, Topic
from mailer.store import confirmations, database
from mailer.web import words
from mailer.web.preferences import Preferences
from tests import given
from tests.web.conftest import NOON, NOWHERE, RING, Tracker, parts, path, serving_parts

ADA = Token(blast=1, subscriber=7)
PREFS = path("p", Purpose.PREFERENCES, ADA)
LEAVE = path("u", Purpose.UNSUBSCRIBE, ADA)
VIEW = path("v", Purpose.VIEW, ADA)

BLAST = """
    INSERT INTO blast (name, topic, file, hash) VALUES ('first', 'news', 'f', 'h');
    INSERT INTO subscriber (id, address, email, domain, provider, signed_up_at)
    OVERRIDING SYSTEM VALUE
    VALUES (7, 'ada@example.org', 'ada@example.org', 'example.org', 'x', now());
"""
TOPICS = {
    "fundraising": Topic(
        title="Fundraising", translated={"es": Named(title="Recaudación")}
    ),
    "news": Topic(title="News <now>", describes="Once a week"),
}


@pytest.fixture
async def known(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> AsyncIterator[Tracker]:
    """The endpoint with a database that knows Ada."""
    async with database.connection(db) as tx:
        await tx.raw.execute(BLAST)
    async with serving(db, inbox, tmp_path) as tracker:
        yield tracker


def serving(db: database.Pool, inbox: receiving.Inbox, tmp_path: Path):  # type: ignore[no-untyped-def]
    tracking, hooks = parts(inbox, linking.Links(db, tmp_path / "links.json"), db)
    house = preferring.House(organization={}, public_url="https://x.test", ring=RING)
    more = Preferences(
        tracking=tracking,
        pool=db,
        house=house,
        topics=TOPICS,
        provider=lambda _: "other",
    )
    return serving_parts(inbox, tracking, hooks, more, folder=tmp_path / "spool")


async def drained(db: database.Pool, tracker: Tracker) -> None:
    """Load what came in, as the loader of a running endpoint does."""
    loader = recording.Loader(db, tracker.folder)
    while await loader.step():
        pass


async def suppressed(db: database.Pool) -> list[tuple[object, ...]]:
    return await given.rows(
        db, "SELECT topic, reason::text FROM suppression ORDER BY topic NULLS FIRST"
    )


async def sent(tracker: Tracker, where: str, **form: str) -> aiohttp.ClientResponse:
    return await tracker.ask("POST", where, data=form)


async def test_the_page_shows_what_a_person_gets_and_hides_whose_it_is(
    known: Tracker,
) -> None:
    answer = await known.ask("GET", PREFS)
    text = await answer.text()

    assert answer.status == 200
    assert "For a•••@example.org" in text
    assert "ada@" not in text
    assert "News &lt;now&gt;" in text
    assert text.count(" checked>") == 4  # two topics, everything, no break
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in answer.headers


async def test_getting_the_pages_changes_nothing_and_counts_no_visit(
    known: Tracker, db: database.Pool
) -> None:
    for where in (PREFS, LEAVE, VIEW, PREFS + "?none=1", LEAVE + "?confirm=1"):
        for method in ("GET", "HEAD"):
            await known.ask(method, where)

    assert known.events() == []


async def test_topics_that_are_not_ticked_are_left_and_those_ticked_come_back(
    known: Tracker, db: database.Pool
) -> None:
    shown = "fundraising news"
    await sent(known, PREFS, **{"shown": shown, "topic-news": "1"})
    await drained(db, known)
    left = await suppressed(db)
    await sent(known, PREFS, **{"shown": shown, "topic-fundraising": "1"})
    await drained(db, known)
    text = await (await known.ask("GET", PREFS)).text()

    assert left == [("fundraising", "unsubscribe")]
    assert await suppressed(db) == [("news", "unsubscribe")]
    assert 'name="topic-fundraising" value="1" checked' in text
    assert 'name="topic-news" value="1">' in text


async def test_a_choice_lifts_what_the_person_asked_for_and_nothing_else(
    known: Tracker, db: database.Pool
) -> None:
    await given.rows(
        db,
        "INSERT INTO suppression (address, topic, reason, source) VALUES"
        " ('ada@example.org', NULL, 'complaint', 'fbl'),"
        " ('ada@example.org', 'news', 'bounce', 'x')",
    )

    await sent(known, PREFS, **{"shown": "news", "topic-news": "1", "pause": "0"})
    await drained(db, known)

    assert await suppressed(db) == [(None, "complaint"), ("news", "bounce")]


async def test_a_pause_ends_by_itself_or_when_the_person_says_so(
    known: Tracker, db: database.Pool
) -> None:
    await sent(known, PREFS, pause="30")
    await drained(db, known)
    [(days,)] = await given.rows(
        db, "SELECT (expires_at - TIMESTAMPTZ '2026-10-01 12:00Z') FROM suppression"
    )
    [(told,)] = await given.rows(db, "SELECT count(*) FROM change")
    await sent(known, PREFS, pause="0")
    await drained(db, known)

    assert days.days == 30
    assert told > 0
    assert await suppressed(db) == []


async def test_stopping_all_mail_wins_over_a_pause(
    known: Tracker, db: database.Pool
) -> None:
    await sent(known, PREFS, pause="90")
    await sent(known, PREFS, none="1", shown="news")
    await drained(db, known)

    [(expires,)] = await given.rows(db, "SELECT expires_at FROM suppression")
    assert await suppressed(db) == [(None, "unsubscribe")]
    assert expires is None


async def test_saving_offers_to_bring_back_what_was(
    known: Tracker, db: database.Pool
) -> None:
    answer = await sent(known, PREFS, shown="fundraising news", every="30")
    text = await answer.text()

    assert answer.status == 200
    for name, value in (
        ("shown", "fundraising news"),
        ("topic-news", "1"),
        ("topic-fundraising", "1"),
        ("every", "0"),
        ("pause", "0"),
    ):
        assert f'<input type="hidden" name="{name}" value="{value}">' in text


async def test_an_unsubscribe_is_taken_back_by_its_button(
    known: Tracker, db: database.Pool
) -> None:
    done = await sent(known, LEAVE, confirm="1")
    await drained(db, known)
    before = await suppressed(db)
    back = await sent(known, LEAVE, undo="1")
    await drained(db, known)

    assert 'name="undo" value="1"' in await done.text()
    assert before == [("news", "unsubscribe")]
    assert "Welcome back" in await back.text()
    assert await suppressed(db) == []


@pytest.mark.parametrize(
    "form",
    [
        {"every": "3"},
        {"pause": "-1"},
        {"pause": "9" * 5000},
        {"tracking": "all"},
        {"email": "no address"},
        {"email": "a@b.test\r\nBcc: c@d.test"},
    ],
)
async def test_a_form_that_is_not_ours_changes_nothing(
    form: dict[str, str], known: Tracker
) -> None:
    answer = await sent(known, PREFS, **form)

    assert answer.status == 422
    assert known.events() == []


async def test_unknown_topics_are_not_written_down(known: Tracker) -> None:
    await sent(known, PREFS, shown="news evil '; DROP", **{"topic-evil": "1"})

    [seen] = known.events()
    assert seen.body == {"topics": {"news": False}}


@pytest.mark.parametrize(
    "purpose", [p for p in Purpose if p is not Purpose.PREFERENCES]
)
async def test_another_token_opens_no_preferences(
    purpose: Purpose, known: Tracker
) -> None:
    answers = [
        await known.ask(method, path("p", purpose, ADA), data={"none": "1"})
        for method in ("GET", "POST")
    ]

    assert [answer.status for answer in answers] == [404, 404]
    assert known.events() == []


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.VIEW])
async def test_another_token_shows_no_message(purpose: Purpose, known: Tracker) -> None:
    answer = await known.ask("GET", path("v", purpose, ADA))

    assert answer.status == 404


async def test_somebody_who_is_gone_has_no_page(known: Tracker) -> None:
    gone = Token(blast=1, subscriber=99)
    answers = [
        await known.ask("GET", path("p", Purpose.PREFERENCES, gone)),
        await known.ask("GET", path("v", Purpose.VIEW, gone)),
    ]

    assert {answer.status for answer in answers} == {404}


async def test_pages_speak_the_language_of_the_person_else_of_the_browser(
    known: Tracker, db: database.Pool
) -> None:
    spanish = {"Accept-Language": "es-MX,es;q=0.9,en;q=0.8"}
    by_browser = await (await known.ask("GET", PREFS, headers=spanish)).text()
    await given.rows(db, "UPDATE subscriber SET language = 'en-US'")
    by_person = await (await known.ask("GET", LEAVE, headers=spanish)).text()

    assert '<html lang="es">' in by_browser
    assert "Recaudación" in by_browser
    assert '<html lang="en">' in by_person


async def test_without_a_database_a_person_can_still_stop_everything(
    inbox: receiving.Inbox, tmp_path: Path
) -> None:
    async with (
        database.opened(NOWHERE, at_once=False) as away,
        serving(away, inbox, tmp_path) as tracker,
    ):
        page = await tracker.ask("GET", PREFS)
        done = await sent(tracker, PREFS, none="1")
        view = await tracker.ask("GET", VIEW)
        [seen] = tracker.events()
        text = await page.text()

    assert (page.status, done.status, view.status) == (200, 200, 503)
    assert 'name="none" value="1"' in text
    assert (seen.kind, seen.body) == (Kind.PREFERENCES, {"none": True})


def test_every_language_says_everything() -> None:
    keys = {code: set(said) for code, said in words.SPOKEN.items()}

    assert set(keys) == {"en", "es"}
    assert keys["en"] == keys["es"]
    for key, text in words.ENGLISH.items():
        braces = [part.partition("}")[0] for part in text.split("{")[1:]]
        others = words.SPOKEN["es"][key].split("{")[1:]
        assert sorted(braces) == sorted(part.partition("}")[0] for part in others), key


async def test_a_new_address_is_used_when_its_owner_has_confirmed_it(
    known: Tracker, db: database.Pool
) -> None:
    await given.suppression(db, "ada@example.org", topic="fundraising")
    answer = await sent(known, PREFS, email=" Ada@New.test ")
    await drained(db, known)
    asked = await given.rows(db, "SELECT id, email, subscriber_id FROM confirmation")
    before = await given.rows(db, "SELECT address FROM subscriber")
    async with database.transaction(db) as tx:
        assert await confirmations.confirm(tx, asked[0][0], at=NOON)

    assert "mail to Ada@New.test" in await answer.text()
    assert [row[1:] for row in asked] == [("Ada@new.test", 7)]
    assert before == [("ada@example.org",)]
    assert await given.rows(db, "SELECT address, email, domain FROM subscriber") == [
        ("ada@new.test", "Ada@new.test", "new.test")
    ]
    carried = "SELECT topic FROM suppression WHERE address = 'ada@new.test'"
    assert await given.rows(db, carried) == [("fundraising",)]
    [(body,)] = await given.rows(db, "SELECT body::text FROM event")
    assert "new.test" not in body


async def test_an_address_that_somebody_has_is_not_taken_from_them(
    known: Tracker, db: database.Pool
) -> None:
    await given.people(db, ["bo@example.org"])
    await sent(known, PREFS, email="bo@example.org")
    await drained(db, known)
    async with database.transaction(db) as tx:
        await confirmations.confirm(tx, 1, at=NOON)

    people = await given.rows(db, "SELECT address FROM subscriber ORDER BY address")
    assert people == [("ada@example.org",), ("bo@example.org",)]
