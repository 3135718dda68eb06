"""What becomes of the chunks of workers that are gone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from mailer.core.delivery import State, SubscriberId
from mailer.pipeline import closing, launching
from mailer.pipeline.sending import recovery
from mailer.pipeline.sending.leases import LEASE, Leases
from mailer.pipeline.sending.settler import End, Return, Settler
from mailer.store import chunks, database, deliveries, journals
from tests import given
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

LAPSE = "UPDATE chunk SET lease_until = now() WHERE state = 'leased' RETURNING 1"
LATE = (
    "UPDATE chunk SET lease_until = now() - interval '11 minutes'"
    " WHERE state = 'leased' RETURNING 1"
)
CHUNKS = (
    "SELECT state::text, owner, first_seq, last_seq, seqs, lost_at IS NOT NULL"
    " FROM chunk ORDER BY id"
)
DOUBTS = "SELECT COALESCE(sum(in_doubt), 0)::int FROM rollup"


async def launched(db: database.Pool, count: int) -> tuple[str, dict[int, str]]:
    """Launch a blast to so many people; return its name and who has which seq."""
    await given.people(db, [f"p{number:03}@example.org" for number in range(count)])
    name = await given.approved(db)
    await launching.launch(db, name)
    found = await given.rows(
        db,
        "SELECT d.seq, s.email FROM delivery d JOIN subscriber s"
        " ON s.id = d.subscriber_id ORDER BY d.seq",
    )
    return name, dict(found)


async def leased(db: database.Pool, *, owner: str = "gone") -> chunks.Chunk:
    """Lease the first chunk for *owner*, three messages of it to be started."""
    async with database.transaction(db) as tx:
        found = await chunks.lease(
            tx,
            provider="other",
            pool="default",
            owner=owner,
            lease=LEASE,
            window=3,
            standing=await journals.begin(tx, owner),
        )
    assert found is not None
    return found


async def reclaimed(db: database.Pool, *, leases: Leases | None = None) -> None:
    """Look once for what is lost, as the worker `alive`."""
    await recovery.reclaim(db, owner="alive", leases=leases or Leases())


def end(chunk: chunks.Chunk, seq: int, state: State) -> End:
    result = deliveries.Result(seq=seq, state=state, attempts=1, at=given.NOON)
    return End(chunk=chunk, result=result, subscriber_id=SubscriberId(1))


async def test_what_a_lost_worker_cannot_have_started_goes_on_and_the_rest_waits(
    db: database.Pool,
) -> None:
    await launched(db, 10)
    await leased(db)

    await reclaimed(db)
    assert await given.rows(db, CHUNKS) == [("leased", "gone", 1, 10, None, False)]
    await given.rows(db, LAPSE)
    await reclaimed(db)
    await reclaimed(db)

    assert await given.rows(db, CHUNKS) == [
        ("leased", "gone", 1, 3, None, True),
        ("ready", None, 4, 10, None, False),
    ]


async def test_a_retry_chunk_is_cut_at_the_same_place(db: database.Pool) -> None:
    await launched(db, 10)
    await given.rows(
        db, "UPDATE chunk SET seqs = '{1,4,6,7,9}', last_seq = 9 RETURNING 1"
    )
    await leased(db)
    await given.rows(db, LAPSE)

    await reclaimed(db)

    assert await given.rows(db, CHUNKS) == [
        ("leased", "gone", 1, 6, [1, 4, 6], True),
        ("ready", None, 7, 9, [7, 9], False),
    ]


async def test_many_workers_take_back_a_chunk_once(db: database.Pool) -> None:
    await launched(db, 40)
    for _ in range(4):
        await leased(db)
    await given.rows(db, LAPSE)

    async with asyncio.TaskGroup() as workers:
        for _ in range(5):
            workers.create_task(reclaimed(db))

    states = "SELECT state::text, count(*)::int FROM chunk GROUP BY state ORDER BY 1"
    assert await given.rows(db, states) == [("leased", 4), ("ready", 4)]


async def test_what_may_have_been_started_is_in_doubt_when_no_answer_can_come(
    db: database.Pool,
) -> None:
    name, people = await launched(db, 10)
    chunk = await leased(db)
    settler = Settler(pool=db, owner="gone", leases=Leases())
    settler.put(end(chunk, 2, State.SENT))
    await settler.settle()
    await given.rows(db, LATE)

    async with asyncio.TaskGroup() as workers:
        for _ in range(3):
            workers.create_task(reclaimed(db))
    await reclaimed(db)

    expected = dict.fromkeys(people.values(), "owed")
    expected |= {people[1]: "in_doubt", people[2]: "sent", people[3]: "in_doubt"}
    assert await given.states(db, name) == expected
    assert await given.rows(db, DOUBTS) == [(2,)]
    assert await given.rows(db, CHUNKS) == [
        ("done", None, 1, 3, None, False),
        ("ready", None, 4, 10, None, False),
    ]


async def test_who_was_only_away_gives_back_what_it_had_not_started(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, people = await launched(db, 10)
    chunk = await leased(db)
    settler = Settler(pool=db, owner="gone", leases=Leases())
    await given.rows(db, LAPSE)
    await reclaimed(db)

    settler.put(end(chunk, 1, State.SENT))
    settler.put_back(Return(chunk=chunk, is_finished=False))
    await settler.settle()
    async with workshop.working():
        await until(all_ended(db))

    assert await given.states(db, name) == dict.fromkeys(people.values(), "sent")
    assert people[1] not in sink.heard
    assert len(sink.accepted) == 9


async def test_an_answer_that_comes_after_all_wins_over_the_doubt(
    db: database.Pool,
) -> None:
    name, people = await launched(db, 10)
    chunk = await leased(db)
    settler = Settler(pool=db, owner="gone", leases=Leases())
    await given.rows(db, LATE)
    await reclaimed(db)
    await reclaimed(db)
    assert await given.rows(db, DOUBTS) == [(3,)]

    settler.put(end(chunk, 1, State.SENT))
    settler.put(end(chunk, 2, State.BOUNCED))
    settler.put_back(Return(chunk=chunk, is_finished=False))
    await settler.settle()

    found = await given.states(db, name)
    assert [found[people[seq]] for seq in (1, 2, 3)] == ["sent", "bounced", "in_doubt"]
    assert await given.rows(db, DOUBTS) == [(1,)]


async def test_a_chunk_whose_lease_was_never_answered_is_given_back_whole(
    db: database.Pool,
) -> None:
    await launched(db, 20)
    known = await leased(db, owner="alive")
    await leased(db, owner="alive")
    leases = Leases()
    leases.take(known, asked=leases.boottime())
    await given.rows(db, LAPSE)

    await reclaimed(db, leases=leases)

    assert await given.rows(db, CHUNKS) == [
        ("leased", "alive", 1, 3, None, True),
        ("ready", None, 11, 20, None, False),
        ("ready", None, 4, 10, None, False),
    ]


async def test_a_cancelled_blast_says_what_a_lost_worker_may_have_sent(
    db: database.Pool,
) -> None:
    name, people = await launched(db, 10)
    await leased(db)
    await given.rows(db, LAPSE)
    await given.rows(db, "UPDATE blast SET state = 'cancelled' RETURNING 1")

    await closing.close_due(db)
    await closing.close(db, name)
    await reclaimed(db)
    await closing.close_due(db)
    cancelled = dict.fromkeys(people.values(), "cancelled")
    assert await given.states(db, name) == cancelled
    await given.rows(db, LATE)
    await reclaimed(db)
    await closing.close_due(db)

    doubted = {people[seq]: "in_doubt" for seq in (1, 2, 3)}
    assert await given.states(db, name) == cancelled | doubted
    assert await given.rows(db, "SELECT DISTINCT state::text FROM chunk") == [("done",)]
    counted = "SELECT sum(cancelled)::int, sum(in_doubt)::int FROM rollup"
    assert await given.rows(db, counted) == [(7, 3)]


async def test_living_workers_finish_what_a_lost_one_had_leased(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name, people = await launched(db, 30)
    await leased(db)
    await given.rows(db, LAPSE)

    async def gone_on() -> bool:
        owed = "SELECT seq FROM delivery WHERE state = 'owed' ORDER BY seq"
        return await given.rows(db, owed) == [(1,), (2,), (3,)]

    async with workshop.working(2):
        await until(gone_on)
        assert await given.rows(db, "SELECT state::text FROM blast") == [("sending",)]
        await given.rows(db, LATE)
        await until(all_ended(db))
    await closing.close_due(db)

    found = await given.states(db, name)
    assert [email for email, state in found.items() if state == "in_doubt"] == sorted(
        people[seq] for seq in (1, 2, 3)
    )
    assert len(sink.accepted) == len(set(sink.heard)) == 27
    assert await given.rows(db, "SELECT state::text FROM blast") == [("done",)]


def all_ended(db: database.Pool) -> Callable[[], Awaitable[bool]]:
    """Ask whether everybody has their end."""

    async def question() -> bool:
        owed = "SELECT 1 FROM delivery WHERE state IN ('owed', 'deferred') LIMIT 1"
        return await given.rows(db, owed) == []

    return question


async def test_a_worker_may_say_nothing_for_20_seconds_at_most() -> None:
    slowest = LEASE + timedelta(seconds=2 * recovery.EVERY)

    assert slowest < timedelta(seconds=20)
