"""Claims about many variants at once, each with the price of looking at all.

Dunnett 1955 (all against one control), Šidák 1967 (any correlation of normals),
Holm 1979 (any family), and χ² of homogeneity for "do they differ at all?".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from mailer.core import stats
from mailer.core.stats import Floats

# The trapezoid rule errs < 1e-13 up to a control 1,000 times as unsure as a variant,
# where 121-point Gauss-Hermite errs by .03.
_NODES = np.linspace(-9.0, 9.0, 4001)
_DENSITY = np.exp(-0.5 * _NODES**2) / np.sqrt(2 * np.pi)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claims:
    """Adjusted p of each contrast, and the multiplier of its simultaneous interval."""

    p: Floats
    critical: float


def loadings(estimate: stats.Estimate, control: int = 0) -> Floats:
    """Return how much of each contrast's error comes from the control."""
    others = np.delete(estimate.v, control)
    loading: Floats = np.sqrt(estimate.v[control] / (estimate.v[control] + others))
    return loading


def dunnett_p(t: float, loading: Floats) -> float:
    """Return the chance that some contrast of none is at least *t* off."""
    rest = np.sqrt(1 - loading**2)[:, None]
    moved = loading[:, None] * _NODES[None, :]
    inside = special.ndtr((t - moved) / rest) - special.ndtr((-t - moved) / rest)
    return float(1 - np.trapezoid(_DENSITY * inside.prod(axis=0), _NODES))


def dunnett_critical(loading: Floats, *, alpha: float = stats.ALPHA) -> float:
    """Return the multiplier that keeps all contrasts together at *alpha*."""
    from scipy import optimize  # .3 s to import: only when it is wanted

    if len(loading) == 1:
        return stats.z(alpha)
    low, high = stats.z(alpha), stats.z(alpha / len(loading)) + 0.01
    return float(
        optimize.brentq(lambda t: dunnett_p(t, loading) - alpha, low, high, xtol=1e-10)
    )


def dunnett(
    estimate: stats.Estimate, control: int = 0, *, alpha: float = stats.ALPHA
) -> Claims:
    """Adjust the contrasts of all variants against one control, in a single step."""
    lifts = stats.against(estimate, control)
    loading = loadings(estimate, control)
    sizes = np.abs(lifts.log) / lifts.error
    single = lifts.p
    found = np.array([dunnett_p(float(size), loading) for size in sizes])
    return Claims(
        p=np.clip(found, single, np.minimum(1.0, len(lifts) * single)),
        critical=dunnett_critical(loading, alpha=alpha),
    )


def sidak(p: Floats, *, alpha: float = stats.ALPHA) -> Claims:
    """Adjust contrasts against the mean of all, whatever their correlation."""
    size = len(p)
    with np.errstate(divide="ignore"):  # p = 1: the log is minus infinity, and 1 - 0
        adjusted = -np.expm1(size * np.log1p(-p))
    quantile = (1 + (1 - alpha) ** (1 / size)) / 2
    return Claims(
        p=np.clip(adjusted, p, np.minimum(1.0, size * p)),
        critical=float(special.ndtri(quantile)),
    )


def holm(p: Sequence[float]) -> list[float]:
    """Adjust any family of p, step down."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [1.0] * len(p)
    reached = 0.0
    for step, i in enumerate(order):
        reached = max(reached, min(1.0, (len(p) - step) * p[i]))
        adjusted[i] = reached
    return adjusted


def homogeneity(trials: Sequence[int], events: Sequence[int]) -> float | None:
    """Return p of "all have one rate" (χ², K×2, uncorrected).

    None when there is nothing to compare: one variant, no event, or only events.
    """
    kept = [(n, k) for n, k in zip(trials, events, strict=True) if n > 0]
    n = np.array([one[0] for one in kept], dtype=float)
    k = np.array([one[1] for one in kept], dtype=float)
    if len(kept) < 2 or k.sum() == 0 or k.sum() == n.sum():
        return None
    pooled = k.sum() / n.sum()
    expected, missing = n * pooled, n * (1 - pooled)
    square = ((k - expected) ** 2 / expected + (k - expected) ** 2 / missing).sum()
    return float(special.chdtrc(len(kept) - 1, square))
