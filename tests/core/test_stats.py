"""Rates, money and lifts, against scipy and by the laws that they obey exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mailer import errors
from mailer.core import stats
from mailer.core.stats import Tally


@st.composite
def tallies(draw: st.DrawFn, least: int = 1, most: int = 24) -> list[Tally]:
    """Any variants that could be: none, few or all reacted, one giant gift."""
    found = []
    for _ in range(draw(st.integers(least, most))):
        recipients = draw(st.integers(1, 10**7))
        clickers = draw(st.integers(0, recipients))
        donors = draw(st.one_of(st.just(0), st.integers(0, min(recipients, 300))))
        mean = draw(st.floats(1, 5000))
        spread = draw(st.floats(1, 50))
        money = donors * mean
        found.append(
            Tally(
                recipients=recipients,
                clickers=clickers,
                donors=donors,
                money=money,
                squares=spread * money**2 / donors if donors else 0.0,
            )
        )
    return found


@pytest.mark.parametrize(
    ("events", "trials"),
    [(0, 1), (1, 1), (0, 20), (20, 20), (1, 3), (88, 100_000), (514, 111_111)],
)
def test_wilson_is_scipys(events: int, trials: int) -> None:
    found = stats.wilson(events, trials)

    oracle = scipy_stats.binomtest(events, trials).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


@given(trials=st.integers(1, 10**7), share=st.floats(0, 1))
def test_wilson_lies_in_0_to_1_and_holds_the_rate(trials: int, share: float) -> None:
    events = int(trials * share)

    found = stats.wilson(events, trials)

    assert found is not None
    assert 0 <= found.low <= events / trials <= found.high <= 1


def test_wilson_of_nobody_is_unknown() -> None:
    assert stats.wilson(0, 0) is None


def test_more_events_than_trials_are_refused() -> None:
    with pytest.raises(errors.Invalid):
        stats.wilson(2, 1)
    with pytest.raises(errors.Invalid):
        stats.rate(np.array([1.0]), np.array([2.0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipients": 0},
        {"recipients": 3, "donors": 4, "money": 9.0},
        {"recipients": 3, "clickers": 4},
        {"recipients": 3, "donors": 1, "money": 0.0},
        {"recipients": 3, "donors": 0, "money": 5.0},
        {"recipients": 3, "donors": 2, "money": -5.0},
    ],
)
def test_counts_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(errors.Invalid):
        Tally(**wrong)  # type: ignore[arg-type]  # numbers of either kind


def test_without_half_an_event_a_lift_is_katz() -> None:
    estimate = stats.rate(np.array([1000.0, 1200.0]), np.array([30.0, 55.0]), half=0.0)

    lifts = stats.against(estimate)

    oracle = scipy_stats.contingency.relative_risk(55, 1200, 30, 1000)
    interval = oracle.confidence_interval()
    low, high = lifts.bounds(stats.z())
    assert 1 + lifts.ratio[0] == pytest.approx(oracle.relative_risk)
    assert (1 + low[0], 1 + high[0]) == pytest.approx((interval.low, interval.high))


def test_a_variant_without_an_event_has_a_finite_figure_below_the_others() -> None:
    estimate = stats.rate(np.array([11_111.0, 11_111.0]), np.array([9.0, 0.0]))

    assert np.isfinite(estimate.theta).all()
    assert estimate.theta[1] < np.log(4.5 / 11_111)
    assert estimate.v[1] == pytest.approx(2, abs=0.05)


def test_money_is_unknown_where_nobody_gave() -> None:
    assert stats.money([Tally(recipients=5), Tally(recipients=9, clickers=3)]) is None


def test_money_without_known_squares_takes_the_published_spread() -> None:
    arms = [Tally(recipients=900, donors=9, money=450.0)] * 2

    assert stats.spreads(arms).tolist() == [stats.SPREAD, stats.SPREAD]


def test_weights_choose_between_own_and_pooled_spread() -> None:
    arms = [
        Tally(recipients=900, donors=2, money=20.0, squares=200.0),
        Tally(recipients=900, donors=2, money=20.0, squares=328.0),
    ]

    assert stats.spreads(arms, weight=0).tolist() == pytest.approx([1.0, 1.64])
    assert stats.spreads(arms, weight=np.inf).tolist() == pytest.approx([1.32, 1.32])


@given(arms=tallies())
def test_every_figure_is_finite(arms: list[Tally]) -> None:
    estimates = [
        stats.rate(stats.column(arms, "recipients"), stats.column(arms, "donors")),
        stats.money(arms),
    ]

    for estimate in estimates:
        if estimate is not None:
            assert np.isfinite(estimate.theta).all()
            assert (estimate.v > 0).all()
            assert (estimate.w > 0).all()


@given(arms=tallies(least=2), turn=st.integers(1, 23))
def test_relabelling_variants_relabels_the_figures(
    arms: list[Tally], turn: int
) -> None:
    found, turned = stats.money(arms), stats.money(_rotated(arms, turn))

    if found is None or turned is None:
        assert found is turned is None
        return
    assert turned.theta == pytest.approx(_rotated(list(found.theta), turn), rel=1e-12)
    assert turned.v == pytest.approx(_rotated(list(found.v), turn), rel=1e-9)


@given(arms=tallies(least=2), times=st.floats(0.01, 100))
def test_dollars_in_another_unit_change_no_lift(
    arms: list[Tally], times: float
) -> None:
    scaled = [
        Tally(
            recipients=arm.recipients,
            donors=arm.donors,
            money=arm.money * times,
            squares=(arm.squares or 0.0) * times**2,
        )
        for arm in arms
    ]

    found, other = stats.money(arms), stats.money(scaled)

    if found is not None and other is not None:
        assert other.theta == pytest.approx(found.theta + np.log(times), abs=1e-9)
        assert other.v == pytest.approx(found.v, rel=1e-6)


@given(arms=tallies(least=2), at=st.integers(0, 23))
def test_one_more_event_never_lowers_a_rate(arms: list[Tally], at: int) -> None:
    at %= len(arms)
    n, k = stats.column(arms, "recipients"), stats.column(arms, "donors")
    more = k.copy()
    more[at] = min(n[at], k[at] + 1)

    before, after = stats.rate(n, k), stats.rate(n, more)

    assert after.theta[at] >= before.theta[at] - 1e-12


@given(n=st.integers(1000, 10**6), k=st.integers(50, 400), other=st.integers(50, 400))
def test_four_times_the_people_halve_the_error(n: int, k: int, other: int) -> None:
    small = stats.rate(np.array([n, n], float), np.array([k, other], float))
    large = stats.rate(4 * np.array([n, n], float), 4 * np.array([k, other], float))

    assert np.sqrt(small.v / large.v) == pytest.approx([2, 2], rel=0.02)


@given(arms=tallies(least=2, most=2))
def test_swapping_two_variants_mirrors_the_lift(arms: list[Tally]) -> None:
    estimate = stats.money(arms)
    if estimate is None:
        return

    one, other = stats.against(estimate, 0), stats.against(estimate, 1)

    low, high = one.bounds(stats.z())
    other_low, other_high = other.bounds(stats.z())
    assert (1 + one.ratio) * (1 + other.ratio) == pytest.approx([1.0], rel=1e-3)
    assert (1 + low) * (1 + other_high) == pytest.approx([1.0], rel=1e-3)  # near -1
    assert (1 + high) * (1 + other_low) == pytest.approx([1.0], rel=1e-3)
    assert one.p == pytest.approx(other.p)


def test_the_published_unsubscribe_test_is_compared_as_its_slides_did() -> None:
    # facts of a full-list test of 2012: D4 against D2 p .0103, against D3 p .0431
    n = np.array([578_994, 578_814, 578_620, 580_507], float)
    k = np.array([105, 79, 86, 115], float)

    lifts = stats.against(stats.rate(n, k, half=0.0), 3)

    assert lifts.p[1] == pytest.approx(0.0103, abs=0.002)
    assert lifts.p[2] == pytest.approx(0.0431, abs=0.002)


def _rotated(values: list, turn: int) -> list:  # type: ignore[type-arg]  # of anything
    turn %= len(values)
    return values[turn:] + values[:turn]
