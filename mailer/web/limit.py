"""How often one network may ask: a bucket for each, and a bound for all of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

MOST = 20_000  # networks that are remembered


@dataclass(slots=True)
class Limit:
    """Lets *burst* through at once, then *rate* a second (a token bucket)."""

    rate: float
    burst: float
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, key: str, *, at: float) -> bool:
        """Take one for *key* at *at*, in seconds of any clock that does not go back."""
        left, before = self._left.pop(key, (self.burst, at))
        left = min(self.burst, left + (at - before) * self.rate)
        is_allowed = left >= 1
        self._left[key] = left - is_allowed, at  # who is refused loses nothing
        if len(self._left) > MOST:
            self._left.popitem(last=False)
        return is_allowed
