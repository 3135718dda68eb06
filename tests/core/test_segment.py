import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from mailer import errors
from mailer.core import segment
from mailer.core.segment import grammar, tree


def parsed(name: str = "x", **document: Any) -> segment.Segment:
    return segment.parse(name, {"describes": "x", **document}, file=f"{name}.toml")


def problems(**document: Any) -> list[str]:
    with pytest.raises(errors.Invalid) as caught:
        parsed(**document)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "x.toml: no condition: write one of all, any, clicked, donated,"),
        ({"describe": "x"}, 'x.toml: describe: unknown key: did you mean "describes"?'),
        ({"al": []}, 'x.toml: al: unknown key: did you mean "all"?'),
        ({"all": {}}, "x.toml: all: a table: write conditions, [ { … }, … ]"),
        ({"all": []}, "x.toml: all: a list: write conditions, [ { … }, … ]"),
        ({"all": ["x"]}, 'x.toml: all[1]: "x": write a condition, { … }'),
        ({"all": [{}]}, "x.toml: all[1]: no condition: write one of"),
        ({"not": []}, "x.toml: not: a list: write a condition, { … }"),
        ({"sql": "1=1", "donated": True}, "x.toml: sql: SQL is not read: write condit"),
        (
            {"describes": 3, "donated": True},
            "x.toml: describes: missing: say in a line",
        ),
        ({"exclude": "a"}, 'x.toml: exclude: "a": write a list, [ "…" ]'),
        (
            {"field": "stat", "is": "WI"},
            'x.toml: field: "stat" is no field: did you me',
        ),
        ({"field": "id", "is": "1"}, 'x.toml: field: "id" is no field: write one of '),
        ({"field": "attributes.", "is": "1"}, 'x.toml: field: "attributes.": write "a'),
        ({"field": "a; --", "is": "1"}, 'x.toml: field: "a; --" is no field: '),
        ({"field": 3, "is": "1"}, "x.toml: field: 3: write text in quotes"),
        ({"field": "state"}, "x.toml: no test: write one of contains, exists, gt"),
        ({"field": "state", "iss": "x"}, "x.toml: no test: write one of contains, exi"),
        ({"is": "WI"}, "x.toml: is: it compares nothing: add field = …"),
        ({"field": "state", "in": "WI"}, 'x.toml: in: "WI": write 1 to 10000 values'),
        ({"field": "state", "in": []}, "x.toml: in: a list: write 1 to 10000 values"),
        ({"field": "state", "in": ["a", {}]}, "x.toml: in[2]: state is text: ask with"),
        ({"field": "state", "is": ""}, "x.toml: is: empty: write text, or ask with ex"),
        ({"field": "state", "is": "a\0"}, "x.toml: is: no database holds this text"),
        ({"field": "state", "is": "\ud800"}, "x.toml: is: no database holds this text"),
        ({"field": "zip", "gte": 5}, "x.toml: gte: zip is text: ask with is, in, star"),
        ({"field": "state", "exists": 1}, "x.toml: exists: 1: write true or false"),
        ({"field": "attributes.a", "lt": "x"}, 'x.toml: lt: "x": write a number'),
        (
            {"field": "attributes.a", "lt": "2026-02-30"},
            'x.toml: lt: "2026-02-30" is no day',
        ),
        (
            {"field": "attributes.a", "lt": Decimal("NaN")},
            "x.toml: lt: NaN: write at mo",
        ),
        (
            {"field": "attributes.a", "lt": Decimal("1e99")},
            "x.toml: lt: 1E+99: write at",
        ),
        (
            {"field": "attributes.a", "lt": 10**15},
            "x.toml: lt: 1000000000000000: write ",
        ),
        ({"donated": 3}, "x.toml: donated: 3: write a table, { … }"),
        (
            {"donated": {"cuont": 1}},
            'x.toml: donated.cuont: unknown key: did you mean "c',
        ),
        ({"donated": {"count": "1"}}, 'x.toml: donated.count: "1": write a number'),
        ({"donated": {"count": {}}}, "x.toml: donated.count: empty: write { gte = 1 }"),
        (
            {"donated": {"count": {"min": 1}}},
            "x.toml: donated.count.min: unknown key: w",
        ),
        (
            {"donated": {"within": "365 days"}},
            'x.toml: donated.within: "365 days" is no',
        ),
        (
            {"donated": {"within": "99999w"}},
            'x.toml: donated.within: "99999w": longer th',
        ),
        (
            {"donated": {"within": "9e99d"}},
            'x.toml: donated.within: "9e99d" is no dura',
        ),
        ({"donated": {"within": "9" * 20 + "d"}}, "x.toml: donated.within: "),
        (
            {"donated": {"since": datetime(2026, 1, 1)}},  # noqa: DTZ001 - the fault
            "x.toml: donated.since: 2026-01-01 00:00:00: write ",
        ),
        (
            {"donated": {"before": datetime(2026, 1, 1).date()}},  # noqa: DTZ001
            'x.toml: donated.before: 2026-01-01: write "90d" or an instant',
        ),
        ({"donated": {"since": "90d"}}, 'x.toml: donated.since: "90d": write '),
        (
            {"donated": {"within": "1d", "since": "2026-01-01T00:00:00Z"}},
            "x.toml: donated.since: it is there beside within: leave one out",
        ),
        (
            {"donated": {"within": "30d", "before": "90d"}},
            "x.toml: donated: no time is both so late and so early",
        ),
        (
            {"donated": {"latest": 5, "within": "30d"}},
            "x.toml: donated.latest: it needs no time: leave it or the time out",
        ),
        (
            {"opened": {"human": "yes"}},
            'x.toml: opened.human: "yes": write true or fals',
        ),
        ({"opened": {"blast": []}}, "x.toml: opened.blast: empty: name at least one"),
        (
            {"received": {"human": True}},
            "x.toml: received.human: unknown key: write one",
        ),
        ({"signed_up": {}}, "x.toml: signed_up: say when: within, since or before"),
        ({"random": {"percent": 5}}, "x.toml: random.salt: missing: it must be set"),
        ({"random": {"salt": "x"}}, "x.toml: random.percent: missing: it must be set"),
        (
            {"random": {"percent": 60, "above": 50, "salt": "x"}},
            "x.toml: random: percent must be over 0, and with above at most 100",
        ),
        ({"provider": 3}, 'x.toml: provider: 3: write a list, [ "…" ]'),
        ({"segment": ["a"]}, "x.toml: segment: a list: write text in quotes"),
    ],
)
def test_a_wrong_document_is_refused_with_its_key_and_cure(
    document: dict[str, Any], message: str
) -> None:
    assert problems(**document)[0].startswith(message)


