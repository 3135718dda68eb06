import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import dkim as dkimpy
import pytest

from mailer import errors, spool
from mailer.core.delivery import BlastId, State
from mailer.core.provider import Provider, Rate
from mailer.mail.sink import Act, Then
from mailer.pipeline import closing, launching, resending, scheduling, sending
from mailer.pipeline.sending import journal
from mailer.settings import Settings
from mailer.store import alarms, database
from mailer.store.deliveries import Result
from tests import given, signers
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

ADA, BO, CY = "ada@example.org", "bo@example.org", "cy@example.org"


async def settled(db: database.Pool, count: int) -> None:
    """Wait until *count* deliveries have their end."""

    async def question() -> bool:
        found = await given.rows(
            db, "SELECT count(*) FROM delivery WHERE state NOT IN ('owed', 'deferred')"
        )
        return bool(found == [(count,)])

    await until(question)


async def test_everyone_gets_one_message_and_the_ledger_says_so(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    addresses = sorted(f"p{number:03}@example.org" for number in range(120))
    await given.people(db, addresses, first_name="Ada", provider="google")
    name = await given.approved(db)
    await launching.launch(db, name)

    async with workshop.working(2):
        await settled(db, 120)
    await closing.close_due(db)

    assert sorted(one.recipient for one in sink.accepted) == addresses
    assert await given.states(db, name) == dict.fromkeys(addresses, "sent")
    assert await given.rows(db, "SELECT DISTINCT state::text FROM chunk") == [("done",)]
    assert await given.rows(db, "SELECT state::text FROM blast") == [("done",)]
    counted = (
        "SELECT provider, sum(recipients)::int, sum(sent)::int FROM rollup"
        " GROUP BY provider"
    )
    assert await given.rows(db, counted) == [("google", 120, 120)]
    assert await given.rows(db, "SELECT count(*) FROM slot") == [(0,)]
    message = sink.accepted[0].message
    assert message["Subject"] == "Hours left"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


async def test_nobody_waits_for_long_behind_a_silent_connection(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    everybody = [f"p{number:02}@example.org" for number in range(20)]
    await given.people(db, everybody, provider="google")
    name = await given.approved(db)
    await launching.launch(db, name)
    first = "SELECT address FROM delivery d JOIN subscriber s ON s.id = subscriber_id"
    [(slow,)] = await given.rows(db, f"{first} WHERE seq = 1")
    sink.script(slow, Act("250 2.0.0 Queued", delay=6.0), at="dot")
    impatient = Workshop(db, replace(workshop.setup, patience=0.5))

    async with impatient.with_source(connections=2).working():
        await settled(db, 18)  # the next one's envelope went out with the body
        meanwhile = await given.states(db, name)
        await settled(db, 20)

    assert meanwhile[slow] == "owed"
    assert await given.states(db, name) == dict.fromkeys(everybody, "sent")
    assert sorted(one.recipient for one in sink.accepted) == everybody


async def test_a_body_and_the_next_envelope_leave_in_one_write(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [f"p{number}@example.org" for number in range(20)])
    name = await given.approved(db)
    await launching.launch(db, name)

    async with workshop.with_source(connections=1).working():
        await settled(db, 20)

    assert sink.early >= 10  # but for the first of a chunk and pauses for composing
    assert len(sink.accepted) == 20


async def test_a_connection_carries_no_more_than_its_lane_allows(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [f"p{number}@example.org" for number in range(20)])
    name = await given.approved(db)
    await launching.launch(db, name)

    async with workshop.with_source(connections=1, messages=3).working():
        await settled(db, 20)

    assert sink.connections >= 7
    assert len(sink.accepted) == 20


async def test_what_arrives_is_signed_by_the_domain_of_its_from(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    key, other = signers.key(), signers.key("example.com")
    house = replace(workshop.setup.house, signers=(other, key))
    signing = Workshop(db, replace(workshop.setup, house=house))
    await given.people(db, [ADA])
    await launching.launch(db, await given.approved(db))
    sink.script(ADA, "452 4.2.2 Mailbox full", "250 2.1.5 OK")

    async with signing.working():
        await settled(db, 1)

    (arrived,) = sink.accepted
    assert arrived.content.count(b"DKIM-Signature:") == 1
    assert dkimpy.verify(
        arrived.content, dnsfunc=lambda name, timeout=0: key.record.encode()
    )


async def test_a_deferred_message_is_the_same_when_it_is_tried_again(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)
    sink.script(ADA, "452 4.2.2 Mailbox full", "250 2.1.5 OK")
    seen: list[tuple[str, str]] = []

    async with workshop.working():
        await settled(db, 1)

    seen = [(one.message["Message-ID"], one.message["Date"]) for one in sink.accepted]
    assert sink.heard == [ADA, ADA]
    assert len(seen) == 1
    state = "SELECT state::text, attempts, dated_at IS NOT NULL FROM delivery"
    assert await given.rows(db, state) == [("sent", 2, True)]
    deferrals = "SELECT sum(sent)::int, sum(deferrals)::int FROM rollup"
    assert await given.rows(db, deferrals) == [(1, 1)]


async def test_who_is_greylisted_is_left_alone_for_as_long_as_the_rule_says(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    await launching.launch(db, await given.approved(db))
    sink.script(ADA, "450 4.7.1 Greylisted, see http://example.net/")
    waits = (
        "SELECT start_at > mailer_now() + interval '14 min',"
        " start_at < mailer_now() + interval '19 min' FROM chunk WHERE attempt = 1"
    )

    async def deferred() -> bool:
        return bool(await given.rows(db, waits))

    async with workshop.working():
        await until(deferred)

    assert await given.rows(db, waits) == [(True, True)]


async def test_an_unknown_user_bounces_and_is_not_mailed_again(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO])
    name = await given.approved(db)
    await launching.launch(db, name)
    sink.script(ADA, "550 5.1.1 No such user")

    async with workshop.working():
        await settled(db, 2)

    assert await given.states(db, name) == {ADA: "bounced", BO: "sent"}
    kept = "SELECT address, reason::text, note FROM suppression"
    assert await given.rows(db, kept) == [(ADA, "bounce", "550 5.1.1 No such user")]


async def test_a_policy_refusal_suppresses_nobody(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)
    sink.script(ADA, "554 5.7.1 We do not like your words")

    async with workshop.working():
        await settled(db, 1)

    assert await given.states(db, name) == {ADA: "bounced"}
    assert await given.rows(db, "SELECT address FROM suppression") == []


async def test_a_message_whose_reply_was_lost_is_in_doubt_and_never_sent_again(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)
    sink.script(ADA, Act("", then=Then.RESET), at="dot")

    async with workshop.working():
        await settled(db, 1)
    async with workshop.working():
        await closing.close_due(db)

    assert await given.states(db, name) == {ADA: "in_doubt"}
    assert sink.dots == 1
    counted = "SELECT sum(sent)::int, sum(in_doubt)::int FROM rollup"
    assert await given.rows(db, counted) == [(0, 1)]
    assert await given.rows(db, "SELECT state::text FROM blast") == [("done",)]


@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_a_connection_lost_before_the_dot_costs_no_attempt(
    db: database.Pool, sink: Sink, workshop: Workshop, stage: str
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)
    usual = {"rcpt": "250 2.1.5 OK", "data": "354 Go on"}[stage]
    sink.script(ADA, Act(then=Then.RESET), Act(usual), at=stage)

    async with workshop.working():
        await settled(db, 1)

    assert sink.connections == 2
    assert await given.states(db, name) == {ADA: "sent"}
    assert await given.rows(db, "SELECT attempts FROM delivery") == [(1,)]


async def test_a_server_that_hangs_up_on_everybody_closes_its_lane_and_loses_nobody(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO])
    name = await given.approved(db)
    await launching.launch(db, name)
    for address in (ADA, BO):
        sink.script(address, Act(then=Then.RESET))

    async def held() -> bool:
        return bool(await given.rows(db, "SELECT 1 FROM lane WHERE not_before > now()"))

    async with workshop.working():
        await until(held)

    assert await given.states(db, name) == {ADA: "owed", BO: "owed"}
    lane = "SELECT reason FROM lane WHERE not_before > now() AND provider = 'other'"
    assert await given.rows(db, lane) == [("closed 3 times before the dot",)]
    assert await given.rows(db, "SELECT attempts FROM delivery") == [(0,), (0,)]


async def test_a_message_that_ends_every_connection_stands_in_nobodys_way(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO, CY])
    name = await given.approved(db)
    await launching.launch(db, name)
    sink.script(ADA, "421 4.3.0 Not this one", at="dot")

    async def deferred() -> bool:
        return bool(
            await given.rows(db, "SELECT 1 FROM delivery WHERE state = 'deferred'")
        )

    async with workshop.with_source(connections=1).working():
        await settled(db, 2)
        await until(deferred)

    states = await given.states(db, name)
    assert states == {ADA: "deferred", BO: "sent", CY: "sent"}
    attempts = "SELECT attempts FROM delivery WHERE state = 'deferred'"
    assert await given.rows(db, attempts) == [(1,)]
    assert await given.rows(db, "SELECT 1 FROM lane WHERE not_before > now()") == []


async def test_a_message_that_was_throttled_at_the_dot_leaves_no_doubt_in_the_journal(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA], provider="yahoo")
    name = await given.approved(db)
    await launching.launch(db, name)
    sink.script(ADA, "421 4.7.0 [TSS04] Temporarily deferred", at="dot")
    setup = replace(workshop.setup, providers=(Provider(name="yahoo"),))

    async def held() -> bool:
        return bool(await given.rows(db, "SELECT 1 FROM lane WHERE not_before > now()"))

    async with Workshop(db, setup).working():
        await until(held)
        records = [
            record.payload
            for folder in setup.journals.iterdir()
            for record in spool.read(folder)
        ]

    assert sink.dots == 2  # one alone may be a stray
    assert await given.states(db, name) == {ADA: "owed"}
    assert records
    assert journal.replay(records) == []


