"""What this process holds: chunks, until when, and how far it may go in each.

The row of a chunk says how far its owner may have come (``started_through``), so
that of a machine that is gone everybody knows what it cannot have started.  The
settler moves it on with its next batch, a second's worth ahead of the sending.

A carrier, for each message of a chunk:

- ``may_start(chunk, seq)``: right before MAIL, and again before the body.
- ``ask(chunk, seq)``: once, when it takes the message up.  Costs next to nothing;
  asks for more when half of what is allowed is used.
- ``listen(chunk, told)``: be called when more may start, or nothing any more.

A chunk that somebody else took back stays lost, whatever is renewed later.
"""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from mailer.store import chunks

LEASE = timedelta(seconds=12)  # with the look for lapsed ones: 20 s until others go on
MARGIN = 2.0  # seconds before its end at which no message is started any more
AHEAD = 1.0  # seconds' worth of messages that may be started unsaid
FIRST = 8  # messages of that, while the pace is not known
TICK = 0.1  # seconds between two batches of the settler: no pace is seen in less

# It also runs while the machine is suspended, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return seconds that pass also while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


Key = tuple[int, int]  # a chunk and its epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a carrier wants to go in a chunk."""

    chunk: chunks.Chunk
    through: int


@dataclass(slots=True, kw_only=True)
class _Held:
    """One chunk of ours."""

    chunk: chunks.Chunk
    until: float  # on our clock; nothing is started after it
    through: int  # the ledger knows that seqs up to here may be started
    wanted: int
    window: int  # messages that are worth a second
    fastest: float  # messages a second that the lane allows
    since: float  # when `through` was last moved on
    begun: int = 0  # messages since then
    latest: int = 0  # the last one
    look: int = 0  # of the watch, when it was leased
    is_lost: bool = False
    listener: Callable[[], None] | None = None

    def tell(self) -> None:
        if self.listener is not None:
            self.listener()


