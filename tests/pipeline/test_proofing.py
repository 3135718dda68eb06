from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dkim as dkimpy
import pytest

from mailer import errors, settings
from mailer.core import alarm
from mailer.core.provider import Kind, Source
from mailer.core.signature import Algorithm
from mailer.mail import sink as servers
from mailer.pipeline import scheduling
from mailer.pipeline.scheduling import Desk
from mailer.pipeline.scheduling.finding import Finding
from mailer.settings.dns import Dns
from mailer.store import alarms, database
from tests import given, nameserver, signers
from tests.sink import Sink

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
KEYS = (signers.key(), signers.key(selector="e", algorithm=Algorithm.ED25519))


@pytest.fixture
async def desk(db: database.Pool, workspace: Path, sink: Sink) -> Desk:
    """A desk with a blast to everybody, who is Ada, and a source that is the sink."""
    await given.people(db, ["ada@example.org"], first_name="Ada")
    chosen = replace(settings.load(workspace), sources=(sink.source,), signers=KEYS)
    desk = Desk(pool=db, root=workspace, settings=chosen, actor="bo")
    (workspace / "blasts/hello.toml").write_text(
        'name = "hello"\ntopic = "fundraising"\nsegment = "everyone"\n'
        'template = "appeal"\nfrom = "Example <team@example.org>"\n'
        '[[variant]]\nname = "hours"\nsubject = "Hours left"\n',
        "utf-8",
    )
    await scheduling.new(desk, "hello")
    return desk


def findings(found: scheduling.Preflight) -> Mapping[str, tuple[bool, bool]]:
    return {one.name: (one.is_ok, one.is_warning) for one in found.findings}


async def test_a_proof_is_signed_as_the_blast_will_be(desk: Desk, sink: Sink) -> None:
    await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)

    (arrived,) = sink.accepted
    records = {f"{key.host}.".encode(): key.record.encode() for key in KEYS}
    message = dkimpy.DKIM(arrived.content)
    assert [
        message.verify(idx=index, dnsfunc=lambda name, timeout=0: records[name])
        for index in range(2)
    ] == [True, True]


def directly(desk: Desk, *, server: str, **source: Any) -> Desk:
    """Return a desk whose only source sends straight to the hosts of domains."""
    made = Source(name="own", kind=Kind.DIRECT, helo="mail.example.org", **source)
    asked = Dns(servers=(server,), inside=("127.0.0.0/8",))
    return replace(desk, settings=replace(desk.settings, sources=(made,), dns=asked))


async def test_a_proof_goes_straight_to_the_hosts_of_each_domain(desk: Desk) -> None:
    first, second = Sink(), Sink()
    zone = {
        "one.test MX": ["10 mx.one.test."],
        "mx.one.test A": ["127.0.0.2"],
        "two.test A": ["127.0.0.3"],
    }
    with nameserver.serving(zone) as server:
        async with (
            servers.serving(first, address="127.0.0.2") as port,
            servers.serving(second, address="127.0.0.3", port=port),
        ):
            direct = directly(desk, server=server, port=port)
            to = ["bo@one.test", "cy@two.test", "di@one.test"]
            await scheduling.proof(direct, "hello", to=to, now=NOON)

    assert [one.recipient for one in first.accepted] == ["bo@one.test", "di@one.test"]
    assert [one.recipient for one in second.accepted] == ["cy@two.test"]
    assert first.connections == 1


async def test_a_proof_to_a_domain_without_mail_is_told(desk: Desk) -> None:
    with (
        nameserver.serving({"null.test MX": ["0 ."]}) as server,
        pytest.raises(errors.Unavailable, match=r"null\.test: RCPT: 556 5\.1\.10"),
    ):
        await scheduling.proof(
            directly(desk, server=server), "hello", to=["bo@null.test"], now=NOON
        )


@pytest.mark.parametrize(
    ("address", "seen"), [("127.0.0.9", (True, False)), ("203.0.113.5", (False, True))]
)
async def test_preflight_looks_whether_a_direct_source_sends_from_here(
    desk: Desk, address: str, seen: tuple[bool, bool]
) -> None:
    direct = directly(desk, server="127.0.0.1:9", address=address)
    found = await scheduling.preflight(direct, "hello", now=NOON)
    assert findings(found)["source own"] == seen


async def test_preflight_says_what_a_relay_does_not_promise(
    desk: Desk, sink: Sink
) -> None:
    async def told() -> str:
        found = await scheduling.preflight(desk, "hello", now=NOON)
        return next(one.text for one in found.findings if one.name == "source sink")

    place = f"127.0.0.1:{sink.port} answers"
    assert await told() == f"{place}; what waits there may arrive after the blast's end"
    sink.extensions = (*sink.extensions, "DELIVERBY")
    assert await told() == place


async def test_preflight_signs_a_message_and_verifies_it(desk: Desk) -> None:
    found = await scheduling.preflight(desk, "hello", now=NOON)
    assert findings(found)["signature"] == (True, False)


async def test_a_blast_that_nothing_signs_passes_with_a_warning(desk: Desk) -> None:
    unsigned = replace(desk, settings=replace(desk.settings, signers=()))
    found = await scheduling.preflight(unsigned, "hello", now=NOON)
    assert findings(found)["signature"] == (False, True)
    assert found.has_passed


async def test_preflight_does_not_pass_while_nothing_can_be_sent(desk: Desk) -> None:
    async with database.transaction(desk.pool) as tx:
        number = await alarms.raise_(tx, alarm.Kind.JOURNAL, "mail-1", "No space left")
        await alarms.raise_(tx, alarm.Kind.LANE, "lane google/relay", "550 5.7.26")
        await alarms.raise_(tx, alarm.Kind.SETTINGS, "mail-1", "a warning")
    failed = await finding(desk, "alarms")
    async with database.transaction(desk.pool) as tx:
        await alarms.take(tx, number, who="ada", note=None)
    taken = await finding(desk, "alarms")

    assert (failed.is_ok, failed.is_warning) == (False, False)
    assert failed.text.splitlines()[:2] == [
        "open: the journal of mail-1 cannot be written: disk full or broken "
        f"(mailer alarm take {number})",
        "open: lane google/relay is closed: the provider refuses our mail as not "
        f"authentic or not wanted (mailer alarm take {number + 1})",
    ]
    assert (taken.is_ok, taken.is_warning) == (False, True)


async def test_preflight_looks_at_the_disk_of_the_journal(desk: Desk) -> None:
    (desk.root / ".mailer/journal").symlink_to("/proc")  # another disk, without room

    found = await finding(desk, "disk")

    assert (found.is_ok, found.is_warning) == (False, False)
    assert " GB free, 0.0 GB free in .mailer/journal, about 0.5 GB wanted" in found.text


async def finding(desk: Desk, name: str) -> Finding:
    """Return what a preflight says of one thing."""
    found = await scheduling.preflight(desk, "hello", now=NOON)
    (one,) = (one for one in found.findings if one.name == name)
    return one