async def test_a_person_whose_message_cannot_be_made_fails_alone(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA], first_name="Ada")
    await given.people(db, [BO])
    arm = given.variant("only", html="<p>{{ first_name }}</p>", text="x")
    name = await given.approved(db, given.content(variants=[arm]))
    await launching.launch(db, name)

    async with workshop.working():
        await settled(db, 2)

    assert await given.states(db, name) == {ADA: "sent", BO: "failed"}
    reply = "SELECT reply FROM delivery WHERE state = 'failed'"
    assert "first_name" in (await given.rows(db, reply))[0][0]


async def test_a_message_names_the_deadline_that_was_approved(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    arm = given.variant("only", subject="{{ deadline | date('%-d %B, %H:%M', 'UTC') }}")
    deadline = "2026-12-31T23:59:00-05:00"
    body = given.content(variants=[arm], expires_at=deadline)
    name = await given.approved(db, body)
    await launching.launch(db, name)

    async with workshop.working():
        await settled(db, 1)

    assert sink.accepted[0].message["Subject"] == "1 January, 04:59"


async def test_who_is_suppressed_after_the_launch_gets_nothing(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO, CY])
    name = await given.approved(db)
    await launching.launch(db, name)
    await given.suppression(db, ADA, topic="fundraising")
    await given.suppression(db, BO, topic="events")

    async with workshop.working():
        await settled(db, 3)

    assert await given.states(db, name) == {ADA: "suppressed", BO: "sent", CY: "sent"}
    assert ADA not in sink.heard


