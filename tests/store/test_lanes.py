"""Grants, connections and state of lanes, in the database."""

import asyncio
import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailer.core import lane, throttle
from mailer.core.cap import Cap
from mailer.core.lane import Cause, Limits, Mode, Transition
from mailer.core.provider import Rate
from mailer.core.throttle import Bucket, Quota
from mailer.store import caps, database, lanes, slots
from tests import given

LIMITS = Limits(start=10.0, ceiling=20.0, connections=5)
LEASE = timedelta(seconds=12)


async def made(
    db: database.Pool,
    *,
    provider: str = "google",
    source: str = "relay",
    limits: Limits = LIMITS,
    is_warming: bool = False,
) -> None:
    """Have a lane as its settings begin it."""
    async with database.transaction(db) as tx:
        await lanes.add(
            tx, provider=provider, source=source, pool="default", connections=1
        )
        found = await lanes.lock(tx, provider=provider, source=source)
        assert found is not None
        await lanes.allow(
            tx, found, pool="default", limits=limits, is_warming=is_warming
        )
        await lanes.save(tx, found, lane.begun(limits, found.now))


async def granted(
    db: database.Pool,
    want: int,
    *,
    source: str = "relay",
    domains: list[str] | None = None,
) -> lanes.Grant:
    """Take tokens of the lane at google."""
    async with database.transaction(db) as tx:
        found = await lanes.grant(
            tx, provider="google", source=source, domains=domains or (), want=want
        )
    assert found is not None
    return found


def unlimited() -> Limits:
    return Limits(start=math.inf, ceiling=math.inf, connections=5)


async def test_a_grant_is_the_arithmetic_of_core(db: database.Pool) -> None:
    await made(db)
    draw = random.Random(7)
    set_ = (
        "UPDATE lane SET rate = $1, arrival = clock_timestamp() + $2::interval"
        " RETURNING arrival"
    )
    for _ in range(300):
        rate = Rate(draw.choice([1 / 3600, 0.5, 1, 10, 333.3, 1e5]) * draw.random())
        debt = timedelta(seconds=draw.uniform(-2, 3))
        want = draw.choice([1, 2, 16, 1000])
        ((before,),) = await given.rows(db, set_, rate.per_second, debt)

        found = await granted(db, want)

        bucket = Bucket(rate=rate, arrival=before)
        worth = min(want, max(1, throttle.worth(rate)))
        tokens, after = throttle.take(bucket, worth, found.at)
        assert found.tokens == tokens, (rate, debt, want)
        ((arrival,),) = await given.rows(db, "SELECT arrival FROM lane")
        if tokens:
            assert abs(arrival - after.arrival) <= timedelta(microseconds=2)
        else:
            assert arrival == before
            ready = throttle.ready_at(bucket, found.at) - found.at
            assert abs(found.wait - ready) <= timedelta(microseconds=2)


async def test_whoever_asks_no_window_is_granted_more_than_rate_and_burst(
    db: database.Pool,
) -> None:
    """Many at once, for a second and a half, while the rate changes."""
    await made(db, limits=Limits(start=200.0, ceiling=400.0, connections=5))
    grants: list[lanes.Grant] = []
    stop = asyncio.Event()

    async def ask(want: int) -> None:
        while not stop.is_set():
            grants.append(await granted(db, want))

    async def steer() -> None:
        for rate in (100.0, 400.0, 50.0, 200.0) * 4:
            async with database.transaction(db) as tx:
                found = await lanes.lock(tx, provider="google", source="relay")
                assert found is not None
                await lanes.save(tx, found, replace(found.state, rate=rate))
            for _ in range(20):
                await given.rows(db, "SELECT pg_sleep(0.005)")
        stop.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(steer())
        for want in (1, 5, 100, 1000):
            group.create_task(ask(want))

    taken = sorted((one.at, one.tokens) for one in grants if one.tokens)
    assert len(taken) > 20
    fastest, depth = 400.0, 400.0
    for first, (start, _) in enumerate(taken):
        total = 0
        for at, tokens in taken[first:]:
            total += tokens
            window = (at - start).total_seconds()
            assert total <= fastest * window + depth + 1


async def test_another_rate_changes_no_debt(db: database.Pool) -> None:
    await made(db)
    await given.rows(
        db, "UPDATE lane SET arrival = clock_timestamp() + '2 s' RETURNING 1"
    )  # 20 messages

    async with database.transaction(db) as tx:
        found = await lanes.lock(tx, provider="google", source="relay")
        assert found is not None
        await lanes.save(tx, found, replace(found.state, rate=20.0))

    ((left,),) = await given.rows(
        db, "SELECT extract(epoch FROM arrival - clock_timestamp())::float FROM lane"
    )
    assert left == pytest.approx(1.0, abs=0.1)


