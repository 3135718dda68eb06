"""What workers raise, and what is seen of blasts: alarms of the sending itself."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from mailer import settings, spool
from mailer.core.alarm import Alarm, Kind
from mailer.core.delivery import BlastId
from mailer.pipeline import alarming, closing, launching, scheduling, sending
from mailer.pipeline.sending import journal
from mailer.pipeline.sending.complaints import Complaints
from mailer.store import alarms, database
from tests import given
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

ADA, BO = "ada@example.org", "bo@example.org"
CLOSED = "550 5.7.26 This mail is unauthenticated, which poses a security risk"


async def known(db: database.Pool, kind: Kind) -> list[Alarm]:
    """Return the alarms of a kind there ever were."""
    async with database.connection(db) as tx:
        found = await alarms.everything(tx, limit=100)
    return [one for one in found if one.kind is kind]


async def raised(db: database.Pool, kind: Kind) -> Alarm:
    """Wait for an alarm."""

    async def question() -> bool:
        return bool(await known(db, kind))

    await until(question)
    (found,) = await known(db, kind)
    return found


async def test_a_provider_that_refuses_us_as_not_authentic_wakes_somebody(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA], provider="google")
    await launching.launch(db, await given.approved(db))
    sink.script(ADA, CLOSED)

    async with workshop.working():
        found = await raised(db, Kind.LANE)

    assert (found.subject, found.detail) == ("lane google/sink", f"It said: {CLOSED}")
    assert await given.rows(db, "SELECT provider FROM lane WHERE mode = 'halted'") == [
        ("google",)
    ]


async def test_being_told_to_slow_down_wakes_nobody(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA], provider="google")
    await launching.launch(db, await given.approved(db))
    said = "421 4.7.28 an unusual rate of mail from your IP address"
    sink.script(ADA, said, said, "250 2.1.5 OK")

    async def is_cut() -> bool:
        cut = "SELECT 1 FROM transition WHERE cause = 'congestion'"
        return bool(await given.rows(db, cut))

    async with workshop.working():
        await until(is_cut)

    assert await known(db, Kind.LANE) == []


async def test_a_worker_that_is_too_old_says_so_and_a_new_one_takes_it_back(
    db: database.Pool, workshop: Workshop
) -> None:
    newer = (
        "INSERT INTO migration (number, name, hash, breaking)"
        " VALUES (9999, 'later', 'x', true) RETURNING 1"
    )
    await given.rows(db, newer)
    async with asyncio.timeout(10):
        await sending.work(db, workshop.setup, stop=asyncio.Event())
    (found,) = await known(db, Kind.OUTDATED)
    assert found.is_open

    await given.rows(db, "DELETE FROM migration WHERE number = 9999 RETURNING 1")

    async def question() -> bool:
        return not (await known(db, Kind.OUTDATED))[0].is_open

    async with workshop.working():
        await until(question)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("capsys")  # what is logged goes into no file
async def test_a_full_disk_under_the_journal_wakes_somebody_and_sends_nothing(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA])
    name = await given.approved(db)
    await launching.launch(db, name)

    with files_of_at_most(30):
        async with workshop.working():
            found = await raised(db, Kind.JOURNAL)
            assert sink.accepted == []

    assert "File too large" in found.detail
    assert found.is_open

    async with workshop.working():  # room again
        await sink.received(1)
    assert not (await known(db, Kind.JOURNAL))[0].is_open


async def test_a_journal_is_told_of_once_and_well_after_ten_quiet_seconds(
    db: database.Pool,
) -> None:
    seconds = [100.0]
    complaints = Complaints(pool=db, host="host-1", clock=lambda: seconds[0])
    for _ in range(5):
        await complaints.journal(OSError(28, "No space left on device"))
        await complaints.journal(None)
        seconds[0] += 5
    (found,) = await known(db, Kind.JOURNAL)
    assert (found.count, found.is_open) == (1, True)
    assert found.detail == "It said: No space left on device."
    seconds[0] += 6
    await complaints.journal(None)

    assert not (await known(db, Kind.JOURNAL))[0].is_open


async def test_a_worker_that_died_leaves_a_warning_of_what_is_in_doubt(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await given.people(db, [ADA, BO])
    name = await given.approved(db)
    await launching.launch(db, name)
    blast = BlastId((await given.rows(db, "SELECT id FROM blast"))[0][0])
    with spool.writing(workshop.setup.journals / "worker-dead") as writer:
        started = journal.Started(blast, 1, 1, given.NOON)
        writer.write(journal.write_started(started))

    async with workshop.working():
        found = await raised(db, Kind.IN_DOUBT)

    assert (found.subject, found.is_open) == (f"blast {name}", True)
    assert found.detail == (
        "A worker was lost; of 1 of its messages no answer was seen. In all 1 of the "
        "blast are in doubt. They are not sent again by themselves."
    )


# ── What is seen of blasts ──────────────────────────────────────────────────


def observer(db: database.Pool, **changes: object) -> alarming.Observer:
    known = {"stalled": timedelta(minutes=5), "failed": 0.05, "fingerprint": "test"}
    return alarming.Observer(pool=db, **(known | changes))  # type: ignore[arg-type]  # as given


async def later(db: database.Pool, **span: float) -> None:
    """Move the clock of SQL on."""
    statement = "UPDATE clock SET shift = shift + $1::interval"
    await given.rows(db, statement, timedelta(**span))


async def sent(db: database.Pool, count: int) -> None:
    """Have so many more of the blast sent."""
    await given.rows(db, "UPDATE rollup SET sent = sent + $1", count)


async def launched(db: database.Pool, people: int = 3) -> str:
    await given.people(db, [f"p{one}@example.org" for one in range(people)])
    name = await given.approved(db)
    await launching.launch(db, name)
    return name


async def test_a_blast_that_stands_still_for_five_minutes_is_told_with_what_is_known(
    db: database.Pool,
) -> None:
    name = await launched(db)
    look = observer(db)
    await look.look()
    await later(db, minutes=4)
    await sent(db, 1)
    await look.look()
    await later(db, minutes=4, seconds=50)
    await look.look()
    assert await known(db, Kind.STALLED) == []
    await later(db, seconds=10)
    await look.look()
    await look.look()

    (found,) = await known(db, Kind.STALLED)
    assert (found.subject, found.count) == (f"blast {name}", 1)
    assert found.detail.startswith(
        "Nothing was sent for 5 minutes: 2 of 3 are owed a message. Nothing goes out "
        "after "
    )
    assert found.detail.endswith(
        " in 23 hours. No worker is running: start `mailer run` or `mailer work`."
    )
    await sent(db, 1)
    await look.look()
    (found,) = await known(db, Kind.STALLED)
    assert found.cleared_why == "it goes on"


async def test_what_is_due_later_or_has_nothing_left_does_not_stand_still(
    db: database.Pool,
) -> None:
    await launched(db)
    look = observer(db)
    await given.rows(db, "UPDATE chunk SET start_at = mailer_now() + interval '1 day'")
    for _ in range(3):
        await look.look()
        await later(db, minutes=30)
    await given.rows(db, "UPDATE chunk SET state = 'done'")
    for _ in range(3):
        await look.look()
        await later(db, minutes=30)

    assert await known(db, Kind.STALLED) == []


async def test_a_blast_that_does_not_begin_is_told_too(db: database.Pool) -> None:
    await given.approved(db)
    look = observer(db)
    await look.look()
    await later(db, minutes=5)
    await look.look()

    (found,) = await known(db, Kind.STALLED)
    assert found.detail.startswith("It should have begun 5 minutes ago or more.")


async def test_lanes_that_are_closed_for_a_while_are_given_more_time(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db)
    async with database.transaction(db) as tx:
        await sending.entry.prepare(tx, workshop.setup)
    held = "UPDATE lane SET not_before = now() + interval '2 hours', reason = '421 no'"
    await given.rows(db, held)
    look = observer(db)
    await look.look()
    await later(db, minutes=29)
    await look.look()
    assert await known(db, Kind.STALLED) == []
    await later(db, minutes=1)
    await look.look()

    (found,) = await known(db, Kind.STALLED)
    assert "Closed: other until " in found.detail
    assert "UTC (421 no)." in found.detail


async def test_a_lane_that_is_slow_because_it_should_be_is_given_its_time(
    db: database.Pool, workshop: Workshop
) -> None:
    await launched(db)
    async with database.transaction(db) as tx:
        await sending.entry.prepare(tx, workshop.setup)
    await given.rows(db, "UPDATE lane SET rate = 1.0 / 600")
    look = observer(db)
    await look.look()
    await later(db, minutes=29)
    await look.look()
    assert await known(db, Kind.STALLED) == []
    await later(db, minutes=1)
    await look.look()
    assert len(await known(db, Kind.STALLED)) == 1


@pytest.mark.parametrize("end", ["pause", "cancel"])
async def test_a_blast_that_a_person_stops_stands_still_no_longer(
    db: database.Pool, end: str
) -> None:
    name = await launched(db)
    look = observer(db)
    await look.look()
    await later(db, minutes=5)
    await look.look()
    state = {"pause": "'paused', resumes = 'sending'", "cancel": "'cancelled'"}[end]
    await given.rows(db, f"UPDATE blast SET state = {state} WHERE name = $1", name)
    await look.look()

    (found,) = await known(db, Kind.STALLED)
    assert (
        found.cleared_why
        == {
            "pause": "a person paused it",
            "cancel": "it is cancelled; 3 were not sent",
        }[end]
    )


async def fail(db: database.Pool, *, failed: int, sent: int) -> None:
    statement = "UPDATE rollup SET failed = failed + $1, sent = sent + $2"
    await given.rows(db, statement, failed, sent)


async def state(db: database.Pool) -> tuple[str, str | None]:
    ((found, reason),) = await given.rows(db, "SELECT state::text, reason FROM blast")
    return found, reason


async def test_a_blast_of_which_too_much_fails_is_paused_with_its_reason(
    db: database.Pool,
) -> None:
    name = await launched(db)
    await given.rows(db, "UPDATE rollup SET recipients = 1000")
    look = observer(db)
    await fail(db, failed=50, sent=49)
    await look.look()
    assert (await state(db))[0] == "sending"
    await fail(db, failed=0, sent=1)
    await look.look()
    await look.look()

    text = "50 of 100 messages (50%) could not be written; 900 are owed one"
    assert await state(db) == ("paused", text)
    (found,) = await known(db, Kind.FAILING)
    assert (found.subject, found.detail, found.count) == (
        f"blast {name}",
        f"{text}.",
        1,
    )
    audited = "SELECT actor, action, why FROM audit ORDER BY id DESC LIMIT 1"
    assert await given.rows(db, audited) == [("scheduler", "pause", text)]


async def test_who_resumes_it_excuses_what_has_failed_and_no_more(
    db: database.Pool,
) -> None:
    await launched(db)
    await given.rows(db, "UPDATE rollup SET recipients = 1000")
    look = observer(db)
    await fail(db, failed=50, sent=50)
    await look.look()
    resumed = "UPDATE blast SET state = 'sending', resumes = NULL"
    await given.rows(db, resumed)
    await look.look()
    assert (await state(db))[0] == "sending"
    (found,) = await known(db, Kind.FAILING)
    assert found.cleared_why == "it is sending again"
    await fail(db, failed=5, sent=95)
    await look.look()
    assert (await state(db))[0] == "sending"
    await fail(db, failed=1, sent=0)
    await look.look()

    assert (await state(db))[0] == "paused"


async def test_other_blasts_go_on_when_one_is_paused(db: database.Pool) -> None:
    await launched(db)
    other = await given.approved(db, given.content(name="other"))
    await launching.launch(db, other)
    await given.rows(
        db,
        "UPDATE rollup SET failed = 100, recipients = 200 FROM blast b"
        " WHERE b.id = blast_id AND b.name = 'eoq'",
    )
    await observer(db).look()

    states = "SELECT name, state::text FROM blast ORDER BY name"
    assert await given.rows(db, states) == [("eoq", "paused"), ("other", "sending")]


async def test_a_doubt_that_a_person_settled_is_no_alarm_any_more(
    db: database.Pool,
) -> None:
    name = await launched(db)
    blast = BlastId((await given.rows(db, "SELECT id FROM blast"))[0][0])
    await given.rows(db, "UPDATE rollup SET in_doubt = 2")
    async with database.transaction(db) as tx:
        await alarms.doubt(tx, blast, 2)
    look = observer(db)
    await look.look()
    assert (await known(db, Kind.IN_DOUBT))[0].is_open
    await given.rows(db, "UPDATE blast SET state = 'done' WHERE name = $1", name)
    await given.rows(db, "UPDATE rollup SET in_doubt = 0, sent = 2")
    await look.look()

    assert (await known(db, Kind.IN_DOUBT))[0].cleared_why == (
        "none is in doubt any more"
    )


async def test_a_blast_that_expires_says_how_many_missed_out(
    db: database.Pool,
) -> None:
    name = await launched(db)
    await sent(db, 1)
    await later(db, days=2)
    await closing.close_due(db)
    (alarm,) = await known(db, Kind.MISSED)

    audit = "SELECT why FROM audit WHERE action = 'expire'"
    assert alarm.detail == "2 of 3 people were not sent to in time."
    assert await given.rows(db, audit) == [
        ("expires_at has come: 2 of 3 people were not sent to in time",)
    ]

    # One of them was in DATA, and was taken.
    await given.rows(
        db,
        "UPDATE rollup SET sent = sent + 1, expired = expired - 1"
        " WHERE expired > 0 RETURNING 1",
    )
    await observer(db).look()
    (alarm,) = await known(db, Kind.MISSED)
    assert (alarm.detail, alarm.count, alarm.subject) == (
        "1 of 3 people were not sent to in time.", 1, f"blast {name}"
    )  # fmt: skip


async def test_a_blast_that_expires_with_nobody_left_is_no_alarm(
    db: database.Pool,
) -> None:
    await launched(db)
    await sent(db, 3)
    await later(db, days=2)
    await closing.close_due(db)

    assert await given.rows(db, "SELECT state::text FROM blast") == [("expired",)]
    assert await known(db, Kind.MISSED) == []


async def test_a_blast_that_expires_before_it_began_is_told(db: database.Pool) -> None:
    await given.approved(db)
    await later(db, days=2)
    await closing.close_due(db)

    (alarm,) = await known(db, Kind.MISSED)
    assert alarm.detail == "It never began: nobody got it."


async def test_a_worker_with_other_settings_is_told_until_it_is_gone(
    db: database.Pool,
) -> None:
    entered = (
        "INSERT INTO process (id, kind, host, boot, pid, fingerprint)"
        " VALUES ('w', 'worker', 'host-2', 'b', 1, 'strange')"
    )
    await given.rows(db, entered)
    look = observer(db)
    await look.look()
    await look.look()
    (found,) = await known(db, Kind.SETTINGS)
    assert (found.subject, found.is_open, found.count) == ("host-2", True, 1)
    await given.rows(db, "UPDATE process SET stopped_at = now()")
    await look.look()

    assert not (await known(db, Kind.SETTINGS))[0].is_open


async def test_who_watches_a_blast_sees_what_is_open(
    db: database.Pool, workspace: Path
) -> None:
    name = await launched(db)
    async with database.transaction(db) as tx:
        await alarms.raise_(tx, Kind.LANE, "lane google/relay", "550")
    desk = scheduling.Desk(
        pool=db,
        root=workspace,
        settings=settings.load(workspace),
        actor="ada",
    )

    seen = await scheduling.watch(desk, name)

    assert [one.subject for one in seen.alarms] == ["lane google/relay"]