async def test_a_suppression_reaches_a_chunk_that_is_being_sent(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO])
    body = given.content(variants=[given.variant("a"), given.variant("b")])
    name = await given.approved(db, body)
    await launching.launch(db, name)
    order = await given.rows(
        db,
        "SELECT s.email FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id"
        " ORDER BY seq",
    )
    (first,), (second,) = order
    sink.script(first, Act("250 2.0.0 Queued", delay=3.0), at="dot")

    async with workshop.with_source(connections=1).working():
        await until(_begun(db, sink))
        await given.suppression(db, second)
        await settled(db, 2)

    assert await given.states(db, name) == {first: "sent", second: "suppressed"}


def _begun(db: database.Pool, sink: Sink) -> Callable[[], Awaitable[bool]]:
    """Ask whether a first message has arrived, a round trip at a time."""

    async def question() -> bool:
        await given.rows(db, "SELECT 1")
        return bool(sink.dots)

    return question


def _seen_by_worker(db: database.Pool) -> Callable[[], Awaitable[bool]]:
    """Wait until the worker has looked twice more: it looks on every beat."""
    looks: list[object] = []

    async def question() -> bool:
        found = await given.rows(
            db,
            "SELECT query_start FROM pg_stat_activity WHERE query LIKE '%FROM change%'"
            " AND pid <> pg_backend_pid() AND datname = current_database()",
        )
        if found and found[0][0] not in looks:
            looks.append(found[0][0])
        return len(looks) > 2

    return question


