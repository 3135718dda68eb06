"""Events in any order, twice or late give the counts of the events themselves."""

import asyncio
import itertools
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer import errors, spool
from mailer.core import event
from mailer.core.donation import Gift
from mailer.core.event import Event, Kind
from mailer.core.tracking import Label, Token
from mailer.pipeline import receiving, recording
from mailer.store import database

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
numbers = itertools.count(1)


# Blasts 1 and 2 went to some of four people: two variants, two providers.
PEOPLE = """
    INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
    SELECT 'p' || n || '@example.org', 'P' || n || '@example.org',
           'example.org', 'x', '2026-01-01Z'
    FROM generate_series(1, 4) n ORDER BY n;
    INSERT INTO blast (name, topic, file, hash)
    VALUES ('first', 'fundraising', 'f', 'h'), ('second', 'news', 'f', 'h');
    INSERT INTO variant (blast_id, position, name, subject)
    SELECT b, p, 'v' || p, 's' FROM generate_series(1, 2) b, generate_series(1, 2) p;
    INSERT INTO round (blast_id, number) SELECT generate_series(1, 2), 1;
    INSERT INTO round (blast_id, number, variant) VALUES (1, 2, 2);
    INSERT INTO delivery (blast_id, seq, subscriber_id, provider, round, variant, state)
    VALUES (1, 1, 1, 'gmail', 1, 1, 'sent'), (1, 2, 2, 'yahoo', 1, 2, 'sent'),
           (1, 3, 3, 'gmail', 2, NULL, 'sent'), (2, 1, 1, 'gmail', 1, 1, 'sent'),
           (2, 2, 2, 'gmail', 1, 2, 'sent');
"""


@pytest.fixture
async def blasts(db: database.Pool) -> database.Pool:
    async with database.connection(db) as connection:
        await connection.raw.execute(PEOPLE)
    return db


def an_event(
    kind: Kind,
    *,
    subscriber: int = 1,
    blast: int = 1,
    at: datetime = NOON,
    label: Label = Label.HUMAN,
    gift: Gift | None = None,
) -> Event:
    number = next(numbers)
    return Event(
        id=UUID(int=number) if gift is None else event.gift_id(gift),
        at=at,
        kind=kind,
        blast=None if gift else blast,
        subscriber=None if gift else subscriber,
        link=3 if kind is Kind.CLICK else None,
        label=label,
        agent="Mozilla/5.0 (X11)",
        ip="192.0.2.0",
        gift=gift,
        body={"said": "so"} if gift else None,
    )


def a_gift(number: int = 1, *, at: datetime = NOON, **more: Any) -> Event:
    gift = Gift(
        sender="actblue",
        external_id=str(number),
        at=at,
        **{"amount": Decimal("25.00"), **more},
    )
    return an_event(Kind.DONATION, at=at, gift=gift)


async def rows(db: database.Pool, sql: str) -> list[tuple[Any, ...]]:
    async with database.connection(db) as connection:
        return [tuple(row) for row in await connection.raw.fetch(sql)]


ROLLUP = """
    SELECT blast_id, variant, provider, hour, opens, machine_opens, clicks,
           machine_clicks, unsubscribes, complaints, returned, donors, gifts, money
    FROM rollup
    WHERE opens + machine_opens + clicks + machine_clicks + unsubscribes + complaints
          + returned + gifts <> 0
    ORDER BY 1, 2, 3, 4
"""
# The same counts from the raw rows.
RECOUNT = """
    WITH seen AS (
        SELECT DISTINCT ON (subscriber_id, blast_id, kind, human)
               blast_id, coalesce(variant, 0) AS variant,
               coalesce(provider, 'other') AS provider, kind, human, at
        FROM (SELECT *, label = 'human'
                        OR kind IN ('unsubscribe', 'complaint', 'bounce') AS human
              FROM event WHERE kind <> 'donation') e
        ORDER BY subscriber_id, blast_id, kind, human, at
    ), given AS (
        SELECT d.blast_id, coalesce(d.variant, 0) AS variant,
               coalesce(l.provider, 'other') AS provider, d.at, d.amount,
               row_number() OVER (
                   PARTITION BY d.blast_id, d.subscriber_id,
                                CASE WHEN d.subscriber_id IS NULL
                                     THEN coalesce(d.email, d.external_id) END
                   ORDER BY d.at, d.external_id
               ) = 1 AS first
        FROM donation d
        LEFT JOIN delivery l USING (blast_id, subscriber_id)
        WHERE d.blast_id IS NOT NULL AND NOT d.renewal
    ), counted AS (
        SELECT blast_id, variant, provider, at,
               (kind = 'open' AND human)::int AS opens,
               (kind = 'open' AND NOT human)::int AS machine_opens,
               (kind = 'click' AND human)::int AS clicks,
               (kind = 'click' AND NOT human)::int AS machine_clicks,
               (kind = 'unsubscribe')::int AS unsubscribes,
               (kind = 'complaint')::int AS complaints,
               (kind = 'bounce')::int AS returned,
               0 AS donors, 0 AS gifts, 0 AS money
        FROM seen
        UNION ALL
        SELECT blast_id, variant, provider, at, 0, 0, 0, 0, 0, 0, 0, first::int, 1,
               amount
        FROM given
    )
    SELECT blast_id, variant, provider, date_trunc('hour', at, 'UTC') AS hour,
           sum(opens), sum(machine_opens), sum(clicks), sum(machine_clicks),
           sum(unsubscribes), sum(complaints), sum(returned), sum(donors), sum(gifts),
           sum(money)
    FROM counted
    GROUP BY blast_id, variant, provider, hour
    ORDER BY 1, 2, 3, 4
"""
EMPTY = (
    "TRUNCATE event, engagement, donation, giving, suppression, change, rollup "
    "RESTART IDENTITY"
)

