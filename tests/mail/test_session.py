from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailer.core.bounce import Answered
from mailer.core.delivery import Reply, Stage
from mailer.mail import smtp
from mailer.mail.session import Session
from tests import sink as sinks

ADA, BO, CY = "ada@example.net", "bo@example.net", "cy@example.net"
DATA = b"Subject: Hi\r\n\r\n.dot\r\n..dots\r\n.\r\nend\r\n"


@pytest.fixture(params=["pipelining", "plain"])
async def sink(request: pytest.FixtureRequest) -> AsyncIterator[sinks.Sink]:
    async with sinks.serving() as served:
        if request.param == "plain":
            served.extensions = ("mx.test", "8BITMIME")
        yield served


@pytest.fixture
async def session(sink: sinks.Sink) -> AsyncIterator[Session]:
    opened = await smtp.connect(sink.source)
    yield opened
    await opened.quit()


async def nothing() -> None:
    pass


async def send(session: Session, to: str = ADA, data: bytes = DATA) -> object:
    return await session.send("team@example.org", to, data, before_body=nothing)


def answered(stage: Stage, code: int, text: str) -> Answered:
    return Answered(stage=stage, reply=Reply(code=code, text=text))


OK = answered(Stage.DOT, 250, "2.0.0 Queued")


async def test_a_message_arrives_as_it_was_written(
    sink: sinks.Sink, session: Session
) -> None:
    assert await send(session) == OK
    assert sink.accepted == [
        sinks.Received(sender="team@example.org", recipient=ADA, content=DATA)
    ]


async def test_the_journal_is_asked_between_354_and_the_body(
    sink: sinks.Sink, session: Session
) -> None:
    seen = []

    async def note() -> None:
        seen.append((list(sink.heard), sink.dots))

    await session.send("team@example.org", ADA, DATA, before_body=note)
    assert seen == [([ADA], 0)]


@pytest.mark.parametrize(
    ("at", "stage"), [("rcpt", Stage.RCPT), ("data", Stage.DATA), ("dot", Stage.DOT)]
)
@pytest.mark.parametrize("reply", ["452 4.2.2 Full", "550 5.1.1 Unknown"])
async def test_a_refusal_is_returned_with_its_stage_and_the_next_message_goes_out(
    sink: sinks.Sink, session: Session, at: str, stage: Stage, reply: str
) -> None:
    sink.script(ADA, reply, at=at)
    code, _, text = reply.partition(" ")
    assert await send(session) == answered(stage, int(code), text)
    assert await send(session, BO) == OK
    assert [one.recipient for one in sink.accepted] == [BO]


async def test_a_refused_sender_ends_only_its_message(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script("team@example.org", "550 5.1.8 Who?", "250 OK", at="mail")
    assert await send(session) == answered(Stage.MAIL, 550, "5.1.8 Who?")
    assert await send(session, BO) == OK
