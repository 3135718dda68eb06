import asyncio
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from mailer.core import blast
from mailer.pipeline import closing, launching
from mailer.store import blasts, database
from tests import given
from tests.pipeline.conftest import until

SIZES = {"google": 50, "yahoo": 31, "apple": 7, "other": 1}
WAITING = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def crowd(db: database.Pool) -> list[str]:
    """Add people at four providers, and return their addresses."""
    emails = []
    for name, size in SIZES.items():
        some = [f"{name}{number:02}@example.org" for number in range(size)]
        await given.people(db, some, provider=name)
        emails += some
    return emails


def arms(*names: str) -> list[object]:
    return [given.variant(name) for name in names]


async def ledger(db: database.Pool, name: str) -> list[tuple[str, str, int, str]]:
    """Return provider, address, variant and state, in sending order."""
    return await given.rows(
        db,
        "SELECT d.provider, s.address, d.variant::integer, d.state::text"
        " FROM delivery d JOIN blast b ON b.id = d.blast_id"
        " JOIN subscriber s ON s.id = d.subscriber_id WHERE b.name = $1 ORDER BY d.seq",
        name,
    )


async def seeded(db: database.Pool, name: str, seed: int) -> dict[str, int]:
    """Launch a blast to the same people with this seed; return who got which arm."""
    variants = arms("a", "b", "c")
    await given.approved(db, given.content(name=name, variants=variants))
    seeding = "UPDATE blast SET seed = $1 WHERE name = $2 RETURNING 1"
    await given.rows(db, seeding, seed, name)
    await launching.launch(db, name)
    return {address: variant for _, address, variant, _ in await ledger(db, name)}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
async def test_within_each_provider_no_arm_is_more_than_one_off_its_share(
    db: database.Pool, count: int
) -> None:
    await crowd(db)
    variants = arms(*"abcdefg"[:count])
    name = await given.approved(db, given.content(variants=variants))

    launched = await launching.launch(db, name)

    assert (launched.rows, launched.owed) == (89, 89)
    shares: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for provider, _, variant, _ in await ledger(db, name):
        shares[provider][variant] += 1
    assert {one: share.total() for one, share in shares.items()} == SIZES
    for share in shares.values():
        sizes = [share[variant] for variant in range(1, count + 1)]
        assert max(sizes) - min(sizes) <= 1


async def test_neighbours_in_a_chunk_get_different_arms(db: database.Pool) -> None:
    await crowd(db)
    variants = arms("a", "b", "c")
    name = await given.approved(db, given.content(variants=variants))

    await launching.launch(db, name)

    order = [variant for _, _, variant, _ in await ledger(db, name)]
    assert all(one != other for one, other in pairwise(order))
    chunks = await given.rows(db, "SELECT last_seq - first_seq + 1 FROM chunk")
    assert max(size for (size,) in chunks) == 9  # the variants, three times


async def test_the_same_seed_gives_the_same_people_the_same_arms(
    db: database.Pool,
) -> None:
    await crowd(db)

    first = await seeded(db, "first", 4242)
    second = await seeded(db, "second", 4242)
    third = await seeded(db, "third", 17)

    assert first == second
    assert sum(first[one] != third[one] for one in first) > len(first) / 3


async def test_the_chunks_hold_everybody_who_is_owed_a_message_once(
    db: database.Pool,
) -> None:
    await crowd(db)
    name = await given.approved(db)

    launched = await launching.launch(db, name)

    held = await given.rows(
        db,
        "SELECT c.provider = d.provider, count(*) FROM delivery d JOIN chunk c"
        " ON d.blast_id = c.blast_id AND d.seq BETWEEN c.first_seq AND c.last_seq"
        " GROUP BY 1",
    )
    assert held == [(True, 89)]
    chunks = "SELECT count(*), min(first_seq), max(last_seq) FROM chunk"
    assert await given.rows(db, chunks) == [(launched.chunks, 1, 89)]


async def test_who_gets_nothing_is_in_the_ledger_with_the_reason(
    db: database.Pool,
) -> None:
    await crowd(db)
    for address in ("google00@example.org", "yahoo00@example.org"):
        await given.suppression(db, address, topic="fundraising")
    await given.suppression(db, "apple00@example.org", topic="events")
    await given.people(db, ["x@blocked.test", "y@blocked.test"], provider="other")
    await given.suppression(db, "@blocked.test")
    body = given.content(variants=arms("a", "b"), holdout=0.1)
    name = await given.approved(db, body)

    launched = await launching.launch(db, name)

    found = await ledger(db, name)
    suppressed = {address for _, address, _, state in found if state == "suppressed"}
    assert suppressed == {
        "google00@example.org", "yahoo00@example.org",
        "x@blocked.test", "y@blocked.test",
    }  # fmt: skip
    # A tenth of 49, of 30, of 7 and of 1 who could be mailed, rounded.
    held = Counter(provider for provider, _, _, state in found if state == "held_out")
    assert held == {"google": 5, "yahoo": 3, "apple": 1}
    assert {variant for *_, variant, state in found if state != "owed"} == {None}
    assert (launched.rows, launched.owed) == (91, 78)
    states = [state for *_, state in found]
    assert states == ["owed"] * 78 + ["suppressed"] * 4 + ["held_out"] * 9
    counted = (
        "SELECT sum(recipients)::integer, sum(suppressed)::integer,"
        " sum(held_out)::integer FROM rollup"
    )
    assert await given.rows(db, counted) == [(91, 4, 9)]


