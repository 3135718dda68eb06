"""Who signs up is asked by mail; a stranger can neither learn nor flood anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mailer import settings
from mailer.core.tracking import Purpose, Token
from mailer.pipeline import confirming, forgetting, linking, receiving, recording
from mailer.settings import Signup as Rules
from mailer.store import database
from mailer.web.limit import Limit
from mailer.web.signup import Signup
from tests import given
from tests.sink import Sink
from tests.web.conftest import NOON, Tracker, parts, path, serving_parts

SITE = "https://www.example.org"
RULES = Rules(topics=("news", "events"), origins=(SITE,))
JSON = {"Origin": SITE, "Content-Type": "application/json"}


@asynccontextmanager
async def serving(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path, rules: Rules = RULES
) -> AsyncIterator[Tracker]:
    tracking, hooks = parts(inbox, linking.Links(db, tmp_path / "links.json"), db)
    signup = Signup(
        tracking=tracking,
        rules=rules,
        provider=lambda _: "other",
        own="https://mail.example.org",
        networks=Limit(rate=1, burst=5),
    )
    folder = tmp_path / "spool"
    async with serving_parts(inbox, tracking, hooks, signup, folder=folder) as tracker:
        yield tracker


@pytest.fixture
async def site(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> AsyncIterator[Tracker]:
    async with serving(db, inbox, tmp_path) as tracker:
        yield tracker


async def drained(db: database.Pool, site: Tracker) -> None:
    loader = recording.Loader(db, site.folder)
    while await loader.step():
        pass


async def join(site: Tracker, email: str, **more: Any) -> int:
    body = {"email": email, **more}
    answer = await site.ask("POST", "/signup", json=body, headers={"Origin": SITE})
    return answer.status


async def confirm(site: Tracker, number: int, method: str = "POST") -> int:
    place = path("y", Purpose.CONFIRM, Token(blast=0, subscriber=number))
    return (await site.ask(method, place)).status


PEOPLE = "SELECT address, email, first_name, zip FROM subscriber ORDER BY id"


async def test_a_person_is_added_when_they_confirm_and_not_before(
    site: Tracker, db: database.Pool
) -> None:
    status = await join(site, " Ada@Example.org ", first_name="Ada", zip="53000")
    await drained(db, site)
    [(asked,)] = await given.rows(db, "SELECT asked FROM confirmation")
    before = await given.rows(db, PEOPLE)
    looked = await confirm(site, 1, "GET")
    await drained(db, site)
    between = await given.rows(db, PEOPLE)
    confirmed = await confirm(site, 1)
    await drained(db, site)

    assert (status, looked, confirmed) == (202, 200, 200)
    assert (before, between) == ([], [])
    assert await given.rows(db, PEOPLE) == [
        ("ada@example.org", "Ada@example.org", "Ada", "53000")
    ]
    proof = {"origin": SITE, "network": "127.0.0.0", "text": 1}
    assert {name: asked[name] for name in proof} == proof
    assert asked["topics"] == ["news", "events"]


async def test_a_form_without_script_gets_a_page(
    site: Tracker, db: database.Pool
) -> None:
    form = {"email": "ada@example.org", "topics": "news"}
    page = await site.ask("GET", "/signup")
    answer = await site.ask("POST", "/signup", data=form, headers={"Origin": SITE})
    await drained(db, site)

    assert 'name="email"' in await page.text()
    assert answer.status == 200
    assert "Look into your mailbox" in await answer.text()
    [(asked,)] = await given.rows(db, "SELECT asked FROM confirmation")
    assert asked["topics"] == ["news"]


async def test_an_address_is_asked_twice_at_most(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> None:
    async with serving(db, inbox, tmp_path) as site:
        for number in range(5):
            await join(site, "ada@example.org" if number % 2 else "ADA@example.org")
        await drained(db, site)

    assert await given.rows(db, "SELECT count(*) FROM confirmation") == [(2,)]


async def test_one_network_may_not_ask_too_often(site: Tracker) -> None:
    statuses = [await join(site, f"p{n}@example.org") for n in range(8)]

    assert statuses[:5] == [202] * 5
    assert statuses[-1] == 429
    assert len(site.events()) == statuses.count(202)


async def test_pages_of_other_origins_may_not_ask(site: Tracker) -> None:
    evil = {"Origin": "https://www.example.org.evil.test"}
    asked = await site.ask("OPTIONS", "/signup", headers=evil)
    sent = await site.ask("POST", "/signup", data={"email": "a@b.test"}, headers=evil)
    ours = await site.ask("OPTIONS", "/signup", headers={"Origin": SITE})

    assert (asked.status, sent.status, ours.status) == (403, 403, 204)
    assert "Access-Control-Allow-Origin" not in sent.headers
    assert ours.headers["Access-Control-Allow-Origin"] == SITE
    assert site.events() == []


async def test_a_machine_that_fills_everything_is_thanked_and_forgotten(
    site: Tracker,
) -> None:
    assert await join(site, "ada@example.org", website="https://spam.test") == 202
    assert site.events() == []


HOSTILE = [
    b"", b"[]", b"{", b'"x"', b'{"email": 5}', b'{"email": null}', b"\xff",
    b'{"email": "a@b.test\\r\\nBcc: c@d.test"}', b'{"email": "' + b"a" * 9000 + b'"}',
    b"[" * 50000, b'{"email": "a@b>\\r\\nRCPT TO:<e@x.test"}',
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_what_is_no_address_is_refused_and_not_kept(
    body: bytes, site: Tracker
) -> None:
    answer = await site.ask("POST", "/signup", data=body, headers=JSON)

    assert answer.status == 422
    assert site.events() == []


async def test_a_known_and_an_unknown_address_are_answered_alike(
    site: Tracker, db: database.Pool
) -> None:
    await given.people(db, ["known@example.org"])
    answers = [
        await site.ask("POST", "/signup", json={"email": email}, headers=JSON)
        for email in ("known@example.org", "unknown@example.org")
    ]

    assert await answers[0].read() == await answers[1].read()
    assert answers[0].status == answers[1].status
    assert answers[0].headers == answers[1].headers


async def test_who_left_comes_back_by_confirming_and_what_we_decided_stays(
    site: Tracker, db: database.Pool
) -> None:
    await given.people(db, ["ada@example.org"])
    await given.rows(
        db,
        "INSERT INTO suppression (address, topic, reason, source) VALUES"
        " ('ada@example.org', 'news', 'unsubscribe', 'x'),"
        " ('ada@example.org', 'other', 'unsubscribe', 'x'),"
        " ('ada@example.org', NULL, 'manual', 'x')",
    )
    await join(site, "ada@example.org")
    await confirm(site, 1)
    await drained(db, site)
    await confirm(site, 1)
    await drained(db, site)

    left = "SELECT topic, reason::text FROM suppression ORDER BY topic"
    assert await given.rows(db, left) == [("other", "unsubscribe"), (None, "manual")]


async def test_a_link_that_is_too_old_confirms_nothing(
    site: Tracker, db: database.Pool
) -> None:
    await join(site, "ada@example.org")
    await drained(db, site)
    old = "UPDATE confirmation SET asked_at = asked_at - interval '15 days'"
    await given.rows(db, old)
    await confirm(site, 1)
    await drained(db, site)

    assert await given.rows(db, PEOPLE) == []


async def test_who_is_erased_leaves_no_address_behind_a_sign_up(
    site: Tracker, db: database.Pool
) -> None:
    await join(site, "ada@example.org")
    await confirm(site, 1)
    await drained(db, site)

    await forgetting.erase(db, "ada@example.org", actor="bo")

    assert await given.rows(db, "SELECT id FROM confirmation") == []
    for table in ("event", "subscriber", "change", "suppression"):
        query = f"SELECT count(*) FROM {table} t WHERE t::text ILIKE '%ada@%'"
        assert await given.rows(db, query) == [(0,)], table


async def test_without_topics_nobody_can_sign_up(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> None:
    async with serving(db, inbox, tmp_path, Rules()) as site:
        answers = [await site.ask(how, "/signup") for how in ("GET", "POST", "OPTIONS")]

    assert {answer.status for answer in answers} == {404}


async def test_a_campaign_may_do_without_the_question(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> None:
    rules = Rules(topics=("news",), confirm=False)
    async with serving(db, inbox, tmp_path, rules) as site:
        await site.ask("POST", "/signup", data={"email": "ada@example.org"})
        await drained(db, site)

    assert [row[0] for row in await given.rows(db, PEOPLE)] == ["ada@example.org"]
    assert await given.rows(db, "SELECT id FROM confirmation") == []


async def test_the_question_is_a_mail_whose_link_confirms(
    site: Tracker, db: database.Pool, sink: Sink, workspace: Path
) -> None:
    file = workspace / "config" / "settings.toml"
    file.write_text(file.read_text("utf-8").replace("2525", str(sink.port)), "utf-8")
    chosen = settings.load(workspace)
    await join(site, "ada@yahoo.test")
    await drained(db, site)

    sent = await confirming.deliver(db, chosen, now=NOON)
    again = await confirming.deliver(db, chosen, now=NOON)

    assert (sent, again) == (1, 0)
    [letter] = await sink.received(1)
    text = letter.message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert f"{chosen.public.url}/y/".encode() in text
    assert b"Example for Congress" in text
    assert letter.message["Auto-Submitted"] == "auto-generated"
    assert "List-Unsubscribe" not in letter.message


async def test_a_question_that_no_server_takes_is_asked_again_later(
    site: Tracker, db: database.Pool, sink: Sink, workspace: Path
) -> None:
    file = workspace / "config" / "settings.toml"
    file.write_text(file.read_text("utf-8").replace("2525", str(sink.port)), "utf-8")
    sink.script("ada@yahoo.test", "451 4.3.0 Later")
    await join(site, "ada@yahoo.test")
    await drained(db, site)

    sent = await confirming.deliver(db, settings.load(workspace), now=NOON)

    [(left, error)] = await given.rows(
        db, "SELECT due_at > now(), error FROM confirmation WHERE sent_at IS NULL"
    )
    assert (sent, left) == (0, True)
    assert "451" in error


def test_a_limit_lets_a_burst_through_and_then_its_rate() -> None:
    limit = Limit(rate=1, burst=2)
    allowed = [limit.allows("a", at=at) for at in (0.0, 0.0, 0.0, 0.9, 1.1, 1.1, 9.0)]

    assert allowed == [True, True, False, False, True, False, True]
    assert limit.allows("b", at=0.0)


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.CONFIRM])
async def test_another_token_confirms_nothing(purpose: Purpose, site: Tracker) -> None:
    place = path("y", purpose, Token(blast=0, subscriber=1))

    assert (await site.ask("POST", place)).status == 404
    assert site.events() == []
