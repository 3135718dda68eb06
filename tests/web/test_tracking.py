"""Clicks and unsubscribes always answer, and a token does one thing for one person."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from mailer.core import tracking
from mailer.core.event import Kind
from mailer.core.tracking import Label, Purpose, Token
from mailer.pipeline import linking, receiving
from mailer.store import database
from mailer.web.tracking import PIXEL, truncated
from tests.web.conftest import NOON, NOWHERE, RING, Tracker, path, serving

CHROME = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.0.0"}
CLICK = path("c", Purpose.CLICK)
OPEN = path("o", Purpose.OPEN)
LEAVE = path("u", Purpose.UNSUBSCRIBE)
GONE = "https://example.org/%7e?u=http%3A%2F%2Fy%2f&a=..%2F[1]#x"


async def test_a_click_leads_to_the_stored_bytes_and_is_written_down(
    tracker: Tracker,
) -> None:
    answer = await tracker.ask("GET", CLICK, headers=CHROME)

    assert answer.status == 302
    assert {
        name: answer.headers[name] for name in answer.headers if name != "Date"
    } == {
        "Location": GONE,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex, nofollow",
        "Content-Length": "0",
    }
    [seen] = tracker.events()
    assert (seen.kind, seen.blast, seen.subscriber, seen.link) == (Kind.CLICK, 1, 7, 3)
    assert (seen.at, seen.label, seen.agent) == (
        NOON,
        Label.HUMAN,
        CHROME["User-Agent"],
    )
    assert seen.ip == "127.0.0.0"


@pytest.mark.parametrize("purpose", [Purpose.CLICK, Purpose.OPEN])
async def test_head_gets_the_same_answer_and_is_never_counted(
    purpose: Purpose, tracker: Tracker
) -> None:
    where = path(purpose.value[0], purpose)
    head = await tracker.ask("HEAD", where)
    before = tracker.events()
    get = await tracker.ask("GET", where)

    assert before == []
    assert head.status == get.status
    said = [
        {name: value for name, value in one.headers.items() if name != "Date"}
        for one in (head, get)
    ]
    assert said[0] == said[1]


async def test_what_a_link_carries_for_one_person_is_filled_in(
    tracker: Tracker,
) -> None:
    token = Token(blast=1, subscriber=7, link=4, values=("a&b/é",))

    answer = await tracker.ask("GET", path("c", Purpose.CLICK, token))

    refcode2 = tracking.refcode2(RING, token)
    assert answer.headers["Location"] == (
        f"https://example.org/d?who=a%26b%2F%C3%A9&refcode2={refcode2}"
    )


async def test_the_pixel_is_the_pixel(tracker: Tracker) -> None:
    answer = await tracker.ask("GET", OPEN, headers=CHROME)

    assert await answer.read() == PIXEL
    assert len(PIXEL) == 42
    assert {
        name: answer.headers[name] for name in answer.headers if name != "Date"
    } == {
        "Content-Type": "image/gif",
        "Content-Length": "42",
        "Cache-Control": "no-store, no-cache, must-revalidate, max-age=0, private",
        "Pragma": "no-cache",
        "Expires": "0",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    assert [seen.kind for seen in tracker.events()] == [Kind.OPEN]


SPOILT = [
    "/c/", "/c/x", CLICK + "A", "/c/!!" + CLICK[3:], CLICK[:-1] + "*",
    path("c", Purpose.OPEN), path("c", Purpose.UNSUBSCRIBE), path("c", Purpose.REFCODE),
    "/c/x?url=https://evil.test", "/c/x/../..", "/c/" + "A" * 5000, "/c/%00", "/p/x",
    "/v/x", "/", "/admin",
]  # fmt: skip


async def test_a_wrong_token_leads_nowhere_and_says_nothing(tracker: Tracker) -> None:
    answers = [await tracker.ask("GET", where) for where in SPOILT]

    assert {answer.status for answer in answers} == {404}
    assert not any("Location" in answer.headers for answer in answers)
    bodies = [await answer.text() for answer in answers]
    assert not any("evil" in body or "token" in body for body in bodies)
    assert tracker.events() == []


async def test_a_wrong_pixel_is_still_a_picture_and_counts_nothing(
    tracker: Tracker,
) -> None:
    for where in ("/o/x", path("o", Purpose.CLICK), OPEN + "A"):
        answer = await tracker.ask("GET", where)
        assert (answer.status, await answer.read()) == (200, PIXEL)

    assert tracker.events() == []


async def test_a_query_changes_nothing(tracker: Tracker) -> None:
    answer = await tracker.ask("GET", CLICK + "?url=https://evil.test/&link=4")

    assert (answer.status, answer.headers["Location"]) == (302, GONE)


async def test_other_methods_are_told_which_are_right(tracker: Tracker) -> None:
    answers = [await tracker.ask(method, CLICK) for method in ("POST", "PUT", "DELETE")]

    assert {answer.status for answer in answers} == {405}
    assert {answer.headers["Allow"] for answer in answers} == {"GET,HEAD"}
    assert tracker.events() == []


async def test_no_answer_names_the_server_or_sets_a_cookie(tracker: Tracker) -> None:
    asked = [("GET", CLICK), ("GET", OPEN), ("GET", LEAVE), ("POST", LEAVE)]
    asked += [("GET", "/nowhere"), ("POST", CLICK), ("GET", "/c/x")]

    for method, where in asked:
        answer = await tracker.ask(method, where)
        assert "Server" not in answer.headers
        assert "Set-Cookie" not in answer.headers


async def test_a_machine_gets_the_same_answer_and_another_label(
    tracker: Tracker,
) -> None:
    answer = await tracker.ask("GET", CLICK, headers={"User-Agent": "curl/8"})
    await tracker.ask("GET", OPEN, headers={"User-Agent": "Mozilla/5.0"})

    assert (answer.status, answer.headers["Location"]) == (302, GONE)
    assert sorted((seen.label, seen.reasons) for seen in tracker.events()) == [
        (Label.MACHINE, ("scanner_curl",)),
        (Label.UNKNOWN, ("apple_mpp",)),
    ]


async def test_hostile_bytes_in_the_agent_do_no_harm(tracker: Tracker) -> None:
    agent = b"<script>\xff\xfe" + b"x" * 1000
    host, port = tracker.client.server.host, tracker.client.server.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"GET " + CLICK.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"User-Agent: " + agent + b"\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 302 ")
    [seen] = tracker.events()
    assert seen.agent is not None
    assert len(seen.agent) == 300
    seen.agent.encode()


# ── Unsubscribe ─────────────────────────────────────────────────────────────

ONE_CLICK = b"List-Unsubscribe=One-Click"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (ONE_CLICK, "application/x-www-form-urlencoded"),
        (
            b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n'
            b"One-Click\r\n--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
        (b"", "text/plain"),
        (b"\xff\x00{", "application/json"),
        (b"x" * 100_000, "application/x-www-form-urlencoded"),
    ],
    ids=["form", "multipart", "empty", "junk", "long"],
)
async def test_one_click_works_whatever_the_body_is(
    body: bytes, kind: str, tracker: Tracker
) -> None:
    headers = {"Content-Type": kind, "User-Agent": "java/1.8 bot curl"}

    answer = await tracker.ask("POST", LEAVE, data=body, headers=headers)

    assert answer.status == 200
    assert "Location" not in answer.headers
    [seen] = tracker.events()
    assert (seen.kind, seen.blast, seen.subscriber) == (Kind.UNSUBSCRIBE, 1, 7)
    assert seen.label is Label.HUMAN


async def test_getting_the_page_a_hundred_times_changes_nothing(
    tracker: Tracker,
) -> None:
    for number in range(100):
        answer = await tracker.ask("HEAD" if number % 2 else "GET", LEAVE)
        assert answer.status == 200

    assert tracker.events() == []


async def test_the_page_asks_in_the_name_of_the_organization(tracker: Tracker) -> None:
    answer = await tracker.ask("GET", LEAVE)
    text = await answer.text()

    assert "Example &lt;for&gt; Congress" in text
    assert '<form method="post">' in text
    assert "<script" not in text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_button_unsubscribes_and_says_so(tracker: Tracker) -> None:
    answer = await tracker.ask("POST", LEAVE, data={"confirm": "1"})

    assert "You are unsubscribed" in await answer.text()
    assert [seen.kind for seen in tracker.events()] == [Kind.UNSUBSCRIBE]


@pytest.mark.parametrize(
    "purpose", [one for one in Purpose if one is not Purpose.UNSUBSCRIBE]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_token_unsubscribes_nobody(
    purpose: Purpose, method: str, tracker: Tracker
) -> None:
    answer = await tracker.ask(method, path("u", purpose), data=ONE_CLICK)

    assert answer.status == 404
    assert tracker.events() == []


# ── When something is broken ────────────────────────────────────────────────


async def test_a_full_disk_stops_unsubscribes_with_503_and_no_click(
    tracker: Tracker,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        click = await tracker.ask("GET", CLICK)
        leave = await tracker.ask("POST", LEAVE, data=ONE_CLICK)
        pressed = await tracker.ask("POST", LEAVE, data={"confirm": "1"})
        is_writable = tracker.inbox.is_writable
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert (click.status, leave.status, pressed.status) == (302, 503, 503)
    assert "Nothing has changed yet" in await pressed.text()
    assert not is_writable
    assert tracker.inbox.dropped == {Kind.CLICK: 1, Kind.UNSUBSCRIBE: 2}
    assert tracker.events() == []


BLAST = """
    INSERT INTO blast (name, topic, file, hash) VALUES ('first', 'news', 'f', 'h');
    INSERT INTO link (blast_id, index, variant, url)
    VALUES (1, 3, 1, 'https://example.org/a'), (1, 9, 1, 'https://example.org/new')