@dataclass(slots=True, kw_only=True)
class Leases:
    """The chunks of this process."""

    boottime: Callable[[], float] = boottime
    work: asyncio.Event = field(default_factory=asyncio.Event)  # wakes the settler
    settled: int = 0  # batches that the ledger has: fewer, and it is another one
    _held: dict[Key, _Held] = field(default_factory=dict)
    _asked: dict[Key, Reach] = field(default_factory=dict)
    _windows: dict[str, int] = field(default_factory=dict)

    # ── For carriers ────────────────────────────────────────────────────────

    def may_start(self, chunk: chunks.Chunk, seq: int) -> bool:
        """Tell whether a message may begin: we hold its chunk, and said so far."""
        held = self._held.get((chunk.id, chunk.epoch))
        return (
            held is not None
            and not held.is_lost
            and seq <= held.through
            and self.boottime() < held.until
        )

    def is_held(self, chunk: chunks.Chunk) -> bool:
        """Tell whether any message of *chunk* may still begin, once it is reached."""
        held = self._held.get((chunk.id, chunk.epoch))
        return held is not None and not held.is_lost and self.boottime() < held.until

    def ask(self, chunk: chunks.Chunk, seq: int) -> None:
        """Note that the message *seq* is taken up; ask for more in good time."""
        key = (chunk.id, chunk.epoch)
        held = self._held.get(key)
        if held is None or held.is_lost:
            return
        if seq > held.latest:
            held.latest = seq
            held.begun += 1
        if _places(chunk, seq, held.wanted) >= held.window // 2 and seq <= held.wanted:
            return
        held.window = self._pace(held)
        # A lane of less than two a second asks for each message by itself.
        further = held.window if held.window > 1 else 0
        held.wanted = max(held.wanted, _after(chunk, seq, further))
        if held.wanted > held.through:
            self._asked[key] = Reach(chunk=chunk, through=held.wanted)
            self.work.set()

    def listen(self, chunk: chunks.Chunk, told: Callable[[], None] | None) -> None:
        """Call *told* whenever more of *chunk* may start, or nothing any more."""
        held = self._held.get((chunk.id, chunk.epoch))
        if held is not None:
            held.listener = told

    # ── For who leases, renews and settles ──────────────────────────────────

    def window(self, provider: str, *, per_second: float = math.inf) -> int:
        """Return how many messages of a new chunk are worth a second on its lane."""
        known = self._windows.get(provider, FIRST)
        return max(1, int(min(known, per_second * AHEAD)))

    def take(
        self,
        chunk: chunks.Chunk,
        *,
        asked: float,
        per_second: float = math.inf,
        look: int = 0,
    ) -> None:
        """Hold *chunk*, which was leased by a question that was asked then."""
        through = chunk.started_through
        self._held[chunk.id, chunk.epoch] = _Held(
            chunk=chunk,
            until=_until(asked),
            through=through,
            wanted=through,
            window=max(1, _places(chunk, chunk.first_seq, through) + 1),
            fastest=per_second,
            since=self.boottime(),
            look=look,
        )

    def drop(self, chunk: chunks.Chunk) -> None:
        """Forget *chunk*, which was given back or finished."""
        held = self._held.pop((chunk.id, chunk.epoch), None)
        self._asked.pop((chunk.id, chunk.epoch), None)
        if held is not None:
            held.is_lost = True
            held.tell()

    def known(self) -> list[chunks.Chunk]:
        """Return every chunk that is not given back yet, also what is lost."""
        return [held.chunk for held in self._held.values()]

    def held(self) -> list[chunks.Chunk]:
        """Return the chunks that we believe to hold: ask the ledger to renew them."""
        return [held.chunk for held in self._held.values() if not held.is_lost]

    def first_look(self) -> int | None:
        """Return the look of the watch before which nobody asks; None: no chunk."""
        return min((held.look for held in self._held.values()), default=None)

    def renewed(
        self, chosen: Sequence[chunks.Chunk], kept: Collection[Key], *, asked: float
    ) -> list[chunks.Chunk]:
        """Take over what came of renewing *chosen*; return what is lost.

        Our deadline counts from before the question was asked.
        """
        lost = []
        for chunk in chosen:
            held = self._held.get((chunk.id, chunk.epoch))
            if held is None or held.is_lost:
                continue  # given back meanwhile
            if (chunk.id, chunk.epoch) in kept:
                held.until = max(held.until, _until(asked))
            else:
                self._lose(held)
                lost.append(chunk)
        return lost

    def lose_all(self) -> None:
        """Start nothing any more of what is held: the ledger is another one."""
        for held in self._held.values():
            self._lose(held)

    def asked(self) -> list[Reach]:
        """Return how far the carriers want to go, for the settler's next batch."""
        return list(self._asked.values())

    def reached(self, told: Sequence[Reach], taken: Collection[Key]) -> None:
        """Take over what the ledger said to *told*: moved on, or lost."""
        now = self.boottime()
        for one in told:
            key = (one.chunk.id, one.chunk.epoch)
            held = self._held.get(key)
            if held is None or held.is_lost:
                continue
            if key not in taken:
                self._lose(held)
                continue
            if self._asked.get(key) == one:
                del self._asked[key]
            held.through = max(held.through, one.through)
            held.since, held.begun = now, 0
            held.tell()

    def _lose(self, held: _Held) -> None:
        held.is_lost = True
        self._asked.pop((held.chunk.id, held.chunk.epoch), None)
        held.tell()

    def _pace(self, held: _Held) -> int:
        """Return how many messages the lane takes in a second, as it seems now."""
        took = max(self.boottime() - held.since, TICK)
        pace = min(held.begun / took, held.fastest)
        found = max(1, math.ceil(pace * AHEAD))
        # The end of a chunk, or a moment's wait, is not the pace of a lane.
        known = self._windows.get(held.chunk.provider, found)
        self._windows[held.chunk.provider] = max(found, (3 * known + found) // 4)
        return found


def _until(asked: float) -> float:
    return asked + LEASE.total_seconds() - MARGIN


def _after(chunk: chunks.Chunk, seq: int, count: int) -> int:
    """Return the seq that stands *count* places after *seq* in *chunk*."""
    if chunk.seqs is None:
        return min(seq + count, chunk.last_seq)
    return chunk.seqs[min(bisect_left(chunk.seqs, seq) + count, len(chunk.seqs) - 1)]


def _places(chunk: chunks.Chunk, seq: int, later: int) -> int:
    """Return how many places of *chunk* lie between two seqs."""
    if chunk.seqs is None:
        return later - seq
    return bisect_left(chunk.seqs, later) - bisect_left(chunk.seqs, seq)
