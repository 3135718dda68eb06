"""Looking early costs width, and then nothing more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.core import sequence, stats


@pytest.mark.parametrize(
    ("information", "alpha", "published"),
    [
        (0.05, 0.05, 4.72),
        (0.25, 0.05, 3.26),
        (1.0, 0.05, 3.04),
        (1.0, 0.05 / 17, 3.9),
    ],
)
def test_the_multiplier_is_the_published_one(
    information: float, alpha: float, published: float
) -> None:
    found = sequence.multiplier(information, alpha=alpha)

    assert found == pytest.approx(published, abs=0.06)


@given(information=st.floats(0.001, 100), alpha=st.floats(0.0001, 0.2))
def test_a_look_is_never_free(information: float, alpha: float) -> None:
    found = sequence.multiplier(information, alpha=alpha)

    assert found > stats.z(alpha)
    assert sequence.multiplier(information, alpha=alpha / 2) > found


@given(
    log=st.floats(-3, 3),
    error=st.floats(0.01, 1),
    information=st.floats(0.01, 20),
    contrasts=st.integers(1, 24),
)
def test_p_is_below_alpha_exactly_when_the_interval_excludes_no_lift(
    log: float, error: float, information: float, contrasts: int
) -> None:
    lifts = stats.Lifts(positions=(1,), log=np.array([log]), error=np.array([error]))

    p = sequence.p_values(lifts, information, contrasts=contrasts)[0]

    reach = sequence.multiplier(information, alpha=stats.ALPHA / contrasts)
    if abs(abs(log) / error - reach) > 1e-6:
        assert (p < stats.ALPHA) == (abs(log) / error > reach)


def test_events_that_fall_as_the_mail_did_are_no_evidence() -> None:
    recipients = np.array([50_000.0, 50_000.0])

    assert sequence.log_evidence(recipients, np.array([50.0, 50.0])) < 0
    assert sequence.log_evidence(recipients, np.array([90.0, 20.0])) > np.log(1000)


@given(st.lists(st.floats(-50, 50)))
def test_a_running_p_never_rises(evidence: list[float]) -> None:
    found = [sequence.running_p(evidence[:looks]) for looks in range(len(evidence) + 1)]

    assert found == sorted(found, reverse=True)
    assert found[0] == 1.0