async def test_a_closed_lane_grants_nothing(db: database.Pool) -> None:
    await made(db, limits=unlimited())

    await given.rows(db, "UPDATE lane SET mode = 'halted' RETURNING 1")
    halted = await granted(db, 1)
    await given.rows(
        db, "UPDATE lane SET mode = 'normal', not_before = now() + '1 min' RETURNING 1"
    )
    resting = await granted(db, 1)

    assert (halted.tokens, halted.is_closed) == (0, True)
    assert (resting.tokens, resting.is_closed) == (0, True)


async def test_a_limit_that_lanes_share_holds_for_all_of_them_together(
    db: database.Pool,
) -> None:
    await made(db, limits=unlimited())
    await made(db, source="other", limits=unlimited())
    async with database.transaction(db) as tx:
        await caps.keep(
            tx, [Cap(name="google", provider="google", rate=Rate(8.0), daily=9)]
        )

    first = await granted(db, 6)  # a quarter of a second's worth: 2
    second = await granted(db, 100, source="other")
    third = await granted(db, 100)

    assert (first.tokens, second.tokens, third.tokens) == (2, 2, 2)
    await given.rows(db, "UPDATE cap SET arrival = '-infinity', used = 8 RETURNING 1")
    assert (await granted(db, 100)).tokens == 1
    await given.rows(db, "UPDATE cap SET arrival = '-infinity' RETURNING 1")
    empty = await granted(db, 100)
    assert empty.tokens == 0
    assert empty.wait == timedelta(seconds=60)
    await given.rows(db, "UPDATE cap SET day = day - 1 RETURNING 1")  # tomorrow
    assert (await granted(db, 100)).tokens == 2


async def test_a_limit_of_a_domain_is_shared_by_mail_from_it(db: database.Pool) -> None:
    await made(db, limits=unlimited())
    ours = Cap(name="ours", provider="google", domain="example.org", daily=3)
    async with database.transaction(db) as tx:
        await caps.keep(tx, [ours])

    assert (await granted(db, 2, domains=["example.org"])).tokens == 2
    assert (await granted(db, 2, domains=["example.com"])).tokens == 2
    assert (await granted(db, 2, domains=["example.com", "example.org"])).tokens == 1
    assert (await granted(db, 2, domains=["example.org"])).tokens == 0

    async with database.connection(db) as tx:
        (used,) = await caps.everything(tx)
    assert (used.name, used.used) == ("ours", 3)


async def test_the_least_of_all_limits_is_that_of_core(db: database.Pool) -> None:
    await made(db)
    ((now,),) = await given.rows(db, "SELECT clock_timestamp()")
    meters: dict[str, throttle.Meter] = {
        "lane": Bucket(rate=Rate(10.0), arrival=now),
        "google": Bucket(rate=Rate(8.0)),
        "day": Quota(limit=100, day=now.date(), used=99),
    }
    async with database.transaction(db) as tx:
        await caps.keep(
            tx,
            [
                Cap(name="google", provider="google", rate=Rate(8.0)),
                Cap(name="day", source="relay", daily=100),
            ],
        )
    await given.rows(
        db, "UPDATE cap SET used = 99, day = now()::date WHERE name = 'day' RETURNING 1"
    )

    found = await granted(db, 5)

    assert found.tokens == throttle.share(meters, 5, now)[0] == 1


async def test_a_limit_that_the_settings_do_not_have_any_more_is_gone(
    db: database.Pool,
) -> None:
    async with database.transaction(db) as tx:
        await caps.keep(tx, [Cap(name="a", source="relay", daily=3)])
        await caps.keep(tx, [Cap(name="b", source="relay", daily=4)])
        found = await caps.everything(tx)

    assert [one.name for one in found] == ["b"]


async def test_a_lane_that_warms_up_wants_its_day_and_sends_no_more(
    db: database.Pool,
) -> None:
    await made(db, is_warming=True)

    stale = await granted(db, 1)
    async with database.transaction(db) as tx:
        await caps.begin_day(
            tx, provider="google", source="relay", day=stale.at.date(), quota=2
        )
    first = await granted(db, 100)
    second = await granted(db, 100)

    assert (stale.tokens, stale.is_stale) == (0, True)
    assert (first.tokens, first.is_stale) == (2, False)
    assert (second.tokens, second.is_stale) == (0, False)


