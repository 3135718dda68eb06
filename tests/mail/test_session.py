from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mailer import errors
from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Reply, Stage
from mailer.mail import smtp
from mailer.mail.session import Limits, Session
from tests import sink as sinks
from tests.sink import Act, Then

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


async def send(session: Session, to: str = ADA, data: bytes = DATA) -> Answered | Lost:
    return await session.send("team@example.org", to, data)


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

    def note() -> None:
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


# ── Connections that end ────────────────────────────────────────────────────


@pytest.mark.parametrize("then", [Then.DROP, Then.RESET])
@pytest.mark.parametrize(
    ("at", "stage"), [("rcpt", Stage.RCPT), ("data", Stage.DATA), ("dot", Stage.DOT)]
)
async def test_a_lost_connection_tells_how_far_the_message_came(
    sink: sinks.Sink, session: Session, at: str, stage: Stage, then: Then
) -> None:
    sink.script(ADA, Act(then=then), at=at)
    end = await send(session)
    assert isinstance(end, Lost)
    assert end.stage is stage
    assert not session.is_open


async def test_a_loss_at_mail_is_one_at_mail(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script("team@example.org", Act(then=Then.DROP), at="mail")
    end = await send(session)
    assert isinstance(end, Lost)
    assert end.stage is Stage.MAIL


async def test_an_answer_before_the_reset_counts(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, Act("250 2.0.0 Queued", Then.CLOSE), at="dot")
    assert await send(session) == OK


async def test_a_body_that_could_not_leave_us_is_safe_to_send_again(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, Act(then=Then.RESET), at="body")
    more_than_the_kernel_buffers = (b"z" * 998 + b"\r\n") * 32_000
    end = await send(session, data=more_than_the_kernel_buffers)
    assert isinstance(end, Lost)
    assert end.stage is Stage.BODY


@pytest.mark.parametrize(
    ("at", "stage"), [("rcpt", Stage.RCPT), ("data", Stage.DATA), ("dot", Stage.DOT)]
)
async def test_421_ends_the_message_with_its_reply_and_the_connection(
    sink: sinks.Sink, session: Session, at: str, stage: Stage
) -> None:
    sink.script(ADA, "421 4.3.2 Closing", at=at)
    assert await send(session) == answered(stage, 421, "4.3.2 Closing")
    assert not session.is_open
    assert isinstance(await send(session, BO), Lost)


SHORT = Limits(mail=0.05, rcpt=0.05, data=0.05, body=0.05, dot=0.1, quit=0.05)


@pytest.mark.parametrize(
    ("at", "stage"), [("rcpt", Stage.RCPT), ("data", Stage.DATA), ("dot", Stage.DOT)]
)
async def test_a_server_that_is_silent_is_left_after_the_time_of_the_stage(
    sink: sinks.Sink, at: str, stage: Stage
) -> None:
    sink.script(ADA, Act(then=Then.HOLD), at=at)
    session = await smtp.connect(sink.source, limits=SHORT)
    assert await send(session) == Lost(stage=stage, reason="timed out")
    await session.quit()


async def test_quit_does_not_wait_for_a_server_that_is_silent(sink: sinks.Sink) -> None:
    sink.script(ADA, Act("250 2.0.0 Queued", Then.HOLD), at="dot")
    session = await smtp.connect(sink.source, limits=SHORT)
    assert await send(session) == OK
    async with asyncio.timeout(1):
        await session.quit()
    assert not session.is_open


# ── Servers that are out of step ────────────────────────────────────────────


@pytest.mark.parametrize("reply", ["250 OK\n250 ok", "250 OK\n421 bye"])
async def test_a_reply_to_nothing_closes_before_it_is_taken_for_another(
    sink: sinks.Sink, session: Session, reply: str
) -> None:
    sink.script(ADA, reply, at="dot")
    assert await send(session) == answered(Stage.DOT, 250, "OK")
    end = await send(session, BO)
    assert isinstance(end, Lost)
    assert end.stage < Stage.BODY
    assert BO not in [one.recipient for one in sink.accepted]


async def test_a_reply_after_354_is_never_taken_for_that_to_the_dot(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, "354 Go on\n250 2.0.0 Queued", at="data")
    end = await send(session)
    assert isinstance(end, Lost)
    assert end.stage is Stage.BODY
    assert sink.accepted == []


@pytest.mark.parametrize(
    ("at", "reply", "stage"),
    [("data", "250 OK", Stage.DATA), ("dot", "354 Go on", Stage.DOT),
     ("rcpt", "354 Go on", Stage.RCPT)],
)  # fmt: skip
async def test_a_reply_that_fits_no_stage_loses_the_connection(
    sink: sinks.Sink, session: Session, at: str, reply: str, stage: Stage
) -> None:
    sink.script(ADA, reply, at=at)
    assert await send(session) == Lost(stage=stage, reason=f"out of step: {reply}")


@pytest.mark.parametrize("reply", ["hello", "250 " + "x" * 9000, "250-a\n550 b"])
async def test_what_is_no_reply_loses_the_connection(
    sink: sinks.Sink, session: Session, reply: str
) -> None:
    sink.script(ADA, reply, at="dot")
    end = await send(session)
    assert isinstance(end, Lost)
    assert end.stage is Stage.DOT
    assert len(end.reason) < 200


async def test_what_was_answered_before_the_nonsense_counts(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, "250 2.0.0 Queued\nhello", at="dot")
    assert await send(session) == OK
    assert not session.is_open


async def test_a_reply_may_come_byte_by_byte_and_in_lines(
    sink: sinks.Sink, session: Session
) -> None:
    act = Act("250-2.0.0 Queued\n250-2.0.0 as\n250 2.0.0 12", is_dripping=True)
    sink.script(ADA, act, at="dot")
    assert await send(session) == answered(Stage.DOT, 250, "2.0.0 Queued as 12")
    assert await send(session, BO) == OK


async def test_a_refused_recipient_gets_a_lone_dot_when_data_is_taken(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, "550 5.1.1 Unknown")
    sink.script("", "354 Go on", at="data")
    assert await send(session) == answered(Stage.RCPT, 550, "5.1.1 Unknown")
    assert await send(session, BO) == OK
    assert [one.recipient for one in sink.accepted] == [BO]
    assert sink.connections == 1


# ── Who withdraws ───────────────────────────────────────────────────────────


async def test_a_message_whose_body_may_not_go_is_not_sent(
    sink: sinks.Sink, session: Session
) -> None:
    def refuse() -> None:
        raise errors.Conflict("the lease ran out")

    with pytest.raises(errors.Conflict, match="lease"):
        await session.send("team@example.org", ADA, DATA, before_body=refuse)
    assert not session.is_open
    assert (sink.dots, sink.accepted) == (0, [])


async def test_a_cancel_within_the_envelope_sends_nothing(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, Act("250 2.1.5 OK", delay=0.05))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(send(session))
        await sink.reached(lambda: sink.heard == [ADA])
        task.cancel()
    end = await send(session, BO)
    assert task.cancelled()
    assert ADA not in [one.recipient for one in sink.accepted]
    assert end == OK or (isinstance(end, Lost) and end.stage < Stage.BODY)


async def test_a_cancel_of_one_that_waits_its_turn_leaves_the_others(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, Act("250 2.1.5 OK", delay=0.05))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(send(session))
        second = group.create_task(send(session, BO))
        third = group.create_task(send(session, CY))
        await sink.reached(lambda: sink.heard == [ADA])
        second.cancel()
    assert second.cancelled()
    assert (first.result(), third.result()) == (OK, OK)
    assert [one.recipient for one in sink.accepted] == [ADA, CY]


async def test_a_server_that_will_not_reset_is_left(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, "550 5.1.1 Unknown")
    sink.script("RSET", "451 4.3.0 No", at="other")
    await send(session)
    end = await send(session, BO)
    assert isinstance(end, Lost)
    assert end.reason == "RSET refused: 451 4.3.0 No"
    assert end.stage < Stage.BODY


async def test_a_cancel_after_the_dot_waits_for_the_answer(
    sink: sinks.Sink, session: Session
) -> None:
    ends = []

    async def sending() -> None:
        ends.append(await send(session))
        await asyncio.Event().wait()

    sink.script(ADA, Act("250 2.0.0 Queued", delay=0.05), at="dot")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sending())
        await sink.dotted(1)
        task.cancel()
    assert task.cancelled()
    assert ends == [OK]


