"""The tokens of one lane that this process holds: the right to send, for a second.

All connections of the lane in this process take from one stock, so that none hoards
what another could use.  It is filled by one question to the database for half a
second's messages at the pace of this process, and a quarter of a second's at the rate
of the lane at most; what is not used dies after `LIFE`, and the database counts it as
if it could still be used at any time in between (`lanes.grant`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mailer.core import throttle
from mailer.pipeline.sending.leases import boottime
from mailer.pipeline.sending.watch import pause
from mailer.store import lanes

LIFE = throttle.KEPT.total_seconds()
AHEAD = LIFE / 2  # worth of tokens that are asked for at once, by the pace here
FIRST = 16  # tokens that are asked for while the pace is not known
LONGEST = 1.0  # seconds until a lane that has none is asked again: it may be faster
SHORTEST = 0.005  # seconds: two processes that take turns do not spin

Ask = Callable[[int], Awaitable[lanes.Grant | None]]


class Closed(Exception):
    """The lane is closed for a while, or may start nothing any more.

    Its chunk is free at once: another source of the pool may take it.
    """


@dataclass(slots=True, kw_only=True)
class Meter:
    """What may be sent now; of an unlimited lane, everything."""

    ask: Ask
    is_unlimited: bool = False  # nobody is asked
    clock: Callable[[], float] = boottime
    _stock: int = 0
    _until: float = 0.0
    _taken: int = 0  # since the database was asked
    _asked: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def has(self) -> bool:
        """Tell whether a message may start."""
        return self.is_unlimited or (self._stock > 0 and self.clock() < self._until)

    def take(self) -> bool:
        """Take the right to start one message, if there is one."""
        if self.is_unlimited:
            return True
        if self._stock <= 0 or self.clock() >= self._until:
            return False
        self._stock -= 1
        self._taken += 1
        return True

    def left(self, most: int) -> int:
        """Return how many may start soon, at most *most*: so many are composed."""
        if self.is_unlimited:
            return most
        return min(most, self._stock) if self.has() else 0

    async def wait(self, stop: asyncio.Event, is_wanted: Callable[[], bool]) -> None:
        """Have a token, or return because *stop* is set or it is not wanted any more.

        Raises Closed when the lane is.
        """
        while not self.has() and is_wanted() and not stop.is_set():
            async with self._turn:
                if not self.has() and is_wanted() and not stop.is_set():
                    await self._fill(stop)

    async def _fill(self, stop: asyncio.Event) -> None:
        before = self.clock()
        granted = await self.ask(self._want(before))
        self._asked, self._taken = before, 0
        if granted is None or granted.is_closed:
            raise Closed
        # Counted from before the question: what the database granted is no younger.
        self._stock, self._until = granted.tokens, before + LIFE
        if granted.tokens < 1:
            wait = min(max(granted.wait.total_seconds(), SHORTEST), LONGEST)
            await pause(stop, wait)

    def _want(self, now: float) -> int:
        """Return how many tokens will be used in the next moment, as it seems."""
        if not self._taken:
            return FIRST if self._asked == 0.0 else 1
        pace = self._taken / max(now - self._asked, 0.001)
        return max(1, math.ceil(min(pace * AHEAD, 2 * self._taken + FIRST)))
