from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core import segment
from mailer.core.segment import tree
from mailer.store import database
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


async def test_sql_picks_exactly_whom_brute_force_picks(db: database.Pool) -> None:
    async with database.transaction(db) as tx:
        await population.insert(tx, EVERYBODY)

        @settings(deadline=None, max_examples=40, database=None)
        @given(st.lists(trees, min_size=8, max_size=12))
        def collect(batch: list[dict[str, Any]]) -> None:
            batches.append(batch)

        batches: list[list[dict[str, Any]]] = []
        collect()
        for batch in batches:
            conditions = [parsed(document) for document in batch]
            for document, one, found in zip(
                batch, conditions, await picked(tx, conditions), strict=True
            ):
                wanted = {
                    person.id
                    for person in EVERYBODY
                    if population.holds(one.condition, person, KNOWN)
                }
                assert found == wanted, document
