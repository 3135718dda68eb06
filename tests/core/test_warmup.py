from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.core import warmup
from mailer.core.warmup import Day

MONDAY = date(2026, 10, 19)
TUESDAY = MONDAY + timedelta(days=1)


def day(quota: int, accepted: int, deferred: int = 0) -> Day:
    return Day(day=MONDAY, quota=quota, accepted=accepted, deferred=deferred)


@pytest.mark.parametrize(
    ("last", "quota"),
    [
        (None, 50),
        (day(50, 50), 100),
        (day(500, 480), 1000),
        (day(1000, 1000), 1500),
        (day(1500, 1500, 40), 2250),  # 2.6 % put off
        (day(1500, 1450, 50), 1500),  # 3.3 %
        (day(1500, 1000), 1500),  # not used: nothing is shown
        (day(1500, 0), 1500),
    ],
)
def test_a_day_follows_from_the_last(last: Day | None, quota: int) -> None:
    assert warmup.quota(last, TUESDAY) == quota


@given(st.integers(1000, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_day_is_more_than_half_as_much_again(
    quota: int, accepted: int, deferred: int
) -> None:
    found = warmup.quota(day(quota, accepted, deferred), TUESDAY)
    assert quota <= found <= 1.5 * quota


def test_the_same_day_keeps_its_quota_and_a_month_without_mail_begins_anew() -> None:
    last = day(90_000, 90_000)
    assert warmup.quota(last, MONDAY) == 90_000
    assert warmup.quota(last, MONDAY + timedelta(days=29)) == 135_000
    assert warmup.quota(last, MONDAY + timedelta(days=30)) == 50


def test_a_quota_is_spread_over_twelve_hours() -> None:
    assert warmup.pace(43_200).per_second == 1


def test_the_days_to_a_volume_are_known() -> None:
    assert [warmup.days(volume) for volume in (50, 51, 1000, 1500, 100_000)] == [
        0, 1, 4, 5, 16,
    ]  # fmt: skip