async def test_a_paused_blast_starts_nothing_and_goes_on_where_it_was(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO])
    name = await given.approved(db)
    await launching.launch(db, name)
    pause = "UPDATE blast SET state = 'paused', resumes = 'sending' RETURNING 1"
    await given.rows(db, pause)

    async with workshop.working():
        await until(_seen_by_worker(db))
    assert sink.heard == []
    resume = "UPDATE blast SET state = 'sending', resumes = NULL RETURNING 1"
    await given.rows(db, resume)
    async with workshop.working():
        await settled(db, 2)

    assert await given.states(db, name) == {ADA: "sent", BO: "sent"}


async def test_what_is_late_is_not_sent_but_expires(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)
    await given.rows(db, "UPDATE clock SET shift = interval '2 days' RETURNING 1")

    async with workshop.working():
        await until(_seen_by_worker(db))
    await closing.close_due(db)

    assert sink.heard == []
    assert await given.states(db, name) == {ADA: "expired"}
    assert await given.rows(db, "SELECT state::text FROM blast") == [("expired",)]
    assert await given.rows(db, "SELECT sum(expired)::int FROM rollup") == [(1,)]


async def test_what_a_dead_worker_wrote_is_settled_and_the_rest_goes_out(
    db: database.Pool, sink: Sink, workshop: Workshop, tmp_path: Path
) -> None:
    await given.people(db, [ADA, BO, CY])
    name = await given.approved(db)
    await launching.launch(db, name)
    people = await given.rows(
        db,
        "SELECT s.email, d.seq FROM delivery d"
        " JOIN subscriber s ON s.id = d.subscriber_id ORDER BY d.seq",
    )
    (accepted, one), (doubted, two), (unsent, _) = people
    await given.rows(
        db,
        "UPDATE chunk SET state = 'leased', owner = 'worker-dead',"
        " lease_until = now() RETURNING 1",
    )
    blast = BlastId((await given.rows(db, "SELECT id FROM blast"))[0][0])
    with spool.writing(workshop.setup.journals / "worker-dead") as writer:
        writer.write(journal.write_opened(journal.Opened(journal.boot())))
        for seq in (one, two):
            started = journal.Started(blast, seq, 1, given.NOON)
            writer.write(journal.write_started(started))
        result = Result(seq=one, state=State.SENT, attempts=1, at=given.NOON, code=250)
        writer.write(journal.write_ended(journal.Ended(blast, result)))

    async with workshop.working():
        await settled(db, 3)

    assert await given.states(db, name) == {
        accepted: "sent",
        doubted: "in_doubt",
        unsent: "sent",
    }
    assert sink.heard == [unsent]


