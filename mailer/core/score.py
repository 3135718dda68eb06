"""Which variant is best, and what choosing it may cost.

Pooled dollars in three stages, because clicks are many and gifts are few: what is
known early about clicks steadies what can be said about money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

from mailer.core import posterior, stats
from mailer.core.stats import Floats, Tally

# Scales of τ, the spread of true log means between variants, by stage.
SCALE_ONE: Final = 0.30  # donors or money in one stage
SCALE_CLICKS: Final = 0.25
SCALE_GIVING: Final = 0.25  # donors per click
SCALE_GIFT: Final = 0.10
SCALE_OPENS: Final = 0.25

UNKNOWN_GIFT: Final = 25.0  # variance of the log gift where nobody gave
LEAST_GIFT: Final = 0.2  # CV² of gifts, at least
LEAST_GIFTS: Final = 2  # below it money is unknown
DOLLARS: Final = "dollars"
NO_DOUBT: Final = 1e-9  # standard error of a log mean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """What each variant is believed to bring per recipient, and how sure that is."""

    stages: tuple[tuple[str, posterior.Pooled], ...]
    unit: str  # dollars, donors or clicks: what `mean` counts
    mean: Floats  # levelled: recipients times mean adds up to what was raised
    draws: Floats  # draw x variant, levelled

    @property
    def in_dollars(self) -> bool:
        """Tell whether enough was given to speak of money."""
        return self.unit == DOLLARS

    @property
    def best(self) -> int:
        """Return the position of the largest mean; it depends on no draw."""
        return int(np.argmax(self.mean))

    @property
    def p_best(self) -> Floats:
        """Return the share of draws in which each variant is the largest."""
        size = self.mean.size
        won = np.bincount(self.draws.argmax(axis=1), minlength=size)
        value: Floats = won / len(self.draws)
        return value

    @property
    def loss(self) -> Floats:
        """Return the expected loss per recipient of choosing each variant."""
        best = self.draws.max(axis=1, keepdims=True)
        value: Floats = (best - self.draws).mean(axis=0)
        return value

    def interval(self, coverage: float) -> tuple[Floats, Floats]:
        """Return the ends of the central posterior interval of each variant."""
        tail = (1 - coverage) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail], axis=0)
        return low, high


def score(tallies: Sequence[Tally], *, seed: int) -> Score | None:
    """Score variants by pooled dollars in three stages: click, give, how much.

    Without tracked clicks: give, how much.  With fewer than two donors dollars are
    unknown and the first stages rank; None when nothing has happened at all.
    """
    recipients = stats.column(tallies, "recipients")
    clickers, donors = clicked(tallies), stats.column(tallies, "donors")
    parts: list[tuple[str, posterior.Pooled]] = []
    if sum(one.clickers for one in tallies) > 0:
        first = stats.rate(recipients, clickers)
        parts.append(
            ("clicks", posterior.pool(first.theta, first.w, scale=SCALE_CLICKS))
        )
        if donors.sum() > 0:
            parts.append(("giving", _giving(clickers, donors)))
    elif donors.sum() > 0:
        one = stats.rate(recipients, donors)
        parts.append(("donors", posterior.pool(one.theta, one.w, scale=SCALE_ONE)))
    if not parts:
        return None
    if donors.sum() >= LEAST_GIFTS:
        parts.append(("gift", _gift(tallies)))
        unit, raised = DOLLARS, sum(one.money for one in tallies)
    elif donors.sum() > 0:
        unit, raised = "donors", float(donors.sum())
    else:
        unit, raised = "clicks", float(clickers.sum())
    return _levelled(parts, recipients, raised, unit=unit, seed=seed)


def clicked(tallies: Sequence[Tally]) -> Floats:
    """Return clickers, a donor counting as one: nobody gives without a click."""
    return np.array([float(max(one.clickers, one.donors)) for one in tallies])


def _giving(clickers: Floats, donors: Floats) -> posterior.Pooled:
    """Pool donors per click; a variant without clicks knows nothing of its own."""
    stage = stats.rate(clickers, donors)
    return posterior.pool(stage.theta, stage.w, scale=SCALE_GIVING)


def _gift(tallies: Sequence[Tally]) -> posterior.Pooled:
    """Pool the log of the mean gift."""
    donors = stats.column(tallies, "donors")
    varied = max(stats.pooled_spread(tallies) - 1, LEAST_GIFT)
    w = np.where(donors > 0, varied / np.maximum(donors, 1), UNKNOWN_GIFT)
    return posterior.pool(stats.log_gift(tallies), w, scale=SCALE_GIFT)


def _levelled(
    parts: Sequence[tuple[str, posterior.Pooled]],
    recipients: Floats,
    raised: float,
    *,
    unit: str,
    seed: int,
) -> Score:
    """Multiply the stages, and level them so that variants add up to *raised*."""
    random = np.random.Generator(np.random.PCG64(seed))
    mean = np.prod([part.mean for _, part in parts], axis=0)
    log_draws = np.sum([part.draw(random) for _, part in parts], axis=0)
    level = raised / float((recipients * mean).sum())
    return Score(
        stages=tuple(parts),
        unit=unit,
        mean=mean * level,
        draws=np.exp(log_draws) * level,
    )


def value_of_waiting(score: Score, *, mature: float, later: float) -> float:
    """Return by what share the winner's mean may grow if more outcomes are awaited.

    *mature* and *later* are the shares of outcomes that are in, now and then.
    """
    parts = [part for _, part in score.stages]
    now = np.sum([part.log_variance for part in parts], axis=0)
    middle = np.sum([part.log_mean for part in parts], axis=0)
    settled = [
        posterior.pool(p.theta, p.w * mature / later, scale=p.scale) for p in parts
    ]
    then = np.minimum(np.sum([part.log_variance for part in settled], axis=0), now)
    chosen = float(np.exp(middle + now / 2).max())
    largest = _mean_of_largest(middle + then / 2, np.sqrt(now - then))
    return max(0.0, largest / chosen - 1)


def _mean_of_largest(centre: Floats, error: Floats) -> float:
    """Return E max e^y of independent normal y, by the distribution of the largest."""
    if np.all(error < NO_DOUBT):
        return float(np.exp(centre.max()))
    error = np.maximum(error, NO_DOUBT)
    low, high = (centre - 9 * error).min(), (centre + 9 * error).max()
    grid = np.linspace(low, high, 4001)
    below = special.ndtr((grid[:, None] - centre) / error).prod(axis=1)
    return float(np.exp(high) - np.trapezoid(np.exp(grid) * below, grid))
