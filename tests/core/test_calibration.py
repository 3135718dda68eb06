"""Simulated: what is said to be 95 % sure is right about that often.

Short runs are always on, with bounds wide enough for their own noise; the long ones
are `soak`.
"""

from __future__ import annotations

import numpy as np
import pytest

from mailer.core import contrast, maturity, score, sequence, stats
from mailer.core.stats import Floats, Tally


def looks_of(
    random: np.random.Generator, *, arms: int, people: int, rate: float, looks: int
) -> Floats:
    """Events of each arm at each look of an A/A test whose outcomes come in slowly."""
    final = random.binomial(people, rate, size=arms)
    ages = [maturity.share(48 * (look + 1) / looks) for look in range(looks)]
    arrived = [np.sort(random.random(int(one))) for one in final]
    return np.array(
        [[float(np.searchsorted(one, age)) for one in arrived] for age in ages]
    )


def alarms(
    *, runs: int, arms: int, people: int, rate: float, looks: int
) -> list[float]:
    """Share of A/A tests that any look calls different: peek-safe, and by 1.96."""
    random = np.random.default_rng(11)
    n = np.full(arms, float(people))
    safe = naive = 0
    for _ in range(runs):
        fired = [False, False]
        for k in looks_of(random, arms=arms, people=people, rate=rate, looks=looks):
            if k.sum() < sequence.LEAST_EVENTS * arms / 2:
                continue
            lifts = stats.against(stats.rate(n, k))
            size = (np.abs(lifts.log) / lifts.error).max()
            information = float((k[0] + k[1:].mean()) / (2 * people * rate))
            reach = sequence.multiplier(information, alpha=stats.ALPHA / len(lifts))
            fired = [fired[0] or size > reach, fired[1] or size > stats.z()]
        safe, naive = safe + fired[0], naive + fired[1]
    return [safe / runs, naive / runs]


@pytest.mark.parametrize(("arms", "rate"), [(2, 0.01), (6, 0.01), (2, 0.25)])
def test_peeking_costs_no_validity_and_would_by_the_usual_rule(
    arms: int, rate: float
) -> None:
    safe, naive = alarms(runs=150, arms=arms, people=20_000, rate=rate, looks=24)

    assert safe <= 0.05
    assert naive >= 0.10


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("arms", [2, 18])
@pytest.mark.parametrize(
    ("rate", "people"), [(0.001, 50_000), (0.01, 20_000), (0.25, 5_000), (0.6, 5_000)]
)
def test_peeking_192_times_costs_no_validity(
    arms: int, rate: float, people: int
) -> None:
    safe, naive = alarms(runs=2000, arms=arms, people=people, rate=rate, looks=192)

    assert safe <= 0.05
    assert naive >= 0.10


def coverage(*, runs: int, donors: float, seed: int = 4) -> tuple[float, float]:
    """Share of lift intervals that hold the truth: of donors, of money."""
    random = np.random.default_rng(seed)
    people = 20_000
    n = np.full(2, float(people))
    held = [0, 0]
    for _ in range(runs):
        k = random.binomial(people, donors / people, size=2).astype(float)
        gifts = [random.lognormal(3, 1.2, size=int(one)) for one in k]
        tallies = [
            Tally(
                recipients=people,
                donors=len(one),
                money=float(one.sum()),
                squares=float((one**2).sum()),
            )
            for one in gifts
        ]
        money = stats.money(tallies)
        for at, estimate in enumerate((stats.rate(n, k), money)):
            if estimate is None:
                held[at] += 1
                continue
            low, high = stats.against(estimate).bounds(stats.z())
            held[at] += bool(low[0] <= 0 <= high[0])
    return held[0] / runs, held[1] / runs


@pytest.mark.parametrize(("donors", "least"), [(3, 0.94), (10, 0.94), (30, 0.93)])
def test_a_lift_interval_holds_the_truth(donors: float, least: float) -> None:
    of_donors, of_money = coverage(runs=600, donors=donors)

    assert of_donors >= least
    assert of_money >= 0.88


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("donors", "of_donors", "of_money"),
    [(3, 0.94, 0.89), (10, 0.94, 0.92), (30, 0.94, 0.93)],
)
def test_a_lift_interval_holds_the_truth_6000_times(
    donors: float, of_donors: float, of_money: float
) -> None:
    found = coverage(runs=6000, donors=donors)

    assert found[0] >= of_donors
    assert found[1] >= of_money


def clear_by_chance(*, runs: int, arms: int) -> float:
    """Share of tests of equal variants that are called clear at the decision."""
    random = np.random.default_rng(9)
    clear = 0
    for seed in range(runs):
        tallies = []
        for _ in range(arms):
            clicks = int(random.binomial(50_000, 0.0063))
            donors = int(random.binomial(clicks, 0.14))
            money = float(random.lognormal(3, 1.2, size=donors).sum())
            tallies.append(
                Tally(recipients=50_000, clickers=clicks, donors=donors, money=money)
            )
        found = score.score(tallies, seed=seed)
        assert found is not None
        clear += bool(found.p_best[found.best] >= 0.95)
    return clear / runs


def test_equal_variants_are_seldom_called_clear() -> None:
    assert clear_by_chance(runs=60, arms=4) <= 0.05 + 0.05


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("arms", "most"), [(2, 0.08), (4, 0.05), (18, 0.05)])
def test_equal_variants_are_seldom_called_clear_in_1000_tests(
    arms: int, most: float
) -> None:
    assert clear_by_chance(runs=1000, arms=arms) <= most


@pytest.mark.parametrize(("share", "least"), [(0.95, 0.99), (0.98, 0.0)])
def test_one_variant_that_delivers_less_is_seen_and_none_is_not(
    share: float, least: float
) -> None:
    random = np.random.default_rng(2)
    sizes = [11_111] * 18
    seen = 0
    for _ in range(400):
        rates = np.full(18, 0.98)
        rates[7] = share
        p = contrast.homogeneity(sizes, random.binomial(11_111, rates).tolist())
        seen += p is not None and p < 0.001

    assert seen / 400 >= least
    if share == 0.98:
        assert seen / 400 <= 0.01