async def test_a_lane_is_never_faster_than_its_rate(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [f"p{number}@example.org" for number in range(40)])
    name = await given.approved(db)
    await launching.launch(db, name)
    slow = workshop.with_source(rate=Rate.parse("10/s"))
    loop = asyncio.get_running_loop()

    started = loop.time()
    async with slow.working(2):
        await settled(db, 40)
    took = loop.time() - started

    assert took >= (40 - slow.setup.sources[0].rate.burst) / 10  # type: ignore[union-attr]  # set above


@pytest.mark.parametrize("workers", [1, 3])
async def test_workers_together_open_no_more_connections_than_the_lane_bears(
    db: database.Pool, sink: Sink, workshop: Workshop, workers: int
) -> None:
    await given.people(db, [f"p{number:03}@example.org" for number in range(300)])
    name = await given.approved(db)
    await launching.launch(db, name)

    async with workshop.with_source(connections=2).working(workers):
        await settled(db, 300)

    assert sink.most_open <= 2
    assert len({one.recipient for one in sink.accepted}) == len(sink.accepted) == 300


async def test_a_living_worker_takes_over_from_one_that_died(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)
    lease = (
        "UPDATE chunk SET state = 'leased', owner = 'worker-dead', lease_until = now()"
    )
    await given.rows(db, f"{lease} RETURNING 1")

    async with workshop.working():
        await until(_seen_by_worker(db))
        with spool.writing(workshop.setup.journals / "worker-dead") as writer:
            writer.write(journal.write_opened(journal.Opened(journal.boot())))
        await settled(db, 1)

    assert await given.states(db, name) == {ADA: "sent"}


async def doubted(
    db: database.Pool, sink: Sink, workshop: Workshop, *, rule: str = "hold"
) -> tuple[str, scheduling.Desk]:
    """Return a blast that is done but for one message in doubt, and a desk."""
    await given.people(db, [ADA, BO])
    name = await given.approved(db, given.content(in_doubt=rule))
    await launching.launch(db, name)
    sink.script(ADA, Act("", then=Then.RESET), Act("250 2.0.0 Queued"), at="dot")
    async with workshop.working():
        await settled(db, 2)
    await closing.close_due(db)
    nothing = cast("Settings", None)  # deciding asks no settings
    desk = scheduling.Desk(pool=db, root=Path(), settings=nothing, actor="grace")
    return name, desk


