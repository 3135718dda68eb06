"""Remember answers for as long as they hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memory(Generic[T]):
    """Values by name, each for its time; of too many, the newest."""

    def __init__(self, clock: Callable[[], float], most: int) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, name: str) -> T | None:
        """Return the value of *name* if its time is not over."""
        until, value = self._kept.get(name, (0.0, None))
        return value if self._clock() < until else None

    def put(self, name: str, value: T, seconds: float) -> None:
        """Remember *value* for *seconds*."""
        self._kept.pop(name, None)
        self._kept[name] = (self._clock() + seconds, value)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