def test_all_problems_of_a_document_are_told() -> None:
    found = problems(
        all=[{"field": "stat", "is": 3}, {"donated": {"count": "x", "withn": 3}}],
        exclude=[3],
    )
    assert [one.split(": ")[1] for one in found] == [
        "exclude[1]",
        "all[1].field",
        "all[1].is",
        "all[2].donated.withn",
        "all[2].donated.count",
    ]


def test_a_name_that_is_built_in_is_refused() -> None:
    with pytest.raises(errors.Invalid, match="built in"):
        parsed(name="everyone", donated=True)


def test_a_tree_too_deep_to_read_is_refused() -> None:
    document: dict[str, Any] = {"donated": True}
    for _ in range(grammar.DEPTH + 1):
        document = {"not": document}
    assert "nested more than" in problems(**document)[0]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"donated": True}, "People who gave."),
        ({"donated": False}, "People who never gave."),
        ({"not": {"donated": False}}, "People who gave."),
        (
            {"donated": {"count": {"gte": 1, "lt": 3}, "sum": {"gt": 1000}}},
            "People who gave at least 1 time and less than 3 times and "
            "more than 1,000 in all.",
        ),
        (
            {"not": {"donated": {"within": "365d"}}},
            "People who did not give in the last 365 days.",
        ),
        (
            {"donated": {"highest": {"gte": 500}, "recurring": True}},
            "People who gave at least 500 at once and every month.",
        ),
        (
            {"donated": {"since": "2026-10-01T00:00:00-04:00", "before": "1d"}},
            "People who gave since 2026-10-01 04:00 UTC and more than 1 day ago.",
        ),
        (
            {"opened": {"within": "36h", "count": {"gte": 3}, "human": False}},
            "People who opened at least 3 blasts in the last 36 hours "
            "(by a person or a machine).",
        ),
        ({"opened": False}, "People who did not open a blast."),
        ({"clicked": {"blast": "kickoff"}}, "People who clicked the blast kickoff."),
        (
            {"received": {"count": {"lt": 3}, "within": "7d"}},
            "People who were sent less than 3 blasts in the last 7 days.",
        ),
        (
            {
                "all": [
                    {"provider": "other"},
                    {"any": [{"donated": True}, {"opened": True}]},
                ]
            },
            "People who have provider other; and who gave or opened a blast.",
        ),
        (
            {"donated": {"recurring": False, "within": "1d"}},
            "People who gave but not every month in the last day.",
        ),
        (
            {"field": "state", "in": ["WI", "MI", "PA"]},
            "People who have state WI, MI or PA.",
        ),
        (
            {"not": {"field": "attributes.fav_colour", "starts": "re"}},
            'People who do not have fav colour beginning with "re".',
        ),
        (
            {"field": "attributes.joined", "gte": "2026-01-31"},
            "People who have joined on or after 2026-01-31.",
        ),
        ({"field": "zip", "exists": False}, "People who have no known zip."),
        (
            {"signed_up": {"within": "14d"}, "segment": "a", "exclude": ["b", "c"]},
            "People who signed up in the last 14 days; and who are of a; "
            "but nobody of b or c.",
        ),
        ({"exclude": ["b"]}, "Everyone; but nobody of b."),
        (
            {"random": {"percent": 10, "above": 20, "salt": "q4"}},
            "People who fall into 10 % by lot after the first 20 % (q4).",
        ),
        (
            {"not": {"any": [{"donated": True}, {"opened": True}]}},
            "People who are not those who (gave or opened a blast).",
        ),
        (
            {"field": "city", "in": [f"c{n}" for n in range(20)]},
            "People who have city c0, c1, c2, c3, c4, c5, c6 or 13 more.",
        ),
    ],
)
def test_a_segment_is_told_as_a_sentence(
    document: dict[str, Any], sentence: str
) -> None:
    assert segment.describe(parsed(**document)) == sentence