async def test_what_is_in_doubt_is_sent_again_when_a_person_says_so(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, desk = await doubted(db, sink, workshop)

    assert await scheduling.resend(desk, name) == 1
    async with workshop.working():
        await settled(db, 2)
    await closing.close_due(db)

    assert await given.states(db, name) == {ADA: "sent", BO: "sent"}
    assert sink.dots == 3
    counted = "SELECT sum(sent)::int, sum(in_doubt)::int FROM rollup"
    assert await given.rows(db, counted) == [(2, 0)]
    assert await given.rows(db, "SELECT state::text FROM blast") == [("done",)]
    said = "SELECT actor, action FROM audit WHERE actor = 'grace' ORDER BY id"
    assert await given.rows(db, said) == [("grace", "resend"), ("grace", "resend")]


async def test_what_is_in_doubt_waits_for_a_person_unless_the_blast_says_otherwise(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, _ = await doubted(db, sink, workshop)
    assert await resending.resend_due(db, wait=timedelta(0)) == 0
    assert await given.states(db, name) == {ADA: "in_doubt", BO: "sent"}


async def test_a_blast_may_send_again_what_is_in_doubt_after_a_while_and_once(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, _ = await doubted(db, sink, workshop, rule="resend")
    assert await resending.resend_due(db) == 0  # an hour has not passed
    sink.script(ADA, Act("", then=Then.RESET), at="dot")

    assert await resending.resend_due(db, wait=timedelta(0)) == 1
    async with workshop.working():
        await settled(db, 2)
    await closing.close_due(db)

    assert await resending.resend_due(db, wait=timedelta(0)) == 0
    assert await given.states(db, name) == {ADA: "in_doubt", BO: "sent"}
    assert sink.dots == 3
    counted = "SELECT sum(sent)::int, sum(in_doubt)::int FROM rollup"
    assert await given.rows(db, counted) == [(1, 1)]
    marked = "SELECT count(*) FROM delivery WHERE resent_at IS NOT NULL"
    assert await given.rows(db, marked) == [(1,)]


async def test_what_is_in_doubt_is_sent_when_a_person_says_that_it_arrived(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, desk = await doubted(db, sink, workshop)

    assert await scheduling.mark_sent(desk, name, emails=[ADA]) == 1

    assert await given.states(db, name) == {ADA: "sent", BO: "sent"}
    assert sink.dots == 2
    counted = "SELECT sum(sent)::int, sum(in_doubt)::int FROM rollup"
    assert await given.rows(db, counted) == [(2, 0)]
    with pytest.raises(errors.NotFound, match="is not in doubt"):
        await scheduling.mark_sent(desk, name, emails=[BO])


async def test_an_address_in_doubt_is_found_however_it_is_written(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, desk = await doubted(db, sink, workshop)

    (one,) = await scheduling.in_doubt(desk, name, emails=["ADA@Example.ORG"])
    assert (one.email, one.resend_at) == (ADA, None)
    with pytest.raises(errors.NotFound, match=f"{BO} is not in doubt"):
        await scheduling.in_doubt(desk, name, emails=[ADA, BO])
    assert await scheduling.mark_sent(desk, name, emails=["ADA@example.org"]) == 1

    assert await given.states(db, name) == {ADA: "sent", BO: "sent"}


async def test_a_doubt_says_when_it_is_sent_again(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, desk = await doubted(db, sink, workshop, rule="resend")
    blast = BlastId((await given.rows(db, "SELECT id FROM blast"))[0][0])

    (one,) = await scheduling.in_doubt(desk, name)
    async with database.transaction(db) as tx:
        await alarms.doubt(tx, blast, 1)
        (alarm,) = await alarms.open_(tx)

    assert one.settled_at is not None
    assert one.resend_at == one.settled_at + timedelta(hours=1)
    assert "In all 1 of the blast are in doubt. Each is sent again by" in alarm.detail
    assert "themselves" not in alarm.did


async def test_a_worker_stops_when_a_later_release_has_changed_the_schema(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    stop = asyncio.Event()
    newer = (
        "INSERT INTO migration (number, name, hash, breaking)"
        " VALUES (9999, 'later', 'x', true) RETURNING 1"
    )
    await given.rows(db, newer)
    await launching.launch(db, name)

    async with asyncio.timeout(10):
        await sending.work(db, workshop.setup, stop=stop)

    assert sink.heard == []
    assert stop.is_set()


async def test_who_leaves_while_a_slow_lane_makes_them_wait_gets_nothing(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO])
    name = await given.approved(db)
    await launching.launch(db, name)
    order = await given.rows(
        db,
        "SELECT s.email FROM delivery d JOIN subscriber s ON s.id = d.subscriber_id"
        " ORDER BY seq",
    )
    (first,), (second,) = order
    slow = workshop.with_source(rate=Rate.parse("20/min"), connections=1)

    async with slow.working():
        await until(_begun(db, sink))
        await given.suppression(db, second)
        await settled(db, 2)

    assert await given.states(db, name) == {first: "sent", second: "suppressed"}
