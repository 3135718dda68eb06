"""The connections of this process, each a lease on a slot of its lane.

The watch asks which of them may stay.  One must go when its lease has lapsed (somebody
else may have it), when the lane's limit has shrunk, or when the lane was closed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

TURN = 5.0  # seconds that a connection has for itself while other lanes wait
AGAIN = 0.5  # seconds until another is asked to make room: one may be stuck

Key = tuple[str, str]  # provider and source


class Carrier(Protocol):
    """Who uses a connection."""

    def leave(self) -> None:
        """End what is under way, give the chunk back and close the connection."""

    def put_down(self, outranked: Collection[int]) -> None:
        """Give the chunk back if it is one of *outranked*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A connection, since when it is ours, and who uses it."""

    slot: int
    lane: Key
    since: float
    carrier: Carrier


@dataclass(slots=True, kw_only=True)
class Slots:
    """The slots that this process holds."""

    _held: dict[int, Held] = field(default_factory=dict)
    _leaving: set[int] = field(default_factory=set)
    _asked_room: float = -AGAIN

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, one: Held) -> None:
        """Take over a slot that was taken for this process."""
        self._held[one.slot] = one

    def drop(self, slot: int) -> None:
        """Forget a slot: its connection is closed."""
        self._held.pop(slot, None)
        self._leaving.discard(slot)

    def held(self) -> list[int]:
        """Return the slots to ask about."""
        return list(self._held)

    def told(self, asked: Sequence[int], kept: Collection[int]) -> None:
        """Ask those of *asked* to go that are not among *kept*."""
        for slot in asked:
            if slot not in kept:
                self._recall(slot)

    def put_down(self, outranked: Collection[int]) -> None:
        """Have chunks given back for which more urgent ones wait."""
        for one in self._held.values():
            one.carrier.put_down(outranked)

    def make_room(self, *, now: float) -> bool:
        """Ask one connection to go, for a lane that nobody serves; tell if one does.

        Of the lane that has most; where each has one, the one that has had its turn.
        """
        if now < self._asked_room + AGAIN:
            return False
        lanes: dict[Key, list[Held]] = {}
        for one in self._held.values():
            if one.slot not in self._leaving:
                lanes.setdefault(one.lane, []).append(one)
        if not lanes:
            return False
        most = max(lanes.values(), key=lambda ours: (len(ours), -ours[0].since))
        oldest = min(most, key=lambda one: one.since)
        if len(most) == 1 and now - oldest.since < TURN:
            return False
        self._asked_room = now
        self._recall(oldest.slot)
        return True

    def _recall(self, slot: int) -> None:
        found = self._held.get(slot)
        if found is not None and slot not in self._leaving:
            self._leaving.add(slot)
            found.carrier.leave()
