from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core import throttle
from mailer.core.provider import Rate
from mailer.core.throttle import Bucket, Meter, Quota

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
TODAY = NOON.date()

rates = st.floats(min_value=1 / 600, max_value=1000.0).map(Rate)
waits = st.integers(min_value=0, max_value=60_000_000).map(
    lambda ticks: timedelta(microseconds=ticks)
)
wants = st.integers(min_value=1, max_value=3000)


@settings(deadline=None)
@given(rates, st.lists(st.tuples(waits, wants, st.none() | rates), max_size=40))
def test_no_window_exceeds_what_its_rates_allow_and_one_depth(
    rate: Rate, steps: list[tuple[timedelta, int, Rate | None]]
) -> None:
    now, bucket = NOON, Bucket(rate=rate)
    allowed = 0.0  # the integral of the rate since the beginning
    grants: list[tuple[float, int, float]] = []  # allowed by then, tokens, depth
    for wait, want, changed in steps:
        now += wait
        allowed += bucket.rate.per_second * wait.total_seconds()
        if changed is not None:
            bucket = throttle.change(bucket, changed, now)
        tokens, bucket = throttle.take(bucket, want, now)
        grants.append((allowed, tokens, throttle.depth(bucket.rate)))
    for first in range(len(grants)):
        granted = 0
        for allowed_then, tokens, depth in grants[first:]:
            granted += tokens
            if tokens:
                window = allowed_then - grants[first][0]
                assert granted <= window + depth + 1e-3


@settings(deadline=None)
@given(rates, rates, wants, waits)
def test_changing_the_rate_keeps_the_debt(
    before: Rate, after: Rate, want: int, wait: timedelta
) -> None:
    _, bucket = throttle.take(Bucket(rate=before), want, NOON)
    now = NOON + wait
    changed = throttle.change(bucket, after, now)
    owed = throttle.debt(bucket, now)
    assert throttle.debt(changed, now) == pytest.approx(
        owed, abs=2e-6 * after.per_second + 1e-9
    )


@settings(deadline=None)
@given(rates, wants)
def test_who_waits_until_the_named_time_is_granted(rate: Rate, want: int) -> None:
    _, bucket = throttle.take(Bucket(rate=rate), want, NOON)
    ready = throttle.ready_at(bucket, NOON)
    assert throttle.take(bucket, 1, ready)[0] == 1
    if ready > NOON + timedelta(milliseconds=1):
        early = NOON + (ready - NOON) * 0.9
        assert throttle.take(bucket, 1, early)[0] == 0


@pytest.mark.parametrize(
    ("rate", "depth", "burst"),
    [("600/min", 10, 20), ("60/min", 1, 2), ("6/min", 1, 1.1), ("2/s", 2, 4)],
)
def test_a_burst_is_two_seconds_of_which_a_worker_may_keep_one(
    rate: str, depth: float, burst: float
) -> None:
    assert throttle.depth(Rate.parse(rate)) == pytest.approx(depth)
    assert throttle.burst(Rate.parse(rate)) == pytest.approx(burst)


def test_what_is_given_back_may_be_taken_again_and_no_more() -> None:
    tokens, bucket = throttle.take(Bucket(rate=Rate(10)), 100, NOON)
    assert (tokens, throttle.available(bucket, NOON)) == (10, 0)
    assert throttle.available(throttle.give_back(bucket, 4, NOON), NOON) == 4
    assert throttle.available(throttle.give_back(bucket, 40, NOON), NOON) == 10


def test_an_unlimited_bucket_changes_by_nothing() -> None:
    bucket = Bucket(rate=Rate.parse("unlimited"))
    assert throttle.take(bucket, 1000, NOON) == (1000, bucket)
    assert throttle.give_back(bucket, 5, NOON) is bucket
    assert throttle.ready_at(bucket, NOON) == NOON
    assert throttle.debt(bucket, NOON) == 0
    assert throttle.worth(bucket.rate) == 0
    assert throttle.available(throttle.change(bucket, Rate(3), NOON), NOON) == 3


@pytest.mark.parametrize(("rate", "worth"), [(0.1, 1), (4, 1), (40, 10)])
def test_a_question_is_worth_a_quarter_of_a_second(rate: float, worth: int) -> None:
    assert throttle.worth(Rate(rate)) == worth


def test_the_least_of_shared_limits_decides_and_all_are_charged() -> None:
    meters: dict[str, Meter] = {
        "lane": Bucket(rate=Rate(10)),
        "provider": Quota(limit=1000, day=TODAY, used=993),
        "domain": Quota(limit=500, day=TODAY - timedelta(days=1), used=500),
    }
    assert throttle.order(meters) == ["domain", "provider", "lane"]
    tokens, charged = throttle.share(meters, 9, NOON)
    assert tokens == 7
    assert charged["provider"] == Quota(limit=1000, day=TODAY, used=1000)
    assert charged["domain"] == Quota(limit=500, day=TODAY, used=7)
    assert throttle.room(charged["lane"], NOON) == 3


def test_none_is_charged_for_what_another_refuses() -> None:
    meters: dict[str, Meter] = {
        "lane": Bucket(rate=Rate(10)),
        "day": Quota(limit=5, day=date(2026, 10, 20), used=5),
    }
    assert throttle.share(meters, 3, NOON) == (0, {})
