import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core import segment
from mailer.core.segment import tree
from mailer.store import database, segments
from tests.store import population

OPS = tuple(op.value for op in tree.Op)
OTHERS: dict[str, dict[str, Any]] = {
    "others": {"describes": "x", "field": "provider", "in": ["google", "other"]},
    "givers": {"describes": "x", "donated": True, "exclude": ["others"]},
}

texts = st.sampled_from([text for text in population.TEXTS if text]) | st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1
)
attributes = st.sampled_from([f"attributes.{name}" for name in population.ATTRIBUTES])
fields = st.sampled_from(tree.FIELDS) | attributes
numbers = (
    st.integers(-5, 2000)
    | st.decimals(-10, 2000, places=2)
    | st.sampled_from([12, 7, Decimal("-3.50")])
)
days = st.dates(date(2026, 9, 28), date(2027, 1, 2)) | st.just(date(2026, 10, 1))
durations = st.integers(0, 210).map(lambda count: f"{count}d")
instants = st.integers(-300, 10).map(lambda n: population.NOW + timedelta(days=n))
windows = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"within": durations}),
    st.fixed_dictionaries({"since": instants}),
    st.fixed_dictionaries({"before": durations | instants}),
    st.tuples(st.integers(101, 220), st.integers(0, 100)).map(
        lambda pair: {"within": f"{pair[0]}d", "before": f"{pair[1]}d"}
    ),
    st.fixed_dictionaries({"since": instants, "before": durations}),
)
blasts = st.sampled_from(population.BLASTS) | st.just("no such blast")


def bounds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.dictionaries(
        st.sampled_from(OPS), values, min_size=1, max_size=2
    )


def merged(parts: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


field_tests = st.one_of(
    st.builds(lambda f, v: {"field": f, "is": v}, fields, texts),
    st.builds(lambda f, v: {"field": f, "in": v}, fields, st.lists(texts, min_size=1)),
    st.builds(lambda f, v: {"field": f, "exists": v}, fields, st.booleans()),
    st.builds(lambda f, v: {"field": f, "starts": v}, fields, texts),
    st.builds(lambda f, v: {"field": f, "contains": v}, fields, texts),
    st.builds(
        lambda f, op, v: {"field": f, op: v},
        attributes,
        st.sampled_from(OPS),
        numbers | days,
    ),
    st.builds(lambda f, v: {"field": f, "is": v}, attributes, st.booleans()),
)
counts = st.fixed_dictionaries({}, optional={"count": bounds(st.integers(0, 4))})
named = st.fixed_dictionaries(
    {}, optional={"blast": blasts | st.lists(blasts, min_size=1)}
)
measures = st.fixed_dictionaries(
    {},
    optional={
        "count": bounds(st.integers(0, 5)),
        "sum": bounds(numbers),
        "highest": bounds(numbers),
        "recurring": st.booleans(),
    },
)
humans = st.fixed_dictionaries({}, optional={"human": st.booleans()})
leaves = st.one_of(
    field_tests,
    st.booleans().map(lambda value: {"donated": value}),
    st.tuples(measures, windows).map(lambda parts: {"donated": merged(parts)}),
    st.builds(lambda value: {"donated": {"latest": value}}, bounds(numbers)),
    st.builds(
        lambda kind, parts: {kind: merged(parts)},
        st.sampled_from(["opened", "clicked"]),
        st.tuples(windows, counts, named, humans),
    ),
    st.tuples(windows, counts, named).map(lambda parts: {"received": merged(parts)}),
    windows.filter(bool).map(lambda window: {"signed_up": window}),
    st.builds(
        lambda percent, above, salt: {
            "random": {"percent": percent, "above": above, "salt": salt}
        },
        st.integers(1, 60) | st.just(Decimal("12.5")),
        st.integers(0, 40),
        texts,
    ),
    st.sampled_from(["google", "yahoo"]).map(lambda name: {"provider": name}),
    st.sampled_from(sorted(OTHERS)).map(lambda name: {"segment": name}),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=5,
)


def parsed(document: Mapping[str, Any], name: str = "x") -> segment.Segment:
    return segment.parse(name, {"describes": "x", **document}, file="x.toml")


KNOWN = {name: parsed(document, name) for name, document in OTHERS.items()}
EVERYBODY = population.people(80, seed=7)


async def picked(
    tx: database.Connection, conditions: list[segment.Segment]
) -> list[set[int]]:
    """Ask PostgreSQL in one statement who is in each segment."""
    columns: list[str] = []
    values: list[Any] = []
    for one in conditions:
        predicate = segment.predicate(one, KNOWN, offset=len(values))
        columns.append(predicate.sql)
        values += predicate.parameters
    rows = await tx.raw.fetch(
        f"SELECT s.id, ARRAY[{', '.join(columns)}] FROM {segment.FROM}", *values
    )
    assert not any(None in row[1] for row in rows), "a predicate is never null"
    return [{row[0] for row in rows if row[1][n]} for n in range(len(conditions))]


DAY = date(2026, 10, 1)


async def test_sql_picks_exactly_whom_brute_force_picks(db: database.Pool) -> None:
    batches: list[list[dict[str, Any]]] = []

    @settings(deadline=None, max_examples=40, database=None)
    @given(st.lists(trees, min_size=8, max_size=12))
    def collect(batch: list[dict[str, Any]]) -> None:
        batches.append(batch)

    collect()
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY)
        for batch in batches:
            conditions = [parsed(document) for document in batch]
            for document, one, found in zip(
                batch, conditions, await picked(tx, conditions), strict=True
            ):
                assert found == brute(one), document


