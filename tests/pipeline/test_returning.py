"""From the message that came back to the person who gets no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailer import errors
from mailer.core import feedback, verp
from mailer.core.alarm import Kind
from mailer.core.breaker import Limits
from mailer.core.event import Event
from mailer.core.tracking import Ring, Token
from mailer.pipeline import (
    alarming,
    launching,
    receiving,
    recording,
    returning,
    reviewing,
)  # fmt: skip
from mailer.pipeline.returning import Reader
from mailer.pipeline.reviewing import Verdict
from mailer.store import database
from tests import given
from tests.core.test_feedback import RING, sample
from tests.pipeline.conftest import Workshop
from tests.pipeline.test_complaints import known
from tests.sink import Sink

NOON = datetime(2026, 10, 13, 12, tzinfo=UTC)
OTHERS = Ring(keys={1: bytes(range(2, 34))}, current=1)

# Blasts 1 to 4 went to two people, the first of whom had them all.
PEOPLE = """
    INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
    VALUES ('ada@example.test', 'Ada@example.test', 'example.test', 'x', '2026-01-01Z'),
           ('bo@example.test', 'bo@example.test', 'example.test', 'x', '2026-01-01Z');
    INSERT INTO blast (name, topic, file, hash)
    SELECT 'b' || n, 'fundraising', 'f', 'h' FROM generate_series(1, 4) n;
    INSERT INTO round (blast_id, number) SELECT generate_series(1, 4), 1;
    INSERT INTO delivery (blast_id, seq, subscriber_id, provider, round, variant, state,
                          settled_at)
    SELECT b, 1, 1, 'gmail', 1, 1, 'sent', '2026-10-13 10:00Z'
    FROM generate_series(1, 4) b;
    INSERT INTO delivery (blast_id, seq, subscriber_id, provider, round, variant, state)
    VALUES (1, 2, 2, 'yahoo', 1, 2, 'suppressed');