async def test_a_time_limit_round_send_ends_as_one(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(ADA, Act("250 2.0.0 Queued", delay=0.1), at="dot")
    ends = []

    async def limited() -> None:
        async with asyncio.timeout(0.05):
            ends.append(await send(session))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await limited()
    assert ends == [OK]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# ── Overlap ─────────────────────────────────────────────────────────────────


async def overlapped(session: Session, people: list[str]) -> dict[str, object]:
    """Send to *people* from two tasks, as a worker does."""
    ends: dict[str, object] = {}
    left = list(people)

    async def feed() -> None:
        while left:
            to = left.pop(0)
            ends[to] = await send(session, to)

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        group.create_task(feed())
    return ends


async def test_two_tasks_share_a_connection_and_each_gets_its_own_answer(
    sink: sinks.Sink, session: Session
) -> None:
    people = [f"p{number}@example.net" for number in range(40)]
    sink.script(people[3], "550 5.1.1 Unknown")
    sink.script(people[5], "451 4.3.0 Later", at="data")
    sink.script(people[7], "552 5.2.2 Full", at="dot")
    sink.script(people[8], "550 5.1.1 Unknown")
    sink.script(people[9], "550 5.1.1 Unknown")
    ends = await overlapped(session, people)
    assert ends == dict.fromkeys(people, OK) | {
        people[3]: answered(Stage.RCPT, 550, "5.1.1 Unknown"),
        people[5]: answered(Stage.DATA, 451, "4.3.0 Later"),
        people[7]: answered(Stage.DOT, 552, "5.2.2 Full"),
        people[8]: answered(Stage.RCPT, 550, "5.1.1 Unknown"),
        people[9]: answered(Stage.RCPT, 550, "5.1.1 Unknown"),
    }
    assert [one.recipient for one in sink.accepted] == [
        one for one in people if ends[one] == OK
    ]


async def test_a_loss_at_the_dot_leaves_the_next_message_safe(
    sink: sinks.Sink, session: Session
) -> None:
    sink.script(BO, Act(then=Then.DROP), at="dot")
    ends = await overlapped(session, [ADA, BO, CY])
    assert ends[ADA] == OK
    stages = {to: end.stage for to, end in ends.items() if isinstance(end, Lost)}
    assert stages[BO] is Stage.DOT
    assert stages[CY] < Stage.BODY


async def test_the_body_leaves_together_with_the_next_envelope() -> None:
    async with sinks.serving() as sink:
        session = await smtp.connect(sink.source)
        sink.script(ADA, Act("250 2.0.0 Queued", delay=0.05), at="dot")
        await overlapped(session, [ADA, BO])
        await session.quit()
        assert sink.early == 1


# ── What is never written ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    "address",
    ["a@b.test>\r\nRCPT TO:<c@d.test", "a@b.test,c@d.test", "a b@c.test", "a@b.test>",
     "a@b.test\n", "<a@b.test>", "", "a", '"a b"@c.test'],
)  # fmt: skip
async def test_an_address_that_could_say_more_is_refused_before_a_byte_is_written(
    sink: sinks.Sink, session: Session, address: str
) -> None:
    with pytest.raises(errors.Invalid, match="no address"):
        await send(session, address)
    assert await send(session) == OK
    assert sink.heard == [ADA]


