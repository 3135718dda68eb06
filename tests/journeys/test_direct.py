"""Mail that no relay takes: straight to the hosts of each domain, found by DNS."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailer.mail import sink as servers
from mailer.pipeline import launching
from mailer.store import database
from tests import given, nameserver, sources
from tests.nameserver import Zone
from tests.pipeline.conftest import until
from tests.program import Program
from tests.sink import Sink

ZONE: Zone = {
    "one.test MX": ["10 a.mx.test."],
    "same.test MX": ["10 a.mx.test."],
    "next.test MX": ["10 dead.mx.test.", "20 b.mx.test."],
    "own.test A": ["127.0.0.3"],
    "shut.test MX": ["10 dead.mx.test."],
    "null.test MX": ["0 ."],
    "evil.test MX": ["10 inside.mx.test."],
    "broken.test MX": ["10 a.mx.test."],
    "a.mx.test A": ["127.0.0.2"],
    "b.mx.test A": ["127.0.0.3"],
    "dead.mx.test A": ["127.0.0.4"],
    "inside.mx.test A": ["10.0.0.1"],
    "mail.example.org A": ["127.0.0.9"],
}
SOURCE = """
[dns]
servers = ["{server}"]
inside = ["127.0.0.0/8"]

[source.direct]
kind = "direct"
port = {port}
helo = "mail.example.org"
address = "127.0.0.9"
rate = "unlimited"
retry = ["1h"]
"""
LEDGER = (
    "SELECT s.email, d.state::text, d.attempts::int, d.code::int, d.reply"
    " FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id ORDER BY s.email"
)


@asynccontextmanager
async def playing(a: Sink, b: Sink) -> AsyncIterator[int]:
    """Serve a.mx.test and b.mx.test; nobody is at dead.mx.test."""
    async with (
        servers.serving(a, address="127.0.0.2") as port,
        servers.serving(b, address="127.0.0.3", port=port),
    ):
        yield port


async def test_each_domain_gets_its_mail_at_its_own_host_or_is_told_why_not(
    db: database.Pool, house: Program
) -> None:
    people = [
        f"{who}@{domain}"
        for domain in (
            "one.test", "next.test", "same.test", "own.test", "shut.test", "null.test",
            "gone.test", "evil.test", "broken.test",
        )
        for who in ("ada", "bo")
    ]  # fmt: skip
    await given.people(db, people)
    name = await given.approved(db)
    a, b = Sink(), Sink()
    with nameserver.serving(ZONE, refused="broken.test") as server:
        async with playing(a, b) as port:
            sources.write(house.root, SOURCE.format(server=server, port=port))
            await launching.launch(db, name)
            async with house.running("work"):
                await until(lambda: is_settled(db, len(people)))

    found = {row[0]: row[1:] for row in await given.rows(db, LEDGER)}
    states = {email: row[0] for email, row in found.items()}
    assert {email for email, state in states.items() if state == "sent"} == {
        one.recipient for one in (*a.accepted, *b.accepted)
    }
    assert sorted(one.recipient for one in a.accepted) == [
        "ada@one.test", "ada@same.test", "bo@one.test", "bo@same.test",
    ]  # fmt: skip
    assert sorted(one.recipient for one in b.accepted) == [
        "ada@next.test", "ada@own.test", "bo@next.test", "bo@own.test",
    ]  # fmt: skip
    assert found["ada@null.test"] == (
        "bounced", 1, 556, "556 5.1.10 null.test takes no mail (null MX)",
    )  # fmt: skip
    assert found["ada@gone.test"][:3] == ("bounced", 1, 550)
    assert found["ada@evil.test"][3].startswith("550 5.4.4 no usable MX of evil.test:")
    assert found["bo@broken.test"][:3] == ("deferred", 1, 451)
    assert found["bo@shut.test"][:3] == ("deferred", 1, 450)
    assert "dead.mx.test[127.0.0.4]" in found["bo@shut.test"][3]
    kept = await given.rows(db, "SELECT address, reason::text FROM suppression")
    assert sorted(kept) == [("ada@null.test", "bounce"), ("bo@null.test", "bounce")]
    rollup = "SELECT sum(sent)::int, sum(bounced)::int, sum(deferrals)::int FROM rollup"
    counted = Counter(states.values())
    assert await given.rows(db, rollup) == [
        (counted["sent"], counted["bounced"], counted["deferred"])
    ]
    assert counted == {"sent": 8, "bounced": 6, "deferred": 4}


async def is_settled(db: database.Pool, count: int) -> bool:
    """Tell whether every delivery was tried."""
    found = await given.rows(db, "SELECT count(*) FROM delivery WHERE state <> 'owed'")
    return bool(found == [(count,)])