"""
SUPPRESSED = (
    "SELECT address, topic, reason::text, expires_at IS NOT NULL FROM suppression"
    " ORDER BY address"
)
ROLLUP = (
    "SELECT blast_id, variant, provider, returned::int, complaints::int,"
    " unsubscribes::int FROM rollup ORDER BY 1, 2"
)
GONE = sample("postfix-user-unknown")  # says ada@example.test
FULL = sample("dovecot-lmtp-quota").replace(b"kim@", b"ada@")
ABUSE = sample("arf-abuse")


@pytest.fixture
async def sent(db: database.Pool) -> database.Pool:
    async with database.connection(db) as connection:
        await connection.raw.execute(PEOPLE)
    return db


def path(*, blast: int = 1, subscriber: int = 1, ring: Ring = RING) -> str:
    token = Token(blast=blast, subscriber=subscriber)
    return verp.seal(ring, token, "bounce.example.org")


@asynccontextmanager
async def reading(folder: Path, *, at: datetime = NOON) -> AsyncIterator[Reader]:
    with receiving.opened(folder) as inbox:
        yield Reader(
            ring=RING,
            keep=inbox.take,
            now=lambda: at,
            domain="bounce.example.org",
            addresses=["fbl@example.org"],
        )


async def came(
    db: database.Pool, folder: Path, *letters: tuple[bytes, str], at: datetime = NOON
) -> int:
    """Take letters and load them; return how many events were new."""
    async with reading(folder, at=at) as reader:
        for raw, to in letters:
            await reader.take(raw, to)
    return await recording.drain(db, folder)


async def test_a_bad_address_is_suppressed_once_and_counted_once(
    sent: database.Pool, tmp_path: Path
) -> None:
    first = await came(sent, tmp_path, (GONE, path()), (GONE, path().upper()))
    again = await came(sent, tmp_path, (GONE, path()), at=NOON + timedelta(hours=5))

    assert (first, again) == (1, 0)
    assert await given.rows(sent, SUPPRESSED) == [
        ("ada@example.test", None, "bounce", False)
    ]
    assert await given.rows(sent, ROLLUP) == [(1, 1, "gmail", 1, 0, 0)]
    assert await given.rows(sent, "SELECT address FROM change") == [
        ("ada@example.test",)
    ]
    (note,) = (await given.rows(sent, "SELECT note FROM suppression"))[0]
    assert note.startswith("blast b1: bad-address · 5.1.1 · smtp; 550 5.1.1")


async def test_a_message_id_of_ours_names_the_person_by_the_ledger(
    sent: database.Pool, tmp_path: Path
) -> None:
    name = verp.name(RING, 1, 1).encode()
    raw = GONE.replace(b"b12.34.0123456789ab", name)

    await came(sent, tmp_path, (raw, "postmaster@bounce.example.org"))

    assert await given.rows(sent, "SELECT subscriber_id, variant FROM event") == [
        (1, 1)
    ]
    assert [row[0] for row in await given.rows(sent, SUPPRESSED)] == [
        "ada@example.test"
    ]


async def test_a_forged_bounce_suppresses_nobody_and_waits_for_a_person(
    sent: database.Pool, tmp_path: Path
) -> None:
    await came(
        sent,
        tmp_path,
        (GONE, path(ring=OTHERS)),
        (GONE, ""),
        (ABUSE, "fbl@example.org"),
    )

    assert await given.rows(sent, SUPPRESSED) == []
    assert await given.rows(sent, "SELECT count(*) FROM event") == [(0,)]
    listed = await reviewing.listed(sent)
    assert listed.waiting == 2  # the same message twice is one
    assert {one.why for one in listed.found} == {
        "bounce: nothing says whose message it was (ada@example.test)",
        "complaint: nothing says whose message it was (ada@example.test)",
    }


async def test_a_bounce_of_what_was_never_sent_suppresses_nobody(
    sent: database.Pool, tmp_path: Path
) -> None:
    raw = GONE.replace(b"ada@", b"bo@")

    await came(sent, tmp_path, (raw, path(subscriber=2)), (raw, path(blast=9)))

    assert await given.rows(sent, SUPPRESSED) == []


async def test_a_forward_that_fails_suppresses_nobody(
    sent: database.Pool, tmp_path: Path
) -> None:
    await came(sent, tmp_path, (GONE.replace(b"ada@", b"old@"), path()))

    assert await given.rows(sent, SUPPRESSED) == []
    assert await given.rows(sent, ROLLUP) == [(1, 1, "gmail", 1, 0, 0)]


async def test_words_about_spam_suppress_nobody_however_often(
    sent: database.Pool, tmp_path: Path
) -> None:
    raw = sample("gmail-unsolicited").replace(b"ed@gmail.test", b"ada@example.test")

    await came(sent, tmp_path, *((raw, path(blast=at)) for at in range(1, 5)))

    assert await given.rows(sent, SUPPRESSED) == []


async def test_a_mailbox_that_stays_full_is_left_alone_for_a_while(
    sent: database.Pool, tmp_path: Path
) -> None:
    for at in (1, 1, 2):  # twice of one blast is once
        raw = FULL.replace(b"Message-ID: <2", b"Message-ID: <%d" % at)
        await came(sent, tmp_path, (raw, path(blast=at)))
    assert await given.rows(sent, SUPPRESSED) == []

    await came(sent, tmp_path, (FULL, path(blast=3)))

    assert await given.rows(sent, SUPPRESSED) == [
        ("ada@example.test", None, "bounce", True)
    ]
    (until_,) = (await given.rows(sent, "SELECT expires_at FROM suppression"))[0]
    assert until_ == NOON + feedback.HOLD


async def test_whoever_reads_in_between_has_a_mailbox(
    sent: database.Pool, tmp_path: Path
) -> None:
    await came(sent, tmp_path, (FULL, path(blast=1)), (FULL, path(blast=2)))
    await given.rows(
        sent,
        "INSERT INTO engagement (subscriber_id, blast_id, opened_at, last_opened_at)"
        " VALUES (1, 4, $1, $1)",
        NOON + timedelta(hours=1),
    )

    await came(sent, tmp_path, (FULL, path(blast=3)), at=NOON + timedelta(hours=2))

    assert await given.rows(sent, SUPPRESSED) == []


async def test_a_complaint_suppresses_on_every_topic_and_an_opt_out_on_one(
    sent: database.Pool, tmp_path: Path
) -> None:
    opted = sample("arf-opt-out")
    await came(sent, tmp_path, (opted, path(blast=1)))
    assert await given.rows(sent, SUPPRESSED) == [
        ("ada@example.test", "fundraising", "unsubscribe", False)
    ]

    await came(sent, tmp_path, (ABUSE, path(blast=2)))

    assert await given.rows(sent, f"{SUPPRESSED}, reason DESC") == [
        ("ada@example.test", "fundraising", "unsubscribe", False),
        ("ada@example.test", None, "complaint", False),
    ]
    assert await given.rows(sent, ROLLUP) == [
        (1, 1, "gmail", 0, 0, 1), (2, 1, "gmail", 0, 1, 0),
    ]  # fmt: skip


async def test_a_vacation_and_a_delay_leave_nothing(
    sent: database.Pool, tmp_path: Path
) -> None:
    names = ("vacation-rfc3834", "postfix-delay-full", "arf-not-spam")
    count = await came(sent, tmp_path, *((sample(one), path()) for one in names))

    assert count == 0
    assert (await reviewing.listed(sent)).waiting == 0


async def test_only_our_addresses_are_known(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        assert reader.knows(path())
        assert reader.knows(f"<{path().upper()}>")
        assert reader.knows("Postmaster@bounce.example.org")
        assert reader.knows("FBL@example.org")
        assert not reader.knows(path(ring=OTHERS))
        assert not reader.knows(path().replace("bounce.", "other."))
        assert not reader.knows("team@bounce.example.org")


# ── Folders ─────────────────────────────────────────────────────────────────


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    folder = tmp_path / "maildir"
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    for at in range(5):
        raw = f"Delivered-To: {path()}\n".encode() + GONE.replace(
            b"Message-ID: <", b"Message-ID: <%d" % at
        )
        (folder / "new" / f"{at}.host").write_bytes(raw)
    return folder


async def test_a_maildir_is_emptied_into_the_spool(
    sent: database.Pool, maildir: Path, tmp_path: Path
) -> None:
    async with reading(tmp_path / "spool") as reader:
        count = await returning.empty(reader, maildir)
    loaded = await recording.drain(sent, tmp_path / "spool")

    assert (count, loaded) == (5, 5)
    assert list((maildir / "new").iterdir()) == []


async def test_what_cannot_be_kept_stays_in_its_folder(
    maildir: Path, tmp_path: Path
) -> None:
    kept: list[Event] = []

    async def keep(one: Event) -> None:
        if len(kept) == 2:
            raise errors.Unavailable("disk full")
        kept.append(one)

    async with reading(tmp_path / "spool") as reader:
        reader.keep = keep
        with pytest.raises(errors.Unavailable):
            await returning.empty(reader, maildir)

    assert len(kept) == 2
    assert len(list((maildir / "new").iterdir())) == 3


# ── What a person says ──────────────────────────────────────────────────────


async def test_a_person_settles_what_nobody_could_read(
    sent: database.Pool, tmp_path: Path
) -> None:
    await came(sent, tmp_path, (sample("a-person-writes"), path()))
    (one,) = (await reviewing.listed(sent)).found

    await reviewing.settle(
        sent, one.number, Verdict.UNSUBSCRIBE, address="Ada@Example.test", actor="bo"
    )

    assert (await reviewing.show(sent, one.number)).settled_by == "bo"
    assert (await reviewing.show(sent, one.number)).raw == sample("a-person-writes")
    assert (await reviewing.listed(sent)).waiting == 0
    assert len((await reviewing.listed(sent, everything=True)).found) == 1
    assert await given.rows(sent, SUPPRESSED) == [
        ("ada@example.test", None, "unsubscribe", False)
    ]
    with pytest.raises(errors.Conflict, match="settled as unsubscribe by bo"):
        await reviewing.settle(sent, one.number, Verdict.NOTHING, actor="cy")
    with pytest.raises(errors.NotFound):
        await reviewing.settle(sent, 99, Verdict.NOTHING, actor="cy")


# ── While a blast goes out ──────────────────────────────────────────────────


async def test_the_return_path_of_each_message_is_its_own(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    people = await given.people(db, ["ada@example.org", "bo@example.org"])
    name = await given.approved(db)
    await launching.launch(db, name)
    house = replace(workshop.setup.house, bounce_domain="bounce.example.org")
    shop = Workshop(db, replace(workshop.setup, house=house))

    async with shop.working():
        received = await sink.received(2)

    found = {verp.unseal(house.ring, one.sender or "") for one in received}
    assert {token.subscriber for token in found if token} == set(people)
    assert all(one.message["From"].endswith("<team@example.org>") for one in received)
    assert all("bounce.example.org" not in one.content.decode() for one in received)
    assert all("x-pm-metadata-mailer" not in one.message for one in received)


async def test_a_relay_that_hands_back_metadata_is_given_the_token(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    (ada,) = await given.people(db, ["ada@example.org"])
    await launching.launch(db, await given.approved(db))
    house = replace(
        workshop.setup.house, bounce_domain="bounce.example.org", has_metadata=True
    )
    shop = Workshop(db, replace(workshop.setup, house=house))

    async with shop.working():
        (received,) = await sink.received(1)

    token = verp.unseal(house.ring, received.message["X-PM-Metadata-mailer"])
    assert token is not None
    assert token.subscriber == ada


LIMITS = Limits(bounces=0.1, complaints=0.003, unsubscribes=0.03, least=1000)


@pytest.fixture
async def going_out(db: database.Pool) -> str:
    await given.people(db, ["ada@example.org"])
    name = await given.approved(db)
    await launching.launch(db, name)
    return name


async def tally(db: database.Pool, name: str, provider: str, **counts: int) -> None:
    columns = ", ".join(counts)
    values = ", ".join(str(value) for value in counts.values())
    await given.rows(
        db,
        f"INSERT INTO rollup (blast_id, variant, provider, hour, {columns})"
        f" SELECT id, 1, $2, now(), {values} FROM blast WHERE name = $1",
        name,
        provider,
    )


def observer(db: database.Pool) -> alarming.Observer:
    more: dict[str, Any] = {"stalled": timedelta(hours=1), "failed": 0.05}
    return alarming.Observer(pool=db, fingerprint="test", limits=LIMITS, **more)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"sent": 2000, "complaints": 7},
         "7 of 2,000 messages at yahoo were called spam (0.35%; the limit is 0.3%)"),
        ({"sent": 1700, "bounced": 150, "in_doubt": 150, "returned": 51},
         "201 of 2,000 messages at yahoo bounced (10%; the limit is 10%)"),
        ({"sent": 1000, "unsubscribes": 31},
         "31 of 1,000 messages at yahoo made people unsubscribe "
         "(3.1%; the limit is 3%)"),
    ],
)  # fmt: skip
async def test_too_much_at_one_provider_pauses_the_blast_and_says_why(
    db: database.Pool, going_out: str, counts: dict[str, int], text: str
) -> None:
    await tally(db, going_out, "gmail", sent=100_000)
    await tally(db, going_out, "yahoo", **counts)

    await observer(db).look()

    assert await given.rows(db, "SELECT state::text, reason FROM blast") == [
        ("paused", text)
    ]
    (alarm,) = await known(db, Kind.UNWANTED)
    assert (alarm.subject, alarm.detail) == (f"blast {going_out}", f"{text}.")


@pytest.mark.parametrize(
    "counts",
    [
        {"sent": 999, "complaints": 999}, {"sent": 2000, "complaints": 6},
        {"sent": 1000, "returned": 100}, {"sent": 1000, "unsubscribes": 30},
    ],
)  # fmt: skip
async def test_what_is_within_the_limits_goes_on(
    db: database.Pool, going_out: str, counts: dict[str, int]
) -> None:
    await tally(db, going_out, "yahoo", **counts)

    await observer(db).look()

    assert await given.rows(db, "SELECT state::text FROM blast") == [("sending",)]


async def test_a_little_at_each_provider_is_too_much_for_all(
    db: database.Pool, going_out: str
) -> None:
    for at in range(10):
        await tally(db, going_out, f"p{at}", sent=500, complaints=2)

    await observer(db).look()

    (alarm,) = await known(db, Kind.UNWANTED)
    assert alarm.detail.startswith("20 of 5,000 messages were called spam (0.4%")


async def test_a_person_who_resumes_lets_pass_what_was_and_no_more(
    db: database.Pool, going_out: str
) -> None:
    await tally(db, going_out, "yahoo", sent=2000, complaints=10)
    await observer(db).look()
    await given.rows(
        db, "UPDATE blast SET state = resumes, resumes = NULL, reason = NULL"
    )

    await observer(db).look()
    assert not (await known(db, Kind.UNWANTED))[0].is_open
    await given.rows(
        db, "UPDATE rollup SET sent = sent + 1000, complaints = complaints + 3"
        " WHERE provider = 'yahoo'",
    )  # fmt: skip
    await observer(db).look()
    assert await given.rows(db, "SELECT state::text FROM blast") == [("sending",)]
    await given.rows(
        db, "UPDATE rollup SET complaints = complaints + 1 WHERE provider = 'yahoo'"
    )
    await observer(db).look()

    (state, reason) = (await given.rows(db, "SELECT state::text, reason FROM blast"))[0]
    assert state == "paused"
    assert "4 of 1,000 messages" in reason