def brute(one: segment.Segment) -> set[int]:
    return {
        person.id
        for person in EVERYBODY
        if population.holds(one.condition, person, KNOWN)
    }


# Each condition splits the population: the law would not see one that never holds.
SPLITTING: list[dict[str, Any]] = [
    {"field": "state", "is": "WI"},
    {"field": "state", "exists": True},
    {"field": "last_name", "starts": "'"},
    {"field": "last_name", "contains": "DROP"},
    {"field": "attributes.age", "is": "12"},
    {"field": "attributes.age", "gte": 10},
    {"field": "attributes.joined", "lt": date(2026, 10, 1)},
    {"field": "attributes.joined", "is": date(2026, 10, 1)},
    {"donated": True},
    {"donated": {"count": {"gte": 2}, "sum": {"gt": 100}}},
    {"donated": {"highest": {"gte": 400}}},
    {"donated": {"latest": {"lt": 300}}},
    {"donated": {"recurring": True}},
    {"donated": {"recurring": False}},
    {"donated": {"within": "60d"}},
    {"donated": {"before": "90d"}},
    {"donated": {"within": "120d", "before": "30d"}},
    {"donated": {"within": "90d", "count": 2}},
    {"donated": {"before": "30d", "sum": {"gte": 300}}},
    {"donated": {"since": population.NOW - timedelta(days=50), "highest": {"lt": 200}}},
    {"opened": True},
    {"opened": {"human": False, "within": "10d"}},
    {"opened": {"blast": "kickoff"}},
    {"opened": {"count": {"gte": 2}, "within": "100d"}},
    {"clicked": {"before": "100d", "blast": [population.BLASTS[1], "kickoff"]}},
    {"received": True},
    {"received": {"count": {"lt": 1}}},
    {"received": {"within": "50d", "blast": population.BLASTS[2]}},
    {"provider": ["google", "yahoo"]},
    {"signed_up": {"within": "100d"}},
    {"random": {"percent": 30, "salt": "o'clock"}},
    {"random": {"percent": 30, "above": 30, "salt": "o'clock"}},
    {"segment": "givers"},
    {"exclude": ["givers"]},
]


async def test_each_condition_and_its_opposite_split_everybody(
    db: database.Pool,
) -> None:
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY)
        for document in SPLITTING:
            opposite: dict[str, Any] = {"not": document}
            twice: dict[str, Any] = {"not": opposite}
            if "exclude" in document:  # stands beside conditions, not in one
                opposite, twice = {"segment": "givers"}, {"exclude": ["givers"]}
            yes, no, again = await picked(
                tx, [parsed(one) for one in (document, opposite, twice)]
            )
            everybody = {person.id for person in EVERYBODY}
            assert yes == brute(parsed(document)), document
            assert set() < yes < everybody, document
            assert no == everybody - yes, document
            assert again == yes, document