async def test_the_empty_return_path_is_one(sink: sinks.Sink, session: Session) -> None:
    assert await session.send("", ADA, DATA) == OK
    assert sink.accepted[0].sender == ""


@pytest.mark.parametrize(
    "data", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\r\nMAIL\r\n", b"a\r.\r\n", b"\r\r\n"]
)
async def test_a_message_with_bare_line_ends_is_refused(
    session: Session, data: bytes
) -> None:
    with pytest.raises(errors.Invalid, match="CRLF"):
        await send(session, data=data)


async def test_an_address_beyond_ascii_needs_smtputf8(
    sink: sinks.Sink, session: Session
) -> None:
    end = await send(session, "jürgen@example.net")
    assert isinstance(end, Answered)
    assert (end.stage, end.reply.code) == (Stage.RCPT, 553)
    assert sink.heard == []


async def test_an_address_beyond_ascii_goes_where_smtputf8_is_offered() -> None:
    async with sinks.serving() as sink:
        sink.extensions += ("SMTPUTF8",)
        session = await smtp.connect(sink.source)
        assert await send(session, "jürgen@example.net") == OK
        assert sink.heard == ["jürgen@example.net"]
        await session.quit()


async def test_a_message_that_is_too_large_for_the_server_is_not_offered() -> None:
    async with sinks.serving() as sink:
        sink.extensions = ("mx.test", "SIZE 20")
        session = await smtp.connect(sink.source)
        end = await send(session)
        assert isinstance(end, Answered)
        assert (end.stage, end.reply.code) == (Stage.MAIL, 552)
        await session.quit()