TIMES = st.integers(-90, 400).map(lambda minutes: NOON + timedelta(minutes=minutes))
REACTIONS = st.builds(
    an_event,
    st.sampled_from(
        [
            Kind.OPEN,
            Kind.OPEN,
            Kind.CLICK,
            Kind.UNSUBSCRIBE,
            Kind.COMPLAINT,
            Kind.BOUNCE,
        ]
    ),
    subscriber=st.integers(1, 5),
    blast=st.integers(1, 2),
    at=TIMES,
    label=st.sampled_from(Label),
)
GIFTS = st.builds(
    a_gift,
    st.integers(1, 6),
    at=TIMES,
    amount=st.integers(1, 10**6).map(lambda cents: Decimal(cents).scaleb(-2)),
    email=st.sampled_from([None, "p1@example.org", "P1@Example.ORG", "new@x.test"]),
    refcode=st.sampled_from(["em_1_1", "em_1_1", "em_1_2", None, "em_9_9"]),
    giver=st.none() | st.builds(Token, blast=st.just(2), subscriber=st.integers(1, 5)),
    renewal=st.sampled_from([False, False, True]),
)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(REACTIONS | GIFTS, max_size=14), st.data())
def test_counters_are_those_of_the_raw_rows(
    database_url: str, seen: list[Event], data: st.DataObject
) -> None:
    told = data.draw(st.permutations(seen + seen[:4]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(told)), max_size=4)))
    batches = [
        told[start:end]
        for start, end in itertools.pairwise([0, *cuts, len(told)])
        if start < end
    ]

    rollup, recount = asyncio.run(counted_both_ways(database_url, batches))

    assert rollup == recount


