"""Log means of variants, pooled: what is believed of each, given all the others.

Normal means with a normal prior whose centre and spread come from the variants
themselves (Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.4).  Pooling is
what keeps the luckiest of many variants from being believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mailer.core.stats import Floats

GRID: Final = 400  # points of τ, to four scales
DRAWS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pooled:
    """The posterior of the log means of one stage, on the grid of τ."""

    theta: Floats
    w: Floats
    scale: float  # of τ, a half-normal
    tau: Floats  # grid
    weight: Floats  # of each grid point; sums to one
    centre: Floats  # μ̂ at each grid point
    doubt: Floats  # V at each grid point

    def _given_tau(self) -> tuple[Floats, Floats]:
        """Return mean and variance of each log mean at each τ (grid x variant)."""
        square = self.tau[:, None] ** 2
        precision = 1 / self.w[None, :] + 1 / square
        mean = (self.theta / self.w + self.centre[:, None] / square) / precision
        variance = 1 / precision + self.doubt[:, None] / (square * precision) ** 2
        return mean, variance

    @property
    def mean(self) -> Floats:
        """Return the posterior mean of e^θ, by formula: the score of a winner."""
        mean, variance = self._given_tau()
        value: Floats = self.weight @ np.exp(mean + variance / 2)
        return value

    @property
    def log_mean(self) -> Floats:
        """Return the posterior mean of θ."""
        value: Floats = self.weight @ self._given_tau()[0]
        return value

    @property
    def log_variance(self) -> Floats:
        """Return the posterior variance of θ."""
        mean, variance = self._given_tau()
        value: Floats = self.weight @ (variance + (mean - self.log_mean) ** 2)
        return value

    @property
    def tau_mean(self) -> float:
        """Return the posterior mean of τ: how much variants truly differ."""
        return float(self.weight @ self.tau)

    def draw(self, random: np.random.Generator, size: int = DRAWS) -> Floats:
        """Return *size* draws of θ (draw x variant)."""
        at = random.choice(len(self.tau), size=size, p=self.weight)
        tau = self.tau[at][:, None]
        centre = random.normal(self.centre[at], np.sqrt(self.doubt[at]))[:, None]
        precision = 1 / self.w[None, :] + 1 / tau**2
        mean = (self.theta / self.w + centre / tau**2) / precision
        noise = random.standard_normal((size, len(self.theta)))
        value: Floats = mean + noise / np.sqrt(precision)
        return value


def pool(theta: Floats, w: Floats, *, scale: float) -> Pooled:
    """Pool the log means *theta* with variances *w*; τ is half-normal(*scale*)."""
    tau = (np.arange(1, GRID + 1) - 0.5) * 4 * scale / GRID
    information = 1 / (w[None, :] + tau[:, None] ** 2)
    doubt = 1 / information.sum(axis=1)
    centre = doubt * (information @ theta)
    log_p = (
        -0.5 * (tau / scale) ** 2
        + 0.5 * np.log(doubt)
        + 0.5 * np.log(information).sum(axis=1)
        - 0.5 * (information * (theta - centre[:, None]) ** 2).sum(axis=1)
    )
    weight = np.exp(log_p - log_p.max())
    return Pooled(
        theta=theta, w=w, scale=scale, tau=tau, weight=weight / weight.sum(),
        centre=centre, doubt=doubt,
    )  # fmt: skip
