"""Whether the variants were treated alike: a test is only as good as its split.

An exact split makes the sample-ratio test blind, so shares are compared instead:
attempted of assigned and accepted of attempted (χ² of homogeneity).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mailer.core import contrast

ALARM: Final = 0.001  # p; GrowthBook's threshold for sample ratios
LEAST_EXPECTED: Final = 5.0  # in a cell, for χ² to hold

Cells = Sequence[tuple[int, int]]  # trials and events of each variant


def uneven(cells: Cells) -> float | None:
    """Return p of "every variant has one rate", or None when it cannot be told."""
    return contrast.homogeneity([n for n, _ in cells], [k for _, k in cells])


def uneven_by_provider(tables: Mapping[str, Cells]) -> dict[str, float]:
    """Return p of each provider, by Holm over all; small ones are merged first."""
    whole: dict[str, Cells] = {}
    small: list[Cells] = []
    for name, cells in sorted(tables.items()):
        if _least_expected(cells) >= LEAST_EXPECTED:
            whole[name] = cells
        else:
            small.append(cells)
    if small:
        merged = [
            (sum(n for n, _ in arm), sum(k for _, k in arm))
            for arm in zip(*small, strict=True)
        ]
        if _least_expected(merged) >= LEAST_EXPECTED:
            whole["the smaller ones"] = merged
    found = {
        name: p for name, cells in whole.items() if (p := uneven(cells)) is not None
    }
    adjusted = contrast.holm(list(found.values()))
    return dict(zip(found, adjusted, strict=True))


def _least_expected(cells: Cells) -> float:
    """Return the smallest expected cell, events and their absence alike."""
    trials, events = sum(n for n, _ in cells), sum(k for _, k in cells)
    if trials == 0:
        return 0.0
    rarer = min(events, trials - events) / trials
    return min(n * rarer for n, _ in cells)
