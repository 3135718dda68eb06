import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import errors
from mailer.core import column
from mailer.core.column import Field

HEADERS = [
    ("E-Mail", Field.EMAIL),
    ("email address", Field.EMAIL),
    ("FirstName", Field.FIRST_NAME),
    ("Given Name", Field.FIRST_NAME),
    ("Last", Field.LAST_NAME),
    ("ADDRESS", Field.STREET),
    ("Zip Code", Field.ZIP),
    ("postal code", Field.ZIP),
    ("TimeZone", Field.TIME_ZONE),
    ("lang", Field.LANGUAGE),
    ("Signup Date", Field.SIGNED_UP_AT),
    ("total given", Field.GIFT_SUM),
    ("Highest previous contribution", Field.HIGHEST_GIFT),
    ("Most Recent Contribution Date", Field.LATEST_GIFT_AT),
]


def planned(*header: str, **overrides: str) -> column.Plan:
    """Return how a file with this header is read."""
    return column.plan(header, overrides=overrides, file="people.csv")


@pytest.mark.parametrize(("name", "field"), HEADERS)
def test_a_header_is_known_by_its_usual_names(name: str, field: Field) -> None:
    plan = planned("email", name) if field is not Field.EMAIL else planned(name)

    assert plan.meanings[name] == field


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Ward #", "ward"),
        ("  T-Shirt Size ", "t_shirt_size"),
        ("2012 turnout", "column_2012_turnout"),
        ("Größe", "grosse"),
        ("{{ 7*7 }}", "column_7_7"),
        ("☎", ""),
    ],
)
def test_an_attribute_has_a_name_that_templates_can_use(name: str, slug: str) -> None:
    assert column.slug(name) == slug


def test_columns_without_a_name_are_left_out() -> None:
    plan = planned("email", "", "☎")

    assert column.person(plan, ["ada@example.org", "x", "y"], {}) == [
        "ada@example.org", "ada@example.org", "example.org", "other",
    ]  # fmt: skip


def test_every_problem_of_a_header_is_said_at_once() -> None:
    with pytest.raises(errors.Invalid) as caught:
        column.plan(
            ["Name", "Town", "City"], overrides={"Twon": "city"}, file="people.csv"
        )

    assert str(caught.value).splitlines() == [
        'people.csv:1: no column "Twon": did you mean "Town"?',
        'people.csv:1: "Town" and "City" are both city: say --map "City=-"',
        'people.csv:1: no column with addresses among "Name", "Town", "City": '
        'say --map "Column=email"',
    ]


def test_a_row_is_read_in_the_order_of_its_names() -> None:
    plan = planned("Lang", "Ward", "State", "First", "Email", "Gifts")

    cells = column.person(
        plan, ["English", 'the "7th"', "wi", " Zoë ", "ADA@x.test", ""], {"x.test": "x"}
    )

    assert dict(zip(plan.names, cells, strict=True)) == {
        "address": "ada@x.test",
        "email": "ADA@x.test",
        "domain": "x.test",
        "provider": "x",
        "first_name": "Zoë",
        "language": "en",
        "state": "WI",
        "gift_count": "",
        "attributes": '{"ward": "the \\"7th\\""}',
    }


def test_the_newer_row_about_a_person_wins_where_it_knows_anything() -> None:
    plan = planned("email", "first", "city", "ward", "size")
    older = column.person(plan, ["ada@x.test", "Ada", "Town", "7", "M"], {})
    newer = column.person(plan, ["Ada@x.test", "Adele", "", "", "L"], {})

    merged = dict(zip(plan.names, column.merge(plan, older, newer), strict=True))

    assert (merged["email"], merged["first_name"], merged["city"]) == (
        "Ada@x.test", "Adele", "Town",
    )  # fmt: skip
    assert json.loads(merged["attributes"]) == {"ward": "7", "size": "L"}


@given(st.lists(st.text(max_size=30), min_size=3, max_size=5))
def test_a_row_of_anything_is_read_or_refused(row: list[str]) -> None:
    plan = planned("email", "first", "highest_gift", "ward")
    row[0] = f"ada{row[0]}@example.org" if len(row[0]) < 5 else "ada@example.org"

    try:
        cells = column.person(plan, row, {})
    except column.Refused:
        return

    assert len(cells) == len(plan.names)
    assert not any(mark in text for text in cells for mark in "\t\r\n\0")
    assert isinstance(json.loads(cells[-1] or "{}"), dict)
