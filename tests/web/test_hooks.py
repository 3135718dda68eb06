"""Gifts as ActBlue tells them: nothing is answered 2xx that is not on the disk."""

from __future__ import annotations

import copy
import json
import resource
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.core import tracking
from mailer.core.donation import Gift
from mailer.core.event import Kind
from mailer.web.hooks import actblue
from tests.web.conftest import ADA, NOON, RING, Tracker

URL = "/hooks/actblue/contributions"
# The shape is of secure.actblue.com/docs/webhooks, the people are nobody.
SAID: dict[str, Any] = {
    "donor": {
        "firstname": "Ada",
        "lastname": "Test",
        "zip": "60601",
        "email": "ada@example.org",
        "phone": None,
    },
    "contribution": {
        "createdAt": "2026-09-30T23:41:07-04:00",
        "orderNumber": "AB000000001",
        "contributionForm": "q3-deadline",
        "refcodes": {
            "refcode": "em_4821_2",
            "refcode2": tracking.refcode2(RING, ADA),
        },
        "recurringPeriod": "once",
        "recurringDuration": 1,
        "isExpress": True,
        "status": "approved",
    },
    "lineitems": [
        {
            "sequence": 0,
            "entityId": 1,
            "fecId": "C00000000",
            "committeeName": "Test for Congress",
            "amount": "25.00",
            "recurringAmount": None,
            "paidAt": "2026-09-30T23:41:07-04:00",
            "lineitemId": 500000001,
        }
    ],
    "form": {"name": "q3-deadline", "kind": "page"},
}
GIFT = Gift(
    sender="actblue",
    external_id="500000001",
    at=datetime(2026, 10, 1, 3, 41, 7, tzinfo=UTC),
    amount=Decimal("25.00"),
    email="ada@example.org",
    refcode="em_4821_2",
    giver=ADA,
)


def authorization(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(text.encode()).decode()}


RIGHT = authorization("blue:p:ss wörd")


def changed(**more: object) -> dict[str, Any]:
    """Return SAID with `contribution__status="declined"` and the like."""
    said = copy.deepcopy(SAID)
    for name, value in more.items():
        *way, key = name.split("__")
        place: Any = said
        for step in way:
            place = place[0 if step == "first" else step]
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return said


def read(said: object) -> list[Gift]:
    found = actblue.gifts(json.dumps(said).encode(), ring=RING, now=NOON)
    return [gift for gift, _ in found]


async def test_a_gift_is_written_down_before_the_answer(tracker: Tracker) -> None:
    answer = await tracker.ask("POST", URL, json=SAID, headers=RIGHT)

    assert (answer.status, await answer.json()) == (200, {"gifts": 1})
    [seen] = tracker.events()
    assert (seen.kind, seen.at, seen.gift) == (Kind.DONATION, GIFT.at, GIFT)
    assert seen.body is not None
    assert seen.body["lineitem"]["fecId"] == "C00000000"


async def test_a_gift_that_is_told_twice_has_one_id(tracker: Tracker) -> None:
    for _ in range(2):
        answer = await tracker.ask("POST", URL, json=SAID, headers=RIGHT)
        assert answer.status == 200

    one, other = tracker.events()
    assert one.id == other.id


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer " + RIGHT["Authorization"][6:]},
        authorization("blue:wrong"),
        authorization("red:p:ss wörd"),
        authorization("blue:p:ss wörd "),
    ],
    ids=["none", "empty", "bare", "junk", "bearer", "password", "user", "more"],
)
async def test_a_stranger_is_refused(headers: dict[str, str], tracker: Tracker) -> None:
    answer = await tracker.ask("POST", URL, json=SAID, headers=headers)

    assert answer.status == 401
    assert tracker.events() == []


def test_without_credentials_everybody_is_a_stranger() -> None:
    assert not actblue._may(None, RIGHT["Authorization"])
    assert not actblue._may(None, "Basic " + b64encode(b"None:None").decode())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 60_000, 400),
        (b'{"contribution": {"a": NaN}}', 400),
        (b" " * 70_000, 413),
    ],
    ids=["empty", "half", "list", "bytes", "deep", "nan", "long"],
)
async def test_a_body_that_is_none_is_refused(
    body: bytes, status: int, tracker: Tracker
) -> None:
    answer = await tracker.ask("POST", URL, data=body, headers=RIGHT)

    assert answer.status == status
    assert tracker.events() == []