async def test_windows_end_on_the_instant(db: database.Pool) -> None:
    """At the edge: within counts it, before does not."""
    day = timedelta(days=1)
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY[:1])
        await tx.raw.execute(
            "UPDATE subscriber SET signed_up_at = $1", population.NOW - 30 * day
        )
        within, before = await picked(
            tx,
            [
                parsed({"signed_up": {"within": "30d"}}),
                parsed({"signed_up": {"before": "30d"}}),
            ],
        )
    assert (within, before) == ({1}, set())


async def test_a_day_is_24_hours_whatever_the_time_zone_of_the_session(
    db: database.Pool,
) -> None:
    """Clocks went back on 2026-11-01 in New York: 2 days before are 48 hours."""
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY[:1])
        await tx.raw.execute("SET LOCAL TimeZone = 'America/New_York'")
        await tx.raw.execute("UPDATE clock SET shift = $1::timestamptz - now()", now)
        await tx.raw.execute(
            "UPDATE subscriber SET signed_up_at = $1",
            now - timedelta(hours=48, minutes=30),
        )
        (found,) = await picked(tx, [parsed({"signed_up": {"within": "2d"}})])
    assert found == set()


async def test_a_lot_is_the_share_that_was_asked_for(db: database.Pool) -> None:
    lots = [
        parsed({"random": {"percent": 25, "above": above, "salt": "a"}})
        for above in (0, 25, 50, 75)
    ]
    async with database.transaction(db) as tx:
        await population.insert(tx, population.people(400, seed=1))
        found = await picked(tx, lots)
    assert sum(map(len, found)) == len(set().union(*found)) == 400
    assert all(70 <= len(one) <= 130 for one in found)


async def test_counts_tell_whom_suppressions_leave(db: database.Pool) -> None:
    everyone = segment.predicate(segment.get("everyone", {}), {})
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY[:20])
        await tx.raw.execute(
            "INSERT INTO suppression (address, topic, reason, source, expires_at)"
            " VALUES ($1, NULL, 'manual', 't', NULL),"
            " ($2, 'news', 'manual', 't', NULL),"
            " ($3, NULL, 'manual', 't', mailer_now() - interval '1 day'),"
            " ('@yahoo.test', NULL, 'manual', 't', NULL)",
            *(person.columns["address"] for person in EVERYBODY[:3]),
        )
        found = await segments.count(tx, everyone)

    first = EVERYBODY[0]
    allowed = [
        person
        for person in EVERYBODY[:20]
        if person is not first and person.columns["domain"] != "yahoo.test"
    ]
    assert sum(one.total for one in found) == 20
    assert {one.provider: one.mailable for one in found} == {
        provider: sum(person.columns["provider"] == provider for person in allowed)
        for provider in {person.columns["provider"] for person in EVERYBODY[:20]}
    }


async def test_a_sample_shows_the_same_people_for_the_same_seed(
    db: database.Pool,
) -> None:
    one = parsed({"field": "provider", "in": ["google", "other"]})
    predicate = segment.predicate(one, {})
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY)
        first = await segments.sample(tx, predicate, size=5, seed=1)
        again = await segments.sample(tx, predicate, size=5, seed=1)
        other = await segments.sample(tx, predicate, size=5, seed=2)
        ids = await segments.ids(tx, predicate)
    assert len(first) == 5
    assert first == again != other
    assert {person.id for person in first} <= set(ids) == brute(one)


def test_random_documents_survive_json() -> None:
    @settings(deadline=None, max_examples=60, database=None)
    @given(trees)
    def law(document: dict[str, Any]) -> None:
        one = parsed(document)
        assert parsed(json.loads(json.dumps(one.document))).when == one.when

    law()


@pytest.mark.parametrize("test", [{"is": DAY}, {"in": [DAY, "x"]}, {"in": [DAY]}])
def test_a_day_stays_one_in_json(test: dict[str, Any]) -> None:
    one = parsed({"field": "attributes.age", **test})
    document = json.dumps(one.document, default=str)
    assert parsed(json.loads(document)).when == one.when
