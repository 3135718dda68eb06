"""What becomes of lanes while workers use them."""

from dataclasses import replace
from typing import Any

import pytest

from mailer import errors
from mailer.core import lane
from mailer.core.alarm import Kind
from mailer.core.cap import Cap
from mailer.core.provider import Provider, Rate
from mailer.mail.sink import Act
from mailer.pipeline import launching, releasing, sending
from mailer.store import alarms, database, lanes
from tests import given
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

REFUSED = "550 5.7.26 This mail is unauthenticated, which poses a security risk"
FAST = "421 4.7.28 an unusual rate of mail from your IP address"
SLOW = Act("250 2.1.5 OK", delay=0.02)


async def launched(
    db: database.Pool, people: int, *, provider: str = "google", **changes: Any
) -> list[str]:
    """Launch a blast to so many people of a provider; return their addresses."""
    name = changes.pop("name", "eoq")
    addresses = [f"{name}{number:03}@{provider}.test" for number in range(people)]
    await given.people(db, addresses, provider=provider)
    body = given.content(name=name, **changes)
    await launching.launch(db, await given.approved(db, body))
    return addresses


def slowly(sink: Sink, addresses: list[str], act: Act = SLOW) -> None:
    for address in addresses:
        sink.script(address, act)


async def prepared(db: database.Pool, setup: sending.Setup) -> None:
    async with database.transaction(db) as tx:
        await sending.entry.prepare(tx, setup)


async def one_lane(db: database.Pool, name: str = "google") -> lanes.Lane:
    async with database.connection(db) as tx:
        found = await lanes.everything(tx)
    return next(one for one in found if one.provider == name)


async def states(db: database.Pool) -> dict[str, int]:
    return dict(
        await given.rows(
            db, "SELECT state::text, count(*)::int FROM delivery GROUP BY state"
        )
    )