"""


async def test_links_of_a_blast_launched_just_now_are_looked_up(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> None:
    links = linking.Links(db, tmp_path / "links.json")
    async with serving(inbox, links, tmp_path / "spool") as tracker:
        async with database.connection(db) as connection:
            await connection.raw.execute(BLAST)

        token = Token(blast=1, subscriber=7, link=9)
        answer = await tracker.ask("GET", path("c", Purpose.CLICK, token))

    assert answer.headers["Location"] == "https://example.org/new"


async def test_a_tracker_that_starts_without_database_knows_the_links(
    db: database.Pool, inbox: receiving.Inbox, tmp_path: Path
) -> None:
    async with database.connection(db) as connection:
        await connection.raw.execute(BLAST)
    before = linking.Links(db, tmp_path / "links.json")
    await before.refresh(whole=True)
    before.save()

    async with database.opened(NOWHERE, at_once=False) as away:
        links = linking.Links(away, tmp_path / "links.json")
        links.recall()
        async with serving(inbox, links, tmp_path / "spool") as tracker:
            click = await tracker.ask("GET", CLICK)
            leave = await tracker.ask("POST", LEAVE, data=ONE_CLICK)
            seen = [one.kind for one in tracker.events()]

    assert (click.status, leave.status) == (302, 200)
    assert click.headers["Location"] == "https://example.org/a"
    assert sorted(seen) == [Kind.CLICK, Kind.UNSUBSCRIBE]


async def test_a_corrected_address_is_taken_over(
    db: database.Pool, tmp_path: Path
) -> None:
    async with database.connection(db) as connection:
        await connection.raw.execute(BLAST)
    links = linking.Links(db, tmp_path / "links.json")
    await links.refresh(whole=True)
    async with database.connection(db) as connection:
        await connection.raw.execute(
            "UPDATE link SET url = 'https://example.org/right' WHERE index = 9"
        )

    await links.refresh(whole=False)

    assert links.find(1, 9) == "https://example.org/right"


@pytest.mark.parametrize("link", [5, 77], ids=["unsafe", "unknown"])
async def test_a_link_that_leads_nowhere_safe_is_not_found(
    link: int, tracker: Tracker
) -> None:
    token = Token(blast=1, subscriber=7, link=link)

    answer = await tracker.ask("GET", path("c", Purpose.CLICK, token))

    assert answer.status == 404


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"1": []}', "\0"])
async def test_a_broken_links_file_is_as_good_as_none(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "links.json"
    file.write_text(text)
    async with database.opened(NOWHERE, at_once=False) as away:
        links = linking.Links(away, file)

        links.recall()

    assert links.count == 0


@pytest.mark.parametrize(
    ("ip", "kept"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3::4", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("unknown", None),
        ("", None),
        ("1.2.3.4, 5.6.7.8", None),
    ],
)
def test_addresses_are_truncated(ip: str, kept: str | None) -> None:
    assert truncated(ip) == kept


async def test_a_proxy_on_this_machine_says_who_asks(tracker: Tracker) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.77"}

    await tracker.ask("GET", CLICK, headers=headers)

    assert [seen.ip for seen in tracker.events()] == ["203.0.113.0"]