async def test_a_full_disk_asks_for_another_try(tracker: Tracker) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        answer = await tracker.ask("POST", URL, json=SAID, headers=RIGHT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert answer.status == 503


def test_what_public_parsers_disagree_on_may_be_missing() -> None:
    least = {
        "contribution": {"orderNumber": "AB1"},
        "lineitems": [{"lineitemId": "77", "amount": 5}],
    }

    assert read(least) == [
        Gift(sender="actblue", external_id="77", at=NOON, amount=Decimal(5))
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lineitems__first__amount": 25.10}, {"amount": Decimal("25.1")}),
        ({"lineitems__first__amount": " 3 "}, {"amount": Decimal(3)}),
        (
            {"lineitems__first__paidAt": "2026-09-30T23:41:07"},  # Eastern, in summer
            {"at": datetime(2026, 10, 1, 3, 41, 7, tzinfo=UTC)},
        ),
        (
            {"lineitems__first__paidAt": "2026-12-31T23:59:59"},  # in winter
            {"at": datetime(2027, 1, 1, 4, 59, 59, tzinfo=UTC)},
        ),
        (
            {"lineitems__first__paidAt": "2026-10-01T03:41:07Z"},
            {"at": datetime(2026, 10, 1, 3, 41, 7, tzinfo=UTC)},
        ),
        ({"lineitems__first__paidAt": None}, {}),
        ({"donor": ...}, {"email": None}),
        ({"donor__email": None}, {"email": None}),
        ({"contribution__refcodes": {}}, {"refcode": None, "giver": None}),
        ({"contribution__refcodes": None}, {"refcode": None, "giver": None}),
        (
            {"contribution__refcodes": {"refcode": "tv"}},
            {"refcode": "tv", "giver": None},
        ),
        (
            {"contribution__refcodes": ..., "contribution__refcode": "em_1_1"},
            {"refcode": "em_1_1", "giver": None},
        ),
        ({"contribution__status": "APPROVED"}, {}),
        ({"contribution__recurringPeriod": "monthly"}, {"recurring": True}),
        (
            {
                "contribution__recurringPeriod": "monthly",
                "lineitems__first__sequence": 2,
            },
            {"recurring": True, "renewal": True},
        ),
        ({"donor__email": "a\0da@example.org"}, {}),
    ],
    ids=[
        *("float", "spaces", "summer", "winter", "zulu", "created", "donor", "email"),
        *("codes", "null", "one", "older", "case", "monthly", "renewal", "nul"),
    ],
)
def test_variations_are_read(
    change: dict[str, object], expected: dict[str, Any]
) -> None:
    fields = {name: getattr(GIFT, name) for name in GIFT.__slots__}

    assert read(changed(**change)) == [Gift(**{**fields, **expected})]


@pytest.mark.parametrize("status", ["declined", "pending"])
def test_only_what_is_approved_is_a_gift(status: str) -> None:
    assert read(changed(contribution__status=status)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"contribution": None},
        {"contribution__orderNumber": None},
        {"lineitems": []},
        {"lineitems": None},
        {"lineitems": ["x"]},
        {"lineitems__first__lineitemId": None},
        {"lineitems__first__amount": "a lot"},
        {"lineitems__first__amount": None},
        {"lineitems__first__amount": True},
        {"lineitems__first__amount": "-5"},
        {"lineitems__first__amount": "1e999999999"},
        {"lineitems__first__amount": "0.001"},
        {"lineitems__first__paidAt": "yesterday"},
        {"lineitems__first__paidAt": "0001-01-01T00:00:00+14:00"},
    ],
    ids=lambda change: "-".join(f"{key}-{value}"[11:] for key, value in change.items()),
)
def test_what_is_no_contribution_is_invalid(change: dict[str, object]) -> None:
    with pytest.raises(errors.Invalid):
        read(changed(**change))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.sampled_from(
        ["contribution", "lineitems", "donor", "contribution__refcodes"]
        + ["lineitems__first__" + key for key in SAID["lineitems"][0]]
        + ["contribution__" + key for key in SAID["contribution"]]
    ),
    JSON,
)
def test_any_value_anywhere_is_read_or_invalid(name: str, value: object) -> None:
    try:
        found = read(changed(**{name: value}))
    except errors.Invalid:
        return

    for gift in found:
        assert gift.amount > 0
        json.dumps([gift.external_id, gift.email, gift.refcode]).encode()
