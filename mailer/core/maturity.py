"""How much of what a blast will bring has come in after some hours.

No curve for gifts is published; this one is an assumption between the published ones
of opens and clicks, and whatever uses it says so.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

CURVE: Final = (
    (0.0, 0.0), (1.0, 0.23), (2.0, 0.35), (4.0, 0.475), (8.0, 0.60), (12.0, 0.67),
    (24.0, 0.78), (48.0, 0.88), (168.0, 1.0),  # the window of attribution: a week
)  # fmt: skip
IMMATURE: Final = 0.3  # below it a figure says little about its end


def share(hours: float) -> float:
    """Return the assumed share of gifts that are in *hours* after the send."""
    if hours <= 0:
        return 0.0
    at = bisect_right([hour for hour, _ in CURVE], hours)
    if at == len(CURVE):
        return 1.0
    (before, low), (after, high) = CURVE[at - 1], CURVE[at]
    return low + (high - low) * (hours - before) / (after - before)
