"""Whose a chunk is, and how far its owner may have come in it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from mailer.core.delivery import BlastId
from mailer.core.provider import Rate
from mailer.pipeline import launching
from mailer.pipeline.sending.leases import FIRST, LEASE, MARGIN, Leases, Reach
from mailer.pipeline.sending.settler import Return, Settler
from mailer.store import chunks, database, journals
from tests import given
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

LAST = LEASE.total_seconds() - MARGIN  # seconds after the question: nothing starts
CHUNK = chunks.Chunk(
    id=1,
    blast_id=BlastId(1),
    round=1,
    provider="other",
    pool="default",
    attempt=0,
    first_seq=1,
    last_seq=400,
    seqs=None,
    epoch=1,
    started_through=8,
)


@dataclass
class Clock:
    """Seconds since the machine was started, as the test says."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


def holding(*held: chunks.Chunk, clock: Clock | None = None) -> Leases:
    clock = clock or Clock()
    leases = Leases(boottime=clock)
    for chunk in held:
        leases.take(chunk, asked=clock())
    return leases


def key(chunk: chunks.Chunk) -> tuple[int, int]:
    return chunk.id, chunk.epoch


def test_a_message_starts_only_where_the_ledger_knows_that_it_may() -> None:
    leases = holding(CHUNK)

    assert leases.may_start(CHUNK, 8)
    assert not leases.may_start(CHUNK, 9)
    assert not leases.may_start(replace(CHUNK, id=2), 1)
    assert not leases.may_start(replace(CHUNK, epoch=2), 1)


def test_nothing_starts_after_the_end_of_a_lease_that_was_not_renewed() -> None:
    clock = Clock()
    leases = holding(CHUNK, clock=clock)
    asked = clock()

    clock.seconds += LAST - 0.001
    assert leases.may_start(CHUNK, 1)
    clock.seconds += 0.001
    assert not leases.may_start(CHUNK, 1)
    leases.renewed([CHUNK], {key(CHUNK)}, asked=asked + 1.0)
    assert leases.may_start(CHUNK, 1)


def test_what_another_took_stays_lost_when_the_process_renews_later() -> None:
    other = replace(CHUNK, id=2)
    leases = holding(CHUNK, other)

    lost = leases.renewed([CHUNK, other], {key(other)}, asked=1001.0)
    leases.renewed([CHUNK, other], {key(CHUNK), key(other)}, asked=1002.0)

    assert lost == [CHUNK]
    assert not leases.may_start(CHUNK, 1)
    assert leases.held() == [other]
    assert leases.known() == [CHUNK, other]  # until it is given back


def test_a_chunk_that_was_leased_while_the_renewal_was_asked_is_not_lost() -> None:
    leases = holding()
    asked = leases.held()

    leases.take(CHUNK, asked=1000.0)

    assert leases.renewed(asked, set(), asked=1000.0) == []
    assert leases.may_start(CHUNK, 1)


def test_more_is_asked_for_when_half_is_left_and_once() -> None:
    leases = holding(CHUNK)

    for seq in range(1, 5):
        leases.ask(CHUNK, seq)
        assert leases.asked() == []
    leases.ask(CHUNK, 5)
    (asked,) = leases.asked()
    leases.ask(CHUNK, 6)

    assert asked.through > 8
    assert leases.asked() == [asked]


def test_a_fast_lane_gets_a_second_and_a_slow_one_a_message_at_a_time() -> None:
    def reached(pace: float) -> int:
        """Send at *pace*, with answers at once; return how far ahead it is allowed."""
        clock = Clock()
        leases = holding(CHUNK, clock=clock)
        ahead = 0
        for seq in range(1, 300):
            if not leases.may_start(CHUNK, seq):
                leases.ask(CHUNK, seq)
            told = leases.asked()
            leases.reached(told, {key(one.chunk) for one in told})
            leases.renewed([CHUNK], {key(CHUNK)}, asked=clock())
            assert leases.may_start(CHUNK, seq)
            leases.ask(CHUNK, seq)
            clock.seconds += 1 / pace
            ahead = max(ahead, max([one.through for one in told], default=0) - seq)
        return ahead

    assert reached(0.2) == 0
    assert 4 <= reached(5) <= 6
    assert 80 <= reached(100) <= 110


def test_a_new_chunk_begins_with_what_its_lane_is_known_to_take() -> None:
    clock = Clock()
    leases = holding(CHUNK, clock=clock)
    assert leases.window("other") == FIRST

    clock.seconds += 0.5
    for seq in range(1, 101):
        leases.ask(CHUNK, seq)

    assert leases.window("other") > FIRST
    assert leases.window("other", per_second=0.1) == 1
    assert leases.window("yahoo") == FIRST


def test_the_places_of_a_retry_chunk_are_its_own() -> None:
    retry = replace(CHUNK, first_seq=7, last_seq=9000, seqs=(7, 800, 9000))
    leases = holding(replace(retry, started_through=7))

    leases.ask(retry, 7)
    leases.ask(retry, 800)

    assert [one.through for one in leases.asked()] == [9000]


