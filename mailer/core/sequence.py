"""Intervals and tests that may be looked at at any time, as often as one likes.

Asymptotic confidence sequence of Waudby-Smith et al. (arXiv 2103.06476), its clock
read as events; e-process for multinomial counts of Lindon and Malek (NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from scipy import special

from mailer.core import stats
from mailer.core.stats import Floats

LEAST_EVENTS: Final = 20  # in a contrast; below it the normal limit is not there yet
PRIOR: Final = 20.0  # events' worth of belief that shares are as mailed


def _radius(alpha: float) -> float:
    """Return r(α), which makes the interval tightest about the planned events."""
    return float(1 / (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))))


def multiplier(information: float, *, alpha: float = stats.ALPHA) -> float:
    """Return c(i; α): how many standard errors an interval must reach, at any look.

    *information* is events so far over events planned; it may pass 1.  For m
    contrasts shown together give α/m.
    """
    r = _radius(alpha)
    i = information
    return float(np.sqrt((1 + r / i) * np.log((i + r) / (r * alpha**2))))


def p_values(lifts: stats.Lifts, information: float, *, contrasts: int) -> Floats:
    """Return p of each lift that stays valid however often one looks."""
    # r belongs to α/m, as the interval's does: then p < α when it excludes 0.
    i = information / _radius(stats.ALPHA / contrasts)
    square = (lifts.log / lifts.error) ** 2
    value: Floats = np.minimum(
        1.0, contrasts * np.sqrt(1 + i) * np.exp(-0.5 * square * i / (1 + i))
    )
    return value


def log_evidence(recipients: Floats, events: Floats) -> float:
    """Return ln E against "events fall on variants as the mail did"."""
    share = recipients / recipients.sum()
    prior = PRIOR * share

    def log_beta(a: Floats) -> float:
        return float(special.gammaln(a).sum() - special.gammaln(a.sum()))

    expected = float(special.xlogy(events, share).sum())
    return log_beta(prior + events) - log_beta(prior) - expected


def running_p(evidence: Iterable[float]) -> float:
    """Return p after all looks so far: it never rises again."""
    return min(1.0, float(np.exp(-max(evidence, default=0.0))))