async def test_what_the_controller_remembers_is_read_as_it_was_written(
    db: database.Pool,
) -> None:
    await made(db)
    now = datetime(2026, 10, 1, 12, 0, 0, 123456, tzinfo=UTC)
    state = lane.State(
        mode=Mode.BACKING_OFF,
        rate=3.5,
        connections=2,
        not_before=now,
        reason="421 4.7.28 slow down",
        threshold=math.inf,
        knee=7.25,
        knee_until=now,
        respite=timedelta(minutes=7),
        roof=4,
        cuts=(now, now + timedelta(seconds=1)),
        tried=7,
    )
    step = Transition(
        at=now,
        cause=Cause.CONGESTION,
        before=Mode.NORMAL,
        after=Mode.BACKING_OFF,
        rate=(math.inf, 3.5),
        connections=(4, 2),
        until=now,
        reply="421 4.7.28 slow down",
    )

    async with database.transaction(db) as tx:
        found = await lanes.lock(tx, provider="google", source="relay")
        assert found is not None
        await lanes.save(tx, found, state, [step])
    async with database.transaction(db) as tx:
        again = await lanes.lock(tx, provider="google", source="relay")
        steps = await lanes.transitions(tx, provider="google", limit=10)

    assert again is not None
    assert again.state == state
    assert again.limits == LIMITS
    assert steps == [lanes.Step(provider="google", source="relay", transition=step)]


async def test_connections_over_a_limit_that_shrank_are_asked_to_go_the_latest_first(
    db: database.Pool,
) -> None:
    await made(db)
    async with database.transaction(db) as tx:
        held = [
            await slots.take(
                tx, provider="google", source="relay", connections=5, owner=owner,
                lease=LEASE,
            )
            for owner in ("a", "b", "a", "b", "a", "b")
        ]  # fmt: skip
    assert held[5] is None
    await given.rows(db, "UPDATE lane SET connections = 2 RETURNING 1")

    async with database.connection(db) as tx:
        kept = {
            owner: [one.id for one in await slots.berths(tx, owner=owner)]
            for owner in ("a", "b")
        }

    assert kept == {"a": [held[0]], "b": [held[1]]}
    await given.rows(
        db, "UPDATE slot SET lease_until = now() WHERE id = $1 RETURNING 1", held[0]
    )
    async with database.connection(db) as tx:
        assert await slots.berths(tx, owner="a") == [
            slots.Berth(
                id=held[2] or 0,
                provider="google",
                source="relay",
                is_unlimited=False,
                is_at_ease=False,
            )
        ]
    await given.rows(db, "UPDATE lane SET mode = 'halted' RETURNING 1")
    async with database.connection(db) as tx:
        assert await slots.berths(tx, owner="a") == []


MANY_LANES = """
INSERT INTO lane (provider, source, pool, connections)
SELECT 'p' || n, 'relay', 'default', 2 FROM generate_series(1, 100000) n
"""
MANY_CHUNKS = """
INSERT INTO chunk (blast_id, round, provider, pool, start_at, first_seq, last_seq)
SELECT id, 0, 'p' || n, 'default', mailer_now(), n, n
FROM blast, generate_series(1, 100000) n
"""


async def touched(
    tx: database.Connection, noun: str, name: str, **given: object
) -> int:
    """Return how many blocks a query looks at."""
    query = database.load(noun)[name]
    explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.sql}"
    ((found,),) = await tx.raw.fetch(explained, *query.arguments(given))
    plan = json.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_a_hundred_thousand_lanes_with_work_cost_a_look_what_a_few_cost(
    db: database.Pool,
) -> None:
    await given.approved(db)
    async with database.transaction(db) as tx:
        await tx.raw.execute("UPDATE blast SET state = 'sending'")
        await tx.raw.execute("INSERT INTO round SELECT id, 0, now(), NULL FROM blast")
        await tx.raw.execute(MANY_LANES)
        await tx.raw.execute(MANY_CHUNKS)
        await tx.raw.execute("ANALYZE")

    async with database.connection(db) as tx:
        blocks = await touched(
            tx, "lanes", "wanted", sources=["relay"], after="", limit=lanes.MANY
        )
        first, after = await lanes.wanted(tx, ["relay"])
        second, _ = await lanes.wanted(tx, ["relay"], after=after)
        lease = await touched(
            tx, "chunks", "lease", provider="p77777", pool="default", owner="a",
            lease=LEASE, window=8, identity=None, settled=0, grace=timedelta(0),
        )  # fmt: skip

    assert blocks < 20 * lanes.MANY
    assert len(first) == len(second) == lanes.MANY
    assert {one.provider for one in first}.isdisjoint(one.provider for one in second)
    assert lease < 50