def test_who_listens_is_told_when_it_may_go_on_and_when_it_never_may() -> None:
    other = replace(CHUNK, id=2)
    leases = holding(CHUNK, other)
    heard: list[tuple[int, bool]] = []
    for chunk in (CHUNK, other):
        told = partial(_note, heard, leases, chunk)
        leases.listen(chunk, told)
        leases.ask(chunk, 9)
    assert not leases.may_start(CHUNK, 9)

    leases.reached(leases.asked(), {key(CHUNK)})

    assert heard == [(1, True), (2, False)]
    assert leases.held() == [CHUNK]


def _note(heard: list[tuple[int, bool]], leases: Leases, chunk: chunks.Chunk) -> None:
    heard.append((chunk.id, leases.may_start(chunk, 9)))


async def leased(
    db: database.Pool, *, owner: str = "ours", window: int = 3
) -> chunks.Chunk:
    async with database.transaction(db) as tx:
        found = await chunks.lease(
            tx,
            provider="other",
            pool="default",
            owner=owner,
            lease=timedelta(seconds=12),
            window=window,
            standing=await journals.begin(tx, owner),
        )
    assert found is not None
    return found


async def launched(db: database.Pool, count: int) -> str:
    await given.people(db, [f"p{number:03}@example.org" for number in range(count)])
    name = await given.approved(db)
    await launching.launch(db, name)
    return name


async def row(db: database.Pool) -> tuple[object, ...]:
    found = await given.rows(
        db, "SELECT state::text, owner, started_through FROM chunk ORDER BY id"
    )
    return tuple(found[0])


async def test_the_ledger_knows_how_far_an_owner_may_have_come(
    db: database.Pool,
) -> None:
    await launched(db, 10)
    chunk = await leased(db)
    leases = Leases()
    leases.take(chunk, asked=leases.boottime())
    settler = Settler(pool=db, owner="ours", leases=leases)
    assert await row(db) == ("leased", "ours", 3)

    leases.ask(chunk, 7)
    await settler.settle()
    assert leases.may_start(chunk, 7)
    assert await row(db) == ("leased", "ours", 10)
    settler.put_back(Return(chunk=chunk, is_finished=False))
    await settler.settle()

    assert await row(db) == ("ready", None, None)
    assert leases.known() == []


async def test_who_was_deposed_goes_no_further_but_may_still_give_back(
    db: database.Pool,
) -> None:
    await launched(db, 10)
    chunk = await leased(db)
    leases = Leases()
    leases.take(chunk, asked=leases.boottime())
    settler = Settler(pool=db, owner="ours", leases=leases)
    await given.rows(db, "UPDATE chunk SET lease_until = now() RETURNING 1")

    leases.ask(chunk, 7)
    await settler.settle()
    assert not leases.is_held(chunk)
    assert await row(db) == ("leased", "ours", 3)
    settler.put_back(Return(chunk=chunk, is_finished=False))
    await settler.settle()

    assert await row(db) == ("ready", None, None)


async def test_an_old_owner_changes_nothing_of_a_chunk_that_has_a_new_one(
    db: database.Pool,
) -> None:
    await launched(db, 10)
    old = await leased(db)
    await given.rows(
        db, "UPDATE chunk SET state = 'ready', owner = NULL, lease_until = NULL"
        " RETURNING 1"
    )  # fmt: skip
    await leased(db)
    leases = Leases()
    leases.take(old, asked=leases.boottime())
    settler = Settler(pool=db, owner="ours", leases=leases)

    settler.put_back(Return(chunk=old, is_finished=True))
    await settler.settle()

    assert await row(db) == ("leased", "ours", 3)


async def test_only_what_is_renewed_in_time_is_kept(db: database.Pool) -> None:
    await launched(db, 30)
    first, second, third = [await leased(db) for _ in range(3)]
    await given.rows(
        db, "UPDATE chunk SET lease_until = now() WHERE id = $1 RETURNING 1", second.id
    )

    async with database.transaction(db) as tx:
        kept = await chunks.renew(
            tx, [first, second, replace(third, epoch=7)], owner="ours", lease=LEASE
        )

    assert kept == {key(first)}


REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER refused BEFORE UPDATE ON chunk FOR EACH ROW
    WHEN (OLD.state = 'leased' AND NEW.state = 'leased') EXECUTE FUNCTION refuse();
"""


async def test_nothing_starts_beyond_what_the_ledger_knows(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name = await launched(db, 2)
    async with database.connection(db) as tx:
        await tx.raw.execute(REFUSING)
    slow = workshop.with_source(rate=Rate.parse("1/s"), connections=1)

    async def tried() -> bool:
        ((epoch,),) = await given.rows(db, "SELECT epoch FROM chunk")
        return bool(epoch >= 4)

    async with slow.working():
        await until(tried)

    first, second = (await given.states(db, name)).values()
    assert sorted([first, second]) == ["owed", "sent"]
    assert sink.dots == 1


async def test_everything_goes_out_a_window_at_a_time(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    name = await launched(db, 120)

    async def done() -> bool:
        owed = "SELECT 1 FROM delivery WHERE state = 'owed' LIMIT 1"
        return await given.rows(db, owed) == []

    async with workshop.working(2):
        await until(done)

    assert set((await given.states(db, name)).values()) == {"sent"}
    assert len(sink.accepted) == 120


def test_nobody_asks_for_more_than_the_chunk_has() -> None:
    short = replace(CHUNK, last_seq=10)
    leases = holding(short)

    leases.ask(short, 6)

    assert leases.asked() == [Reach(chunk=short, through=10)]
