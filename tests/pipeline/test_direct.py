"""What becomes of messages on the lanes of a source that sends directly."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mailer.core.provider import Kind, Provider
from mailer.mail import sink as servers
from mailer.mail.resolver import Resolver
from mailer.mail.route import Router
from mailer.mail.sink import Act, Then
from mailer.pipeline import launching
from mailer.settings import dns
from mailer.store import chunks, database
from tests import given, nameserver, tools
from tests.nameserver import Zone
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

ZONE: Zone = {
    "one.test MX": ["10 mx.test."],
    "two.test MX": ["10 mx.test."],
    "other.test MX": ["10 else.test."],
    "null.test MX": ["0 ."],
    "both.test MX": ["10 mx.test.", "20 gone.test."],  # gone.test has no address
    "mx.test A": ["127.0.0.2"],
    "else.test A": ["127.0.0.3"],
}
LEDGER = (
    "SELECT s.email, d.state::text, d.attempts::int, d.reply"
    " FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id ORDER BY s.email"
)


@asynccontextmanager
async def directly(
    workshop: Workshop, *, silent: str = ""
) -> AsyncIterator[tuple[Workshop, Sink, Sink]]:
    """Have workers that send directly to mx.test and else.test, on two sinks."""
    first, second = Sink(), Sink()
    with nameserver.serving(ZONE, silent=silent) as server:
        async with (
            servers.serving(first, address="127.0.0.2") as port,
            servers.serving(second, address="127.0.0.3", port=port),
        ):
            asked = Resolver([dns.server(server)], is_caching=False)
            made = workshop.with_source(
                kind=Kind.DIRECT, port=port, helo="mail.test", connections=1
            )
            router = Router(asked, inside=["127.0.0.0/8"])
            setup = replace(made.setup, router=router)
            yield Workshop(made.db, setup), first, second


async def tried(db: database.Pool, count: int) -> None:
    """Wait until *count* deliveries were tried."""

    async def question() -> bool:
        found = await given.rows(
            db, "SELECT count(*) FROM delivery WHERE state <> 'owed'"
        )
        return bool(found == [(count,)])

    await until(question)


async def launched(db: database.Pool, *people: str, provider: str = "other") -> None:
    await given.people(db, people, provider=provider)
    await launching.launch(db, await given.approved(db))


async def test_domains_with_the_same_hosts_share_a_connection(
    db: database.Pool, workshop: Workshop
) -> None:
    people = [f"p{n:02}@{domain}.test" for n in range(10) for domain in ("one", "two")]
    await launched(db, *people)

    async with directly(workshop) as (direct, first, _second), direct.working():
        await tried(db, 20)

    assert sorted(one.recipient for one in first.accepted) == sorted(people)
    assert first.connections == 1


async def test_another_domain_gets_another_connection(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db, "ada@one.test", "bo@other.test", "cy@one.test")

    async with directly(workshop) as (direct, first, second), direct.working():
        await tried(db, 3)

    assert {one.recipient for one in first.accepted} == {"ada@one.test", "cy@one.test"}
    assert [one.recipient for one in second.accepted] == ["bo@other.test"]
    assert max(first.most_open, second.most_open) == 1


@pytest.mark.parametrize(
    ("at", "trouble", "said"),
    [
        ("mail", "451 4.7.1 Come back later", "451 4.7.1 Come back later"),
        ("connect", Act("421 4.3.2 Busy", Then.CLOSE), "450 4.4.1 mx.test[127.0.0.2]"),
        ("mail", "421 4.3.2 Shutting down", "421 4.3.2 Shutting down"),
        ("mail", Act(then=Then.RESET), "450 4.4.2 3 times before the dot"),
    ],
)
async def test_a_domain_in_trouble_waits_and_the_others_do_not(
    db: database.Pool, workshop: Workshop, at: str, trouble: str | Act, said: str
) -> None:
    await launched(db, "ada@one.test", "bo@other.test", "cy@two.test")
    slow = workshop.with_source(retry=(timedelta(hours=1),))

    async with directly(slow) as (direct, first, second):
        sender = "team@example.org" if at == "mail" else ""
        first.script(sender, trouble, at=at)
        async with direct.working():
            await tried(db, 3)

    assert [one.recipient for one in second.accepted] == ["bo@other.test"]
    found = await given.rows(db, LEDGER)
    assert [row[:3] for row in found] == [
        ("ada@one.test", "deferred", 1),
        ("bo@other.test", "sent", 1),
        ("cy@two.test", "deferred", 1),
    ]
    assert found[0][3].startswith(said)
    assert found[2][3].startswith(said)
    if at == "connect":  # what is known for a minute is not tried again
        assert first.connections == 1
    held = "SELECT count(*) FROM lane WHERE not_before > mailer_now()"
    assert await given.rows(db, held) == [(0,)]


async def test_a_large_provider_that_takes_no_connection_closes_its_lane(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db, "ada@one.test", "bo@two.test", provider="google")

    async with directly(workshop) as (direct, first, _second):
        first.script("", Act("421 4.7.0 Slow down", Then.CLOSE), at="connect")
        async with direct.working():
            await until(lambda: is_held(db))

    assert await given.rows(
        db, "SELECT DISTINCT state::text, attempts FROM delivery"
    ) == [("owed", 0)]


async def is_held(db: database.Pool) -> bool:
    """Tell whether the lane is closed, and says who said what."""
    found = await given.rows(
        db, "SELECT reason FROM lane WHERE not_before > mailer_now()"
    )
    return bool(found) and "mx.test[127.0.0.2]" in found[0][0]


async def test_while_the_dns_is_silent_everything_stays_owed(
    db: database.Pool, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.mail.resolver.LIFETIME", 0.05)
    monkeypatch.setattr("mailer.mail.route.SILENT", 0)
    await launched(db, "ada@one.test", "bo@two.test")
    zone = " ".join(name.split()[0] for name in ZONE)

    async with (
        directly(workshop, silent=zone) as (direct, _first, _second),
        direct.working(),
    ):
        await until(lambda: was_given_back(db))

    assert await given.rows(
        db, "SELECT DISTINCT state::text, attempts FROM delivery"
    ) == [("owed", 0)]


async def was_given_back(db: database.Pool) -> bool:
    """Tell whether a chunk was leased and waits again."""
    found = await given.rows(
        db, "SELECT 1 FROM chunk WHERE state = 'ready' AND epoch > 1"
    )
    return bool(found)


# ── Whose lane ──────────────────────────────────────────────────────────────

CHUNKS = (
    "SELECT provider, attempt::int, state::text,"
    " cardinality(COALESCE(seqs, ARRAY[first_seq, last_seq])) FROM chunk"
    " ORDER BY provider, id"
)


def knowing(workshop: Workshop, *providers: Provider) -> Workshop:
    """Return workers that know *providers* by their MX hosts."""
    return Workshop(workshop.db, replace(workshop.setup, providers=providers))


async def test_the_live_mx_decides_in_whose_lane_a_message_goes(
    db: database.Pool, workshop: Workshop
) -> None:
    people = ["ada@one.test", "bo@other.test", "cy@two.test", "di@null.test"]
    await launched(db, *people)
    google = Provider(name="google", mx=("mx.test",))

    async with (
        directly(knowing(workshop, google)) as (direct, first, second),
        direct.working(2),
    ):
        await tried(db, 4)

    assert sorted(one.recipient for one in first.accepted) == [people[0], people[2]]
    assert [one.recipient for one in second.accepted] == [people[1]]
    found = await given.rows(db, LEDGER)
    assert [row[1:3] for row in found] == [
        ("sent", 1), ("sent", 1), ("sent", 1), ("bounced", 1),
    ]  # fmt: skip
    assert await given.rows(db, CHUNKS) == [
        ("google", 0, "done", 2), ("other", 0, "done", 2),
    ]  # fmt: skip


async def test_what_moved_away_from_a_large_provider_leaves_its_lane(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db, "ada@one.test", provider="google")
    google = Provider(name="google", mx=(".google.test",))

    async with (
        directly(knowing(workshop, google)) as (direct, first, _second),
        direct.working(),
    ):
        await tried(db, 1)

    assert len(first.accepted) == 1
    assert await given.rows(db, CHUNKS) == [
        ("google", 0, "done", 0), ("other", 0, "done", 1),
    ]  # fmt: skip


async def test_a_domain_that_mixes_providers_belongs_to_none(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db, "ada@both.test", provider="google")
    google = Provider(name="google", mx=("mx.test",))

    async with (
        directly(knowing(workshop, google)) as (direct, first, _second),
        direct.working(),
    ):
        await tried(db, 1)

    assert [one.recipient for one in first.accepted] == ["ada@both.test"]
    assert await given.rows(db, CHUNKS) == [
        ("google", 0, "done", 0), ("other", 0, "done", 1),
    ]  # fmt: skip


async def test_only_the_owner_of_a_chunk_can_hand_on_what_is_in_it(
    db: database.Pool,
) -> None:
    await launched(db, "ada@one.test", "bo@two.test", "cy@other.test")
    ((id, blast),) = await given.rows(
        db,
        "UPDATE chunk SET state = 'leased', owner = 'w', epoch = 1,"
        " started_through = 1, lease_until = clock_timestamp() + interval '9 s'"
        " RETURNING id, blast_id",
    )
    chunk = chunks.Chunk(
        id=id, blast_id=blast, round=1, provider="other", pool="default", attempt=0,
        first_seq=1, last_seq=3, seqs=None, epoch=1, started_through=1,
    )  # fmt: skip

    async def handed(owner: str) -> chunks.Chunk | None:
        async with database.transaction(db) as tx:
            return await chunks.divert(
                tx, chunk, owner=owner, left=[3], moved={"google": [1, 2]},
                start_at=given.NOON,
            )  # fmt: skip

    look = "SELECT provider, first_seq, last_seq, seqs, started_through FROM chunk"
    assert await handed("somebody") is None
    assert await given.rows(db, look) == [("other", 1, 3, None, 1)]
    left = await handed("w")
    assert left is not None
    assert left.seqs == (3,)
    # What may have been started is among what is left: nothing of it is told twice.
    assert await given.rows(db, f"{look} ORDER BY id") == [
        ("other", 3, 3, [3], 3),
        ("google", 1, 2, [1, 2], None),
    ]


# ── What is asked of servers ────────────────────────────────────────────────


@contextmanager
def postfix() -> Iterator[tuple[int, Path]]:
    """Run Postfix's smtp-sink on a port; it writes each message into a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = tools.smtp_sink()
    assert found is not None
    asked = [found, *(["-u", "nobody"] if os.getuid() == 0 else [])]
    with TemporaryDirectory() as name:  # of pytest's own, nobody sees the inside
        folder = Path(name)
        folder.chmod(0o777)
        asked += ["-d", f"{folder}/%M.", f"127.0.0.1:{port}", "10"]
        child = subprocess.Popen(asked)
        try:
            _wait_for(port)
            yield port, folder
        finally:
            child.terminate()
            child.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return


@pytest.mark.smtp_sink
async def test_a_server_that_offers_dsn_is_told_what_comes_back(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db, "ada+news@one.test")

    with postfix() as (port, folder):
        async with workshop.with_source(port=port).working():
            await tried(db, 1)
        (arrived,) = folder.glob("*.*")
        text = arrived.read_text("utf-8")

    lines = dict(line.partition(": ")[::2] for line in text.splitlines())
    id = lines["Message-ID"].strip("<>")
    assert lines["X-Mail-Args"] == f"<team@example.org> RET=HDRS ENVID={id}"
    assert lines["X-Rcpt-Args"] == (
        "<ada+news@one.test> NOTIFY=FAILURE ORCPT=rfc822;ada+2Bnews@one.test"
    )
