"""Claims about many variants: p and interval agree, and many looks cost something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special
from scipy import stats as scipy_stats

from mailer.core import contrast, stats

logs = st.floats(-3, 3)
variances = st.floats(0.001, 1.0)
estimates = st.lists(st.tuples(logs, variances), min_size=2, max_size=19).map(
    lambda rows: stats.Estimate(
        theta=np.array([row[0] for row in rows]),
        v=np.array([row[1] for row in rows]),
        w=np.array([row[1] for row in rows]),
    )
)


def test_dunnett_of_seven_equal_contrasts_has_the_published_critical_value() -> None:
    loading = np.full(7, np.sqrt(0.5))

    assert contrast.dunnett_critical(loading) == pytest.approx(2.613, abs=5e-4)


@pytest.mark.parametrize("ratio", [0.01, 0.2, 1.0, 5.0, 20.0, 1000.0])
def test_dunnett_is_its_integral_however_unsure_the_control(ratio: float) -> None:
    loading = np.sqrt(np.array([ratio / (ratio + 1)] * 3 + [ratio / (ratio + 4)]))

    found = contrast.dunnett_p(2.4, loading)

    def inside(u: float) -> float:
        rest = np.sqrt(1 - loading**2)
        each = special.ndtr((2.4 - loading * u) / rest) - special.ndtr(
            (-2.4 - loading * u) / rest
        )
        return float(np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi) * each.prod())

    oracle, _ = integrate.quad(inside, -9, 9, limit=400, points=[-2.4, 0, 2.4])
    assert found == pytest.approx(1 - oracle, abs=1e-6)


@given(estimate=estimates)
def test_adjusted_p_lies_between_p_and_bonferronis(estimate: stats.Estimate) -> None:
    against, mean = stats.against(estimate), stats.against_mean(estimate)

    for lifts, claims in (
        (against, contrast.dunnett(estimate)),
        (mean, contrast.sidak(mean.p)),
    ):
        assert (claims.p >= lifts.p).all()
        assert (claims.p <= np.minimum(1, len(lifts) * lifts.p) + 1e-15).all()
        assert claims.critical >= stats.z() - 1e-9


@given(estimate=estimates)
def test_p_is_below_alpha_exactly_when_the_interval_excludes_no_lift(
    estimate: stats.Estimate,
) -> None:
    against, mean = stats.against(estimate), stats.against_mean(estimate)

    for lifts, claims in (
        (against, contrast.dunnett(estimate)),
        (mean, contrast.sidak(mean.p)),
    ):
        size = np.abs(lifts.log) / lifts.error
        sharp = np.abs(size - claims.critical) > 1e-6
        assert ((claims.p < stats.ALPHA) == (size > claims.critical))[sharp].all()


@given(estimate=estimates.filter(lambda one: len(one) == 2))
def test_two_variants_need_no_correction(estimate: stats.Estimate) -> None:
    claims = contrast.dunnett(estimate)

    assert claims.p == pytest.approx(stats.against(estimate).p, abs=1e-12)
    assert claims.critical == stats.z()


def test_dunnett_falls_with_the_size_of_the_lift() -> None:
    loading = np.full(5, 0.6)

    found = [contrast.dunnett_p(t, loading) for t in np.linspace(0, 6, 25)]

    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("given_p", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        # OFA's four unsubscribe wordings: six comparisons, none significant
        (
            [0.0103, 0.0431, 0.0555, 0.17, 0.3, 0.5],
            [0.0618, 0.2155, 0.222, 0.51, 0.6, 0.6],
        ),
    ],
)
def test_holm_steps_down(given_p: list[float], adjusted: list[float]) -> None:
    assert contrast.holm(given_p) == pytest.approx(adjusted)


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 10**6), st.floats(0, 1)), min_size=2, max_size=20
    )
)
def test_homogeneity_is_scipys(rows: list[tuple[int, float]]) -> None:
    n = [trials for trials, _ in rows]
    k = [int(trials * share) for trials, share in rows]

    found = contrast.homogeneity(n, k)

    if sum(k) in {0, sum(n)}:
        assert found is None
        return
    table = np.array([k, [a - b for a, b in zip(n, k, strict=True)]])
    oracle = scipy_stats.chi2_contingency(table, correction=False)
    assert found == pytest.approx(float(oracle.pvalue), abs=1e-9)


def test_homogeneity_of_one_variant_is_unknown() -> None:
    assert contrast.homogeneity([100, 0], [3, 0]) is None