def test_everyone_is_built_in() -> None:
    everyone = segment.get("everyone", {})
    assert segment.describe(everyone) == "Everyone."
    assert segment.predicate(everyone, {}).sql == "(true)"


HOSTILE = "'; DROP TABLE subscriber; -- $1 :name %s \\ \" \n"


@pytest.mark.parametrize(
    "document",
    [
        {"field": "state", "is": HOSTILE},
        {"field": "state", "in": [HOSTILE, "x"]},
        {"field": "state", "starts": HOSTILE},
        {"field": "state", "contains": HOSTILE},
        {"field": f"attributes.{HOSTILE}", "exists": True},
        {"provider": HOSTILE},
        {"opened": {"blast": HOSTILE}},
        {"received": {"blast": [HOSTILE]}},
        {"random": {"percent": 5, "salt": HOSTILE}},
    ],
)
def test_text_of_any_kind_stays_a_parameter(document: dict[str, Any]) -> None:
    predicate = segment.predicate(parsed(**document), {})
    flat = [one for value in predicate.parameters for one in (value, *as_list(value))]
    assert HOSTILE in flat
    assert "DROP" not in predicate.sql


def as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def test_parameters_are_numbered_behind_those_of_others() -> None:
    one = parsed(
        all=[{"field": "state", "is": "WI"}, {"field": "city", "starts": "Mad"}]
    )
    found = segment.predicate(one, {}, offset=3)
    assert found.sql == (
        "(COALESCE(s.state = ANY($4::text[]), false)"
        " AND COALESCE(starts_with(s.city, $5::text), false))"
    )
    assert found.parameters == (["WI"], "Mad")
    assert found.moved(2).sql == segment.predicate(one, {}, offset=5).sql