async def test_each_step_is_kept_with_the_reply_that_caused_it(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    (address,) = await launched(db, 1)
    sink.script(address, FAST, FAST, "250 2.1.5 OK")

    async def is_sent() -> bool:
        return await states(db) == {"sent": 1}

    limited = workshop.with_source(rate=Rate.parse("600/min"), connections=4)
    async with limited.working():
        await until(is_sent)

    (step,) = await releasing.history(db, provider="google")
    assert step.transition.cause is lane.Cause.CONGESTION
    assert step.transition.reply == FAST
    assert step.transition.rate[1] < step.transition.rate[0] == 10.0
    found = await one_lane(db)
    assert (found.mode, found.reason) == ("backing_off", FAST)


async def test_a_halted_lane_waits_for_a_person(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    (address,) = await launched(db, 1)
    sink.script(address, REFUSED, "250 2.1.5 OK")

    async def is_halted() -> bool:
        return (await one_lane(db)).mode == "halted"

    await prepared(db, workshop.setup)
    async with workshop.working():
        await until(is_halted)
        with pytest.raises(errors.NotFound, match="google/sink"):
            await releasing.release(db, "google/snik", actor="ada")
        after = await releasing.release(db, "google/sink", actor="ada", why="repaired")

        async def is_sent() -> bool:
            return await states(db) == {"sent": 1}

        await until(is_sent)

    assert after.mode == "probing"
    async with database.connection(db) as tx:
        assert await alarms.open_(tx) == []
        (found,) = await alarms.everything(tx, limit=5)
    assert (found.kind, found.cleared_why) == (Kind.LANE, "ada released it: repaired")
    causes = [one.transition.cause for one in await releasing.history(db)]
    assert causes[-2:] == [lane.Cause.RELEASE, lane.Cause.REFUSAL]
    audit = (
        "SELECT actor, action, before, after, why FROM audit WHERE object LIKE 'lane%'"
    )
    assert await given.rows(db, audit) == [
        ("ada", "release", "halted", "probing", "repaired")
    ]
    with pytest.raises(errors.Conflict, match="nothing to release"):
        await releasing.release(db, "google/sink", actor="ada")


async def test_a_lane_that_a_person_halts_starts_nothing_more(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    addresses = await launched(db, 300)
    slowly(sink, addresses)

    async def is_closed() -> bool:
        return await given.rows(db, "SELECT 1 FROM slot") == []

    async with workshop.working():
        await sink.received(5)
        after = await releasing.halt(db, "google/sink", actor="ada", why="complaints")
        await until(is_closed)

    assert after.reason == "ada: complaints"
    found = await states(db)
    assert found["owed"] > 0
    assert found["sent"] == len(sink.accepted)


async def test_connections_follow_the_limit_of_their_lane(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    addresses = await launched(db, 400)
    slowly(sink, addresses)

    async with workshop.working(2):
        await sink.reached(lambda: sink.now_open == 4, within=10)
        await given.rows(db, "UPDATE lane SET connections = 1 RETURNING 1")
        await sink.reached(lambda: sink.now_open <= 1, within=10)
        heard = len(sink.accepted)
        await sink.reached(lambda: len(sink.accepted) > heard + 10, within=10)
        few = sink.now_open
        await given.rows(db, "UPDATE lane SET connections = 3 RETURNING 1")
        await sink.reached(lambda: sink.now_open == 3, within=10)

    assert few == 1
    assert sink.most_open == 4
    assert len({one.recipient for one in sink.accepted}) == len(sink.accepted)


async def test_a_closed_source_strands_nothing_of_its_pool(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    addresses = await launched(db, 40)
    (source,) = workshop.setup.sources
    both = replace(workshop.setup, sources=(source, replace(source, name="second")))
    slowly(sink, addresses)
    await prepared(db, both)

    async def is_done() -> bool:
        return await states(db) == {"sent": 40}

    async with Workshop(db, both).working():
        await sink.received(3)
        await releasing.halt(db, "google/sink", actor="ada", why="to see")
        await until(is_done)


async def test_a_more_urgent_blast_does_not_wait_for_a_chunk(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    sent = (
        "SELECT 1 FROM delivery d JOIN blast b ON b.id = d.blast_id"
        " WHERE b.name = $1 AND d.state = 'sent' HAVING count(*) >= $2"
    )
    await launched(db, 100, name="late")
    await given.rows(db, "DELETE FROM chunk WHERE first_seq > 1 RETURNING 1")
    await given.rows(db, "UPDATE chunk SET last_seq = 100 RETURNING 1")
    slow = workshop.with_source(rate=Rate.parse("10/s"), connections=1)

    async def is_urgent_under_way() -> bool:
        return bool(await given.rows(db, sent, "urgent", 5))

    async with slow.working():
        await sink.received(1)
        await launched(db, 3, name="urgent", priority=5)
        await until(is_urgent_under_way)

    assert await given.rows(db, sent, "late", 80) == []  # looked at every three seconds


async def test_every_lane_with_work_gets_a_connection_of_a_worker_that_has_few(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    slowly(sink, await launched(db, 300))
    known = (Provider(name="google"), Provider(name="yahoo"))
    few = replace(workshop.setup, connections=2, providers=known)

    async with Workshop(db, few).working():
        await sink.received(3)
        yahoo = await launched(db, 3, provider="yahoo", name="second")
        await sink.reached(
            lambda: set(yahoo) <= {one.recipient for one in sink.accepted}, within=10
        )

    assert (await states(db))["owed"] > 0  # google's were not through
    assert sink.most_open <= 2


async def test_what_was_learned_stays_when_the_settings_change_but_limits_hold(
    db: database.Pool, workshop: Workshop
) -> None:
    one = workshop.with_source(rate=Rate(5.0), ceiling=Rate(20.0)).setup
    await prepared(db, one)
    await given.rows(
        db,
        "UPDATE lane SET rate = 15, memory = jsonb_set(memory, '{knee}', '18')"
        " WHERE provider = 'google' RETURNING 1",
    )

    (source,) = one.sources
    await prepared(db, replace(one, sources=(replace(source, ceiling=Rate(30.0)),)))
    kept = await one_lane(db)
    untouched = await one_lane(db, "other")
    await prepared(db, replace(one, sources=(replace(source, ceiling=Rate(9.0)),)))
    held = await one_lane(db)
    faster = replace(source, rate=Rate(8.0), ceiling=Rate(9.0))
    await prepared(db, replace(one, sources=(faster,)))

    assert (kept.rate, kept.ceiling) == (15.0, 30.0)
    assert (untouched.rate, untouched.ceiling) == (5.0, 30.0)
    assert (held.rate, held.ceiling) == (9.0, 9.0)
    assert (await one_lane(db)).rate == 9.0
    assert (await one_lane(db, "other")).rate == 8.0


async def test_a_source_that_warms_up_sends_what_its_first_day_allows(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await launched(db, 60)
    cold = workshop.with_source(warmup=True)
    await prepared(db, cold.setup)
    await given.rows(
        db,
        "INSERT INTO lane_day (provider, source, day, quota)"
        " VALUES ('google', 'sink', (now() AT TIME ZONE 'UTC')::date, 3) RETURNING 1",
    )
    # Spread over twelve hours, three would take the night.
    await given.rows(db, "UPDATE lane_day SET used = 2 RETURNING 1")

    async def is_used() -> bool:
        return await given.rows(db, "SELECT used, accepted FROM lane_day") == [(3, 1)]

    async with cold.working():
        await until(is_used)

    assert len(sink.accepted) == 1
    found = await one_lane(db)
    assert (found.quota, found.used) == (3, 3)
    assert found.rate == pytest.approx(3 / 43200)


async def test_a_limit_of_our_domain_holds_over_all_lanes(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await launched(db, 20)
    ours = Cap(name="ours", domain="example.org", daily=5)
    capped = Workshop(db, replace(workshop.setup, caps=(ours,)))

    async def is_used() -> bool:
        return await given.rows(db, "SELECT used FROM cap") == [(5,)]

    async with capped.working(2):
        await until(is_used)
        await sink.received(5)

    assert len(sink.accepted) == 5
    assert await states(db) == {"sent": 5, "owed": 15}


async def test_an_unlimited_lane_costs_no_token(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    slowly(sink, await launched(db, 60))

    async def is_done() -> bool:
        return await states(db) == {"sent": 60}

    async with workshop.working():
        await until(is_done)

    assert await given.rows(
        db, "SELECT arrival = '-infinity' FROM lane WHERE provider = 'google'"
    ) == [(True,)]
    assert (await releasing.history(db)) == []


async def test_a_provider_that_is_slow_keeps_nobody_else_waiting(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    tarpit = Act("250 2.1.5 OK", delay=3)
    stuck = await launched(db, 40, name="first")
    slowly(sink, stuck, tarpit)
    others = set(await launched(db, 100, provider="yahoo", name="second"))
    known = (Provider(name="google"), Provider(name="yahoo"))

    async with Workshop(db, replace(workshop.setup, providers=known)).working():
        await sink.reached(
            lambda: others <= {one.recipient for one in sink.accepted}, within=10
        )
        through = {one.recipient for one in sink.accepted}

    assert len(through & set(stuck)) < 20
