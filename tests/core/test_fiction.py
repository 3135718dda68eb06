from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from mailer.core import column, fiction, sheet

NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


def test_the_same_seed_gives_the_same_people_and_more_are_added_behind() -> None:
    some = list(fiction.people(1500, seed=7, now=NOW))

    assert list(islice(fiction.people(3000, seed=7, now=NOW), 1500)) == some
    assert list(fiction.people(1500, seed=8, now=NOW)) != some


def test_nobody_can_be_taken_for_somebody() -> None:
    for person in fiction.people(3000, seed=1, now=NOW):
        assert person["email"] == "" or person["email"].startswith("demo.")
    emails = [p["email"] for p in fiction.people(3000, seed=1, now=NOW) if p["email"]]
    assert len(set(emails)) == len(emails)


def test_the_people_are_as_those_of_a_large_list() -> None:
    people = list(fiction.people(20_000, seed=1, now=NOW))

    domains = Counter(person["email"].rpartition("@")[2] for person in people)
    assert 0.50 < domains["gmail.com"] / len(people) < 0.54
    assert 0.11 < sum(1 for p in people if p["gift_count"]) / len(people) < 0.13
    dates = {person["signed_up_at"] for person in people} - {"last summer"}
    assert max(dates) <= NOW.isoformat()
    assert {ZoneInfo(person["time_zone"]) for person in people}
    assert len({person["state"] for person in people}) == 51


def test_an_import_takes_all_but_one_in_a_thousand() -> None:
    data = iter(line.encode() for line in fiction.lines(20_000, seed=1, now=NOW))
    rows = sheet.records(lambda _: next(data, b""), file="people.csv")
    plan = column.plan(next(rows)[1], overrides={}, file="people.csv")
    refused = []

    for _, row in rows:
        try:
            column.person(plan, row, {})
        except column.Refused as error:
            refused.append(error.reason)

    assert 5 < len(refused) < 40
    assert len(set(refused)) > 3


def test_gifts_add_up() -> None:
    for person in fiction.people(3000, seed=2, now=NOW):
        if not person["gift_count"] or person["latest_gift"] == "a lot":
            continue
        total = float(person["gift_sum"])
        assert float(person["latest_gift"]) <= float(person["highest_gift"]) <= total
        assert total <= int(person["gift_count"]) * float(person["highest_gift"])
        if person["signed_up_at"] != "last summer":
            assert person["signed_up_at"] <= person["latest_gift_at"]