async def test_the_excluded_are_not_in_the_audience(db: database.Pool) -> None:
    await given.people(db, ["ada@example.org", "bo@example.org"], state="WI")
    await given.people(db, ["cy@example.org"], state="MI")
    here = {"describes": "In Wisconsin", "field": "state", "in": ["WI"]}
    body = given.content(exclude=["here"], segments={"here": here})
    name = await given.approved(db, body)

    await launching.launch(db, name)

    assert await given.states(db, name) == {"cy@example.org": "owed"}


async def test_a_blast_waits_for_its_moment_and_the_urgent_go_first(
    db: database.Pool,
) -> None:
    await given.people(db, ["ada@example.org"])
    tomorrow = "mailer_now() + interval '1 day'"
    late = "mailer_now() + interval '3 days'"
    await given.approved(db, given.content(name="low"))
    await given.approved(db, given.content(name="high", priority=5))
    await given.approved(
        db, given.content(name="later"), send_at=tomorrow, expires_at=late
    )

    launched = await launching.launch_due(db)
    assert [one.name for one in launched] == ["high", "low"]
    await given.rows(db, "UPDATE clock SET shift = interval '25 hours' RETURNING 1")
    launched = await launching.launch_due(db)
    assert [one.name for one in launched] == ["later"]


async def test_schedulers_of_several_machines_launch_a_blast_once(
    db: database.Pool,
) -> None:
    await crowd(db)
    name = await given.approved(db)

    async with asyncio.TaskGroup() as machines:
        tasks = [machines.create_task(launching.launch_due(db)) for _ in range(5)]

    launched = [one for task in tasks for one in task.result()]
    assert [(one.name, one.rows) for one in launched] == [(name, 89)]
    assert len(await ledger(db, name)) == 89
    moves = "SELECT action FROM audit ORDER BY id"
    assert await given.rows(db, moves) == [("launch",), ("send",)]


async def test_a_launch_that_died_is_done_again_and_writes_once(
    db: database.Pool,
) -> None:
    await crowd(db)
    name = await given.approved(db, given.content(variants=arms("a", "b", "c")))

    async def is_waiting() -> bool:
        return bool(await given.rows(db, WAITING))

    async with asyncio.TaskGroup() as machine, database.transaction(db) as blocker:
        await blocker.raw.execute("LOCK TABLE delivery IN EXCLUSIVE MODE")
        launch = machine.create_task(launching.launch(db, name))
        await until(is_waiting)
        launch.cancel()

    left = await given.rows(db, "SELECT state::text, seed FROM blast")
    ((state, seed),) = left
    assert state == "launching"
    assert await ledger(db, name) == []
    assert [one.rows for one in await launching.launch_due(db)] == [89]
    assert await launching.launch_due(db) == []
    again = "SELECT state::text, seed FROM blast"
    assert await given.rows(db, again) == [("sending", seed)]
    assert len(await ledger(db, name)) == 89


async def test_a_pause_in_the_middle_of_a_launch_holds_it_back(
    db: database.Pool,
) -> None:
    await crowd(db)
    name = await given.approved(db)
    async with database.transaction(db) as tx:
        found = await blasts.get(tx, name)
        await blasts.move(tx, found, blast.Move.LAUNCH, actor="scheduler")
    async with database.transaction(db) as tx:
        found = await blasts.get(tx, name)
        await blasts.move(tx, found, blast.Move.PAUSE, actor="grace")

    assert await launching.launch_due(db) == []
    assert await ledger(db, name) == []
    async with database.transaction(db) as tx:
        found = await blasts.get(tx, name)
        await blasts.move(tx, found, blast.Move.RESUME, actor="grace")

    assert [one.rows for one in await launching.launch_due(db)] == [89]


async def test_a_blast_to_nobody_is_done_at_once(db: database.Pool) -> None:
    name = await given.approved(db)

    await launching.launch_due(db)

    assert await closing.close_due(db) == [name]
    assert await given.rows(db, "SELECT state::text FROM blast") == [("done",)]


async def test_a_blast_that_comes_too_late_expires_with_everybody_by_name(
    db: database.Pool,
) -> None:
    await given.people(db, ["ada@example.org", "bo@example.org"])
    name = await given.approved(db)
    await given.rows(db, "UPDATE clock SET shift = interval '2 days' RETURNING 1")

    await launching.launch_due(db)
    await closing.close_due(db)

    assert await given.rows(db, "SELECT state::text FROM blast") == [("expired",)]
    assert await given.states(db, name) == {
        "ada@example.org": "expired",
        "bo@example.org": "expired",
    }


async def test_a_launch_may_take_longer_than_other_statements(
    db: database.Pool, database_url: str
) -> None:
    await crowd(db)
    await given.approved(db, given.content(name="large"))
    slow = """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(2.5); RETURN NULL; END';
        CREATE TRIGGER slow AFTER INSERT ON delivery EXECUTE FUNCTION slow();
    """
    async with database.connection(db) as tx:
        await tx.raw.execute(slow)

    async with database.opened(database_url, patience=2.0) as hasty:
        launched = await launching.launch(hasty, "large")

    assert launched.owed == sum(SIZES.values())
