"""Rates, money and lifts of variants, with their doubt; it has no email in it.

One statistic drives everything: the log of the mean per recipient and its variance.
Wilson 1927 for one rate; Katz et al. 1978 for ratios, with half an event at the
pooled rate, so that a variant without an event has a finite, honest figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from mailer import errors

Floats = npt.NDArray[np.float64]

ALPHA: Final = 0.05
HALF: Final = 0.5  # events added, at the pooled rate
GIFTS: Final = 100.0  # gifts' worth of weight for the pooled spread of gifts
SPREAD: Final = 4.0  # 1 + CV² of gifts where their squares are unknown: σ 1.2 lognormal
LEAST: Final = 1e-9  # variance; an estimate is never without doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one variant did: recipients, clickers, donors, dollars and their squares.

    Dollars are per recipient, net of refunds.  `squares` is None where unknown.
    """

    recipients: int
    clickers: int = 0
    donors: int = 0
    money: float = 0.0
    squares: float | None = None

    def __post_init__(self) -> None:
        if self.recipients < 1:
            message = f"{self.recipients} recipients: leave the variant out"
            raise errors.Invalid(message)
        if not 0 <= self.donors <= self.recipients:
            message = f"{self.donors} donors of {self.recipients} recipients"
            raise errors.Invalid(message)
        if not 0 <= self.clickers <= self.recipients:
            message = f"{self.clickers} clickers of {self.recipients} recipients"
            raise errors.Invalid(message)
        if (self.money > 0) != (self.donors > 0):
            message = f"{self.donors} donors gave {self.money:.2f}"
            raise errors.Invalid(message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """Log means per recipient: θ̂, its variance v, and w for the posterior."""

    theta: Floats
    v: Floats
    w: Floats

    def __len__(self) -> int:
        return len(self.theta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From where to where a figure may lie."""

    low: float
    high: float


def z(alpha: float = ALPHA) -> float:
    """Return the two-sided normal quantile."""
    return float(special.ndtri(1 - alpha / 2))


def wilson(events: int, trials: int, *, alpha: float = ALPHA) -> Interval | None:
    """Return Wilson's interval of a rate, or None without trials."""
    if not 0 <= events <= trials:
        message = f"{events} events of {trials} trials"
        raise errors.Invalid(message)
    if trials == 0:
        return None
    p, square = events / trials, z(alpha) ** 2
    centre = (p + square / (2 * trials)) / (1 + square / trials)
    half = (
        z(alpha)
        / (1 + square / trials)
        * np.sqrt(p * (1 - p) / trials + square / (4 * trials**2))
    )
    low = 0.0 if events == 0 else max(0.0, float(centre - half))
    high = 1.0 if events == trials else min(1.0, float(centre + half))
    return Interval(low=min(low, p), high=max(high, p))


def column(tallies: Sequence[Tally], name: str) -> Floats:
    """Return one field of every tally as floats."""
    return np.array([float(getattr(one, name)) for one in tallies])


def rate(trials: Floats, events: Floats, *, half: float = HALF) -> Estimate:
    """Estimate the log rate of each variant.

    A variant without trials is drawn to the pooled rate; some must have trials.
    """
    if trials.sum() <= 0 or np.any(events > trials) or np.any(events < 0):
        message = "variants need trials, and no more events than trials"
        raise errors.Invalid(message)
    pooled = events.sum() / trials.sum()
    extra = half * trials.sum() / max(float(events.sum()), HALF)
    lost = 1 / (trials + extra)
    theta = np.log((events + half) * lost)
    v = np.maximum(1 / (events + half) - lost, LEAST)
    own_and_pooled = 0.5 * (events + trials * pooled) + half
    w = np.maximum(1 / own_and_pooled - lost, LEAST)
    return Estimate(theta=theta, v=v, w=w)


def money(
    tallies: Sequence[Tally], *, half: float = HALF, weight: float = GIFTS
) -> Estimate | None:
    """Estimate the log dollars per recipient, or None when nobody gave."""
    trials, donors = column(tallies, "recipients"), column(tallies, "donors")
    if donors.sum() == 0:
        return None
    count = rate(trials, donors, half=half)
    spread = spreads(tallies, weight=weight)
    lost = 1 / (trials + half * trials.sum() / max(float(donors.sum()), HALF))
    v = np.maximum(spread / (donors + half) - lost, LEAST)
    return Estimate(theta=count.theta + log_gift(tallies), v=v, w=v)


def log_gift(tallies: Sequence[Tally]) -> Floats:
    """Return the log of each variant's mean gift; the pooled one where none gave."""
    donors, dollars = column(tallies, "donors"), column(tallies, "money")
    pooled = np.log(dollars.sum() / donors.sum())
    gave = donors > 0
    mean = np.divide(dollars, donors, out=np.ones_like(dollars), where=gave)
    own: Floats = np.where(gave, np.log(mean), pooled)
    return own


def pooled_spread(tallies: Sequence[Tally]) -> float:
    """Return Q̄ = 1 + CV² of all gifts; SPREAD where a variant's is unknown."""
    if any(one.squares is None for one in tallies if one.donors):
        return SPREAD
    squares = sum(one.squares or 0.0 for one in tallies)
    donors = sum(one.donors for one in tallies)
    dollars = sum(one.money for one in tallies)
    return squares * donors / dollars**2


def spreads(tallies: Sequence[Tally], *, weight: float = GIFTS) -> Floats:
    """Return Q of each variant: its own, drawn to the pooled one by *weight* gifts."""
    pooled = pooled_spread(tallies)
    donors = column(tallies, "donors")
    if any(one.squares is None for one in tallies if one.donors) or np.isinf(weight):
        return np.full(len(tallies), pooled)
    own = np.array(
        [
            (one.squares or 0.0) * one.donors / one.money**2
            if one.donors > 1
            else pooled
            for one in tallies
        ]
    )
    if weight == 0:
        return own
    mixed: Floats = (donors * own + weight * pooled) / (donors + weight)
    return mixed


def means(estimate: Estimate, *, alpha: float = ALPHA) -> tuple[Floats, Floats]:
    """Return the ends of the interval of each mean per recipient."""
    reach = z(alpha) * np.sqrt(estimate.v)
    return np.exp(estimate.theta - reach), np.exp(estimate.theta + reach)


# ── Lift ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lifts:
    """Log ratios of some variants to a reference, with standard errors."""

    positions: tuple[int, ...]  # of the variants, as they were given
    log: Floats
    error: Floats

    def __len__(self) -> int:
        return len(self.log)

    @property
    def ratio(self) -> Floats:
        """Return each lift: .25 is a quarter more."""
        lift: Floats = np.expm1(self.log)
        return lift

    @property
    def p(self) -> Floats:
        """Return the two-sided p of each contrast alone."""
        value: Floats = 2 * special.ndtr(-np.abs(self.log) / self.error)
        return value

    def bounds(self, multiplier: float | Floats) -> tuple[Floats, Floats]:
        """Return the ends of the interval of each lift."""
        reach = multiplier * self.error
        return np.expm1(self.log - reach), np.expm1(self.log + reach)


def against(estimate: Estimate, control: int = 0) -> Lifts:
    """Compare each other variant with the one at *control*."""
    others = tuple(j for j in range(len(estimate)) if j != control)
    index = np.array(others, dtype=np.intp)
    return Lifts(
        positions=others,
        log=estimate.theta[index] - estimate.theta[control],
        error=np.sqrt(estimate.v[index] + estimate.v[control]),
    )


def against_mean(estimate: Estimate) -> Lifts:
    """Compare each variant with the unweighted mean of all on the log scale."""
    size = len(estimate)
    v = estimate.v
    return Lifts(
        positions=tuple(range(size)),
        log=estimate.theta - estimate.theta.mean(),
        error=np.sqrt(v * (1 - 2 / size) + v.sum() / size**2),
    )
