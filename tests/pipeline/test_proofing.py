from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dkim as dkimpy
import pytest

from mailer import settings
from mailer.core.signature import Algorithm
from mailer.pipeline import scheduling
from mailer.pipeline.scheduling import Desk
from mailer.store import database
from tests import given, signers
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


async def test_preflight_signs_a_message_and_verifies_it(desk: Desk) -> None:
    found = await scheduling.preflight(desk, "hello", now=NOON)
    assert findings(found)["signature"] == (True, False)


async def test_a_blast_that_nothing_signs_passes_with_a_warning(desk: Desk) -> None:
    unsigned = replace(desk, settings=replace(desk.settings, signers=()))
    found = await scheduling.preflight(unsigned, "hello", now=NOON)
    assert findings(found)["signature"] == (False, True)
    assert found.has_passed
