"""What only several requests tell: who follows too much at once is no person.

The rules of single requests are in `tracking`.  Nothing of this is a reason to refuse
anybody; raw events are kept, so that labels can be worked out again by later rules.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from mailer.core.tracking import Label, Visit, label

FAST = timedelta(seconds=5)  # after our 250: few people are so fast
BURST = timedelta(seconds=2)
BURST_LINKS = 3  # of one message: nobody opens three in two seconds
CROWD = timedelta(seconds=60)
CROWD_PEOPLE = 10  # recipients whose links one network follows with one browser
LEARNED = timedelta(hours=1)  # for how long such a network stays known
MOST = 20_000  # people, and networks, that are remembered

# Filters in front of mailboxes: what they follow is followed before delivery.
GATEWAYS = frozenset({"barracuda", "mimecast", "proofpoint"})
_SOFT = frozenset({"fast", "gateway"})  # two of these make a machine
_HARMLESS = frozenset({"google_proxy", "yahoo_proxy"})
# Phone networks have thousands of people behind one address, with one browser.
_PHONE = re.compile(r"Mobile|Android|iPhone|iPad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An open or a click, with what its delivery says."""

    id: UUID
    at: datetime
    is_click: bool
    blast: int
    subscriber: int
    link: int = 0
    agent: str = ""
    network: str | None = None
    provider: str = ""
    sent_at: datetime | None = None
    reasons: tuple[str, ...] = ()  # of its request


def judge(reasons: Iterable[str]) -> Label:
    """Return the label that *reasons* make: one hard one, or two soft ones."""
    given = set(reasons)
    if given - _SOFT - _HARMLESS - {"apple_mpp"} or len(given & _SOFT) > 1:
        return Label.MACHINE
    return Label.UNKNOWN if "apple_mpp" in given else Label.HUMAN


def again(agent: str, reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Return the reasons of a request by these rules; its method and headers stay."""
    kept = tuple(one for one in reasons if one in {"method", "prefetch"})
    return (*kept, *(one for one in label(Visit(agent=agent))[1] if one not in kept))


_K = TypeVar("_K", tuple[int, int], tuple[str, str])


@dataclass(slots=True)
class Bursts:
    """What came lately: who follows too much at once.  Give it visits by time."""

    _people: OrderedDict[tuple[int, int], deque[Seen]] = field(
        default_factory=OrderedDict
    )
    _networks: OrderedDict[tuple[str, str], deque[Seen]] = field(
        default_factory=OrderedDict
    )
    _learned: OrderedDict[tuple[str, str], datetime] = field(
        default_factory=OrderedDict
    )

    def see(self, one: Seen) -> Mapping[UUID, tuple[str, ...]]:
        """Return the reasons that a visit adds: to itself, and to earlier ones."""
        found: dict[UUID, tuple[str, ...]] = {}
        for id, reason in self._reasons(one):
            found[id] = (*found.get(id, ()), reason)
        return found

    def _reasons(self, one: Seen) -> Iterator[tuple[UUID, str]]:
        if not one.is_click:
            return
        if one.sent_at is not None and one.at - one.sent_at < FAST:
            yield one.id, "fast"
        if one.provider in GATEWAYS:
            yield one.id, "gateway"
        mine = _recent(self._people, (one.subscriber, one.blast), one, BURST)
        if len({other.link for other in mine}) >= BURST_LINKS:
            for other in mine:
                yield other.id, "burst"
        if one.network is not None and not _PHONE.search(one.agent):
            yield from self._crowd(one, (one.network, one.agent))

    def _crowd(self, one: Seen, key: tuple[str, str]) -> Iterator[tuple[UUID, str]]:
        theirs = _recent(self._networks, key, one, CROWD)
        if len({other.subscriber for other in theirs}) >= CROWD_PEOPLE:
            self._learned[key] = one.at
            self._learned.move_to_end(key)
            if len(self._learned) > MOST:
                self._learned.popitem(last=False)
            for other in theirs:
                yield other.id, "scanner_network"
        elif one.at - self._learned.get(key, one.at - LEARNED) < LEARNED:
            yield one.id, "scanner_network"


def _recent(
    known: OrderedDict[_K, deque[Seen]], key: _K, one: Seen, within: timedelta
) -> deque[Seen]:
    """Add a visit to those of *key*, and return those that are not too old."""
    found = known.setdefault(key, deque(maxlen=4 * CROWD_PEOPLE))
    known.move_to_end(key)
    if len(known) > MOST:
        known.popitem(last=False)
    while found and one.at - found[0].at > within:
        found.popleft()
    if all(other.id != one.id for other in found):  # a batch may be tried again
        found.append(one)
    return found