async def counted_both_ways(
    url: str, batches: Sequence[list[Event]]
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    async with database.opened(url, size=1) as db:
        async with database.connection(db) as connection:
            await connection.raw.execute(EMPTY)
            if not await connection.raw.fetchval("SELECT count(*) FROM blast"):
                await connection.raw.execute(PEOPLE)
        for batch in [*batches, *batches[:2]]:
            await recording.load(db, batch)
        return await rows(db, ROLLUP), await rows(db, RECOUNT)


@pytest.mark.parametrize(
    ("gift", "expected"),
    [
        (
            a_gift(1, refcode="em_1_2", email="p1@example.org"),
            ("refcode", 1, 1, 2, None),
        ),
        (
            a_gift(2, refcode="em_1_2", giver=Token(blast=1, subscriber=3, link=7)),
            ("refcode", 3, 1, 2, 7),
        ),
        (
            a_gift(3, refcode="em_8_1", giver=Token(blast=1, subscriber=3, link=7)),
            ("token", 3, 1, 2, 7),
        ),
        (
            a_gift(4, refcode="website", email=" P1@Example.org"),
            ("click", 1, 1, 1, 3),
        ),
        (
            a_gift(5, email="p1@example.org", at=NOON + timedelta(days=8)),
            ("none", 1, None, None, None),
        ),
        (
            a_gift(6, email="p1@example.org", at=NOON - timedelta(minutes=1)),
            ("none", 1, None, None, None),
        ),
        (
            a_gift(7, email="p2@example.org"),  # only a machine clicked
            ("none", 2, None, None, None),
        ),
        (a_gift(8, email="new@x.test"), ("none", None, None, None, None)),
        (
            a_gift(9, giver=Token(blast=1, subscriber=99, link=7), email="new@x.test"),
            ("token", None, 1, None, 7),
        ),
    ],
    ids=["refcode", "both", "token", "click", "late", "early", "machine", "no", "gone"],
)
async def test_a_gift_is_attributed_and_says_how(
    gift: Event, expected: tuple[Any, ...], blasts: database.Pool
) -> None:
    clicks = [
        an_event(Kind.CLICK, subscriber=1),
        an_event(Kind.CLICK, subscriber=2, label=Label.MACHINE),
    ]
    await recording.load(blasts, clicks)

    await recording.load(blasts, [gift])

    assert await rows(
        blasts,
        "SELECT method, subscriber_id, blast_id, variant, link FROM donation",
    ) == [expected]


async def test_a_gift_that_is_told_twice_is_one_gift(blasts: database.Pool) -> None:
    one = a_gift(1, refcode="em_1_1", email="p1@example.org")
    again = Event(id=UUID(int=1), at=NOON, kind=Kind.DONATION, gift=one.gift)

    loaded = [await recording.load(blasts, [each, each]) for each in (one, one, again)]

    assert loaded == [1, 0, 1]
    assert await rows(blasts, "SELECT live_count, live_sum, latest FROM giving") == [
        (1, Decimal("25.00"), Decimal("25.00"))
    ]
    assert await rows(blasts, "SELECT donors, gifts, money FROM rollup") == [
        (1, 1, Decimal("25.00"))
    ]
    assert await rows(blasts, "SELECT donated_at FROM engagement") == [(NOON,)]
    assert await rows(blasts, "SELECT subscriber_id FROM change") == [(1,)]


async def test_a_donor_is_counted_where_the_first_gift_is(
    blasts: database.Pool,
) -> None:
    late = a_gift(1, refcode="em_1_1", email="p1@example.org")
    early = a_gift(
        2, refcode="em_1_2", email="p1@example.org", at=NOON - timedelta(hours=3)
    )

    await recording.load(blasts, [late])
    await recording.load(blasts, [early])

    assert await rows(
        blasts, "SELECT variant, donors, gifts FROM rollup ORDER BY variant"
    ) == [(1, 0, 1), (2, 1, 1)]


async def test_a_history_of_giving_knows_highest_and_latest(
    blasts: database.Pool,
) -> None:
    gifts = [
        a_gift(1, amount=Decimal(10), at=NOON, email="p1@example.org"),
        a_gift(2, amount=Decimal(99), at=NOON - timedelta(2), email="p1@example.org"),
        a_gift(3, amount=Decimal(5), at=NOON - timedelta(1), email="p1@example.org"),
    ]

    await recording.load(blasts, gifts)

    assert await rows(
        blasts, "SELECT count, sum, highest, latest, latest_at FROM giving"
    ) == [(3, Decimal(114), Decimal(99), Decimal(10), NOON)]


async def test_what_is_done_with_a_proof_is_kept_and_counts_for_nobody(
    blasts: database.Pool,
) -> None:
    kinds = (Kind.OPEN, Kind.CLICK, Kind.UNSUBSCRIBE)

    await recording.load(blasts, [an_event(kind, subscriber=0) for kind in kinds])

    assert await rows(blasts, "SELECT count(*) FROM event") == [(3,)]
    for table in ("rollup", "engagement", "suppression"):
        assert await rows(blasts, f"SELECT count(*) FROM {table}") == [(0,)]


async def test_an_unsubscribe_suppresses_on_the_topic_of_its_blast(
    blasts: database.Pool,
) -> None:
    gone = [
        an_event(Kind.UNSUBSCRIBE, subscriber=1, blast=1),
        an_event(Kind.UNSUBSCRIBE, subscriber=1, blast=1),
        an_event(Kind.UNSUBSCRIBE, subscriber=1, blast=2),
        an_event(Kind.UNSUBSCRIBE, subscriber=2, blast=77),
        an_event(Kind.UNSUBSCRIBE, subscriber=99, blast=1),
    ]

    await recording.load(blasts, gone)
    await recording.load(blasts, gone)

    assert await rows(
        blasts,
        "SELECT address, topic, reason::text, source FROM suppression ORDER BY 1, 2",
    ) == [
        ("p1@example.org", "fundraising", "unsubscribe", "blast first"),
        ("p1@example.org", "news", "unsubscribe", "blast second"),
        ("p2@example.org", None, "unsubscribe", "blast 77"),
    ]
    assert len(await rows(blasts, "SELECT address FROM change")) == 3


async def test_who_came_back_is_not_suppressed_by_an_old_event(
    blasts: database.Pool,
) -> None:
    gone = an_event(Kind.UNSUBSCRIBE)
    await recording.load(blasts, [gone])
    async with database.connection(blasts) as connection:
        await connection.raw.execute("DELETE FROM suppression")

    await recording.load(blasts, [gone])

    assert await rows(blasts, "SELECT address FROM suppression") == []


async def test_an_unsubscribe_outlives_a_suppression_that_would_end(
    blasts: database.Pool,
) -> None:
    async with database.connection(blasts) as connection:
        await connection.raw.execute(
            "INSERT INTO suppression (address, topic, reason, source, expires_at) "
            "VALUES ('p1@example.org', 'fundraising', 'manual', 'x', '2026-10-02Z')"
        )

    await recording.load(blasts, [an_event(Kind.UNSUBSCRIBE)])

    assert await rows(blasts, "SELECT reason::text, expires_at FROM suppression") == [
        ("unsubscribe", None)
    ]


async def test_an_event_of_a_blast_that_is_gone_is_kept_and_counts_nowhere(
    blasts: database.Pool,
) -> None:
    await recording.load(blasts, [an_event(Kind.CLICK, blast=77)])

    assert await rows(blasts, "SELECT blast_id, provider FROM event") == [(77, None)]
    assert await rows(blasts, "SELECT * FROM rollup") == []


def spools(root: Path) -> list[Path]:
    return list(root.glob("*/*/*.spool"))


async def test_what_was_received_is_loaded_and_its_spool_goes(
    blasts: database.Pool, tmp_path: Path
) -> None:
    with receiving.opened(tmp_path) as inbox:
        await inbox.take(an_event(Kind.CLICK))
        await inbox.take(an_event(Kind.UNSUBSCRIBE))
        while_open = await recording.drain(blasts, tmp_path)
        left = spools(tmp_path)
    again = await recording.drain(blasts, tmp_path)

    assert (while_open, again) == (2, 0)
    assert len(left) == 2
    assert spools(tmp_path) == []


async def test_the_loader_waits_for_a_database_that_is_away(
    blasts: database.Pool, database_url: str, tmp_path: Path
) -> None:
    async with database.opened(database_url, size=1) as away:
        pass  # closed again
    loader = recording.Loader(away, tmp_path)
    with receiving.opened(tmp_path) as inbox:
        await inbox.take(an_event(Kind.CLICK))
        with pytest.raises(errors.Unavailable):
            await loader.step()

        assert loader.pending > 0
        assert await recording.drain(blasts, tmp_path) == 1


async def test_a_record_that_cannot_be_loaded_stops_no_other(
    blasts: database.Pool, tmp_path: Path
) -> None:
    poison = an_event(Kind.CLICK, blast=2**70)
    with receiving.opened(tmp_path) as inbox:
        await inbox.take(an_event(Kind.CLICK))
        await inbox.take(poison)
        await inbox.take(an_event(Kind.CLICK, subscriber=2))
    with spool.writing(tmp_path / "bulk" / "other") as writer:
        writer.write(b"no event")

    loaded = await recording.drain(blasts, tmp_path)

    assert loaded == 2
    assert event.decode((tmp_path / "refused.jsonl").read_bytes()) == poison


async def test_one_process_loads_and_the_others_stand_by(
    blasts: database.Pool, tmp_path: Path
) -> None:
    stop = asyncio.Event()
    loader = recording.Loader(blasts, tmp_path)
    with receiving.opened(tmp_path) as inbox:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recording.run(blasts, tmp_path, stop, loader=loader))
            await asyncio.sleep(0)
            with pytest.raises(errors.Conflict):
                await recording.drain(blasts, tmp_path)
            await inbox.take(an_event(Kind.CLICK))
            stop.set()

    assert loader.loaded == 1  # also what came last


async def test_two_machines_load_the_same_people_without_a_deadlock(
    blasts: database.Pool,
) -> None:
    def batch() -> list[Event]:
        people = [1 + byte % 4 for byte in os.urandom(40)]
        return [
            *(an_event(Kind.OPEN, subscriber=one, blast=1) for one in people),
            *(an_event(Kind.UNSUBSCRIBE, subscriber=one, blast=2) for one in people),
            *(a_gift(next(numbers), refcode="em_1_1") for _ in range(3)),
        ]

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(recording.load(blasts, batch()))

    assert await rows(blasts, ROLLUP) == await rows(blasts, RECOUNT)