def test_a_circle_of_segments_is_refused_with_its_way_round() -> None:
    known = {
        "a": parsed("a", segment="b"),
        "b": parsed("b", donated=True, exclude=["c"]),
        "c": parsed("c", **{"not": {"segment": "a"}}),
    }
    with pytest.raises(errors.Invalid) as caught:
        segment.check(known)
    assert [str(one) for one in caught.value.problems] == [
        "a.toml: segments go in a circle: a → b → c → a"
    ]
    for one in known.values():
        with pytest.raises(errors.Invalid, match="circle"):
            segment.predicate(one, known)


def test_a_reference_that_leads_nowhere_is_named_with_the_nearest() -> None:
    known = {
        "donors": parsed("donors", donated=True),
        "b": parsed("b", exclude=["doners"]),
        "c": parsed("c", any=[{"segment": "everyone"}, {"segment": "evryone"}]),
    }
    with pytest.raises(errors.Invalid) as caught:
        segment.check(known)
    assert [str(one) for one in caught.value.problems] == [
        'b.toml: exclude: there is no segment "doners": did you mean "donors"?',
        'c.toml: there is no segment "evryone": did you mean "everyone"?',
    ]


def test_the_closure_holds_everything_that_is_referred_to() -> None:
    known = {
        "a": parsed("a", segment="b"),
        "b": parsed("b", donated=True, exclude=["c"]),
        "c": parsed("c", donated=False),
        "d": parsed("d", donated=False),
    }
    assert set(segment.closure(["a"], known)) == {"a", "b", "c"}
    with pytest.raises(errors.NotFound, match="there is no segment"):
        segment.closure(["z"], known)


def test_an_audience_leaves_out_and_a_union_brings_together() -> None:
    known = {
        "a": parsed("a", donated=True),
        "b": parsed("b", provider="google"),
    }
    assert segment.audience("a", known, exclude=["b"], offset=1).sql == (
        "((COALESCE(g.count > 0, false))"
        " AND NOT COALESCE(s.provider = ANY($2::text[]), false))"
    )
    assert segment.union(["a", "b"], known).sql == (
        "((COALESCE(g.count > 0, false))"
        " OR COALESCE(s.provider = ANY($1::text[]), false))"
    )
    assert segment.union([], known).sql == "(false)"


def test_the_document_survives_json() -> None:
    document: Mapping[str, Any] = {
        "all": [
            {"donated": {"since": datetime(2026, 10, 1, 4, tzinfo=UTC)}},
            {"donated": {"sum": {"gte": Decimal("99.95"), "lt": 10**14}}},
            {"field": "attributes.x", "lt": datetime(2026, 1, 2, tzinfo=UTC).date()},
        ]
    }
    one = parsed(**document)
    again = segment.parse("x", json.loads(json.dumps(one.document)), file="x.toml")
    assert again == one
    assert again.document == one.document


def test_several_conditions_in_one_table_must_all_hold() -> None:
    tests: dict[str, Any] = {"is": "WI", "exists": True}
    one = parsed(donated=True, field="state", **tests)
    assert one.when == tree.All(
        parts=(
            tree.All(
                parts=(
                    tree.OneOf(field="state", values=("WI",)),
                    tree.Known(field="state"),
                )
            ),
            tree.Donated(),
        )
    )
