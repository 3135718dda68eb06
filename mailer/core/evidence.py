"""What workers saw of a lane, in batches: how much went, and replies about the lane.

A worker adds up what it sees for a second or so and hands it over in one piece; a
reply about a recipient or a blast only counts as a try.  Signals of all workers are
deduplicated by `core.controller`, by their time: nobody has to do it before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailer.core import delivery
from mailer.core.bounce import Action, Scope, Verdict

KEPT = 500  # characters of a reply
MARGIN = timedelta(seconds=10)  # on top of what a reply names, as Postal does
LONGEST = timedelta(hours=4)  # that is believed of a reply

# What a lane is asked to do; everything else is about one message or one connection.
ASKS = frozenset({Action.CUT, Action.FEWER, Action.SINGLE, Action.SUSPEND, Action.HOLD})

_AGAIN = re.compile(
    r"\b(?:again|retry|retry[- ]after|come back|wait|resume)\b"
    r"[^0-9]{0,30}?\b(\d{1,6})\s*"
    r"(seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)\b",
    re.IGNORECASE,
)
_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One or several replies of a kind that ask something of the lane."""

    at: datetime  # of the first
    action: Action  # one of ASKS
    reply: str  # of the first, at most KEPT characters
    wait: timedelta | None = None  # of the rule
    suspend_after: int | None = None  # of the rule: so many events in an hour
    asked: timedelta | None = None  # "try again in N", with a margin
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen of a lane since the last time."""

    tried: int = 0  # messages that the provider said something of, or was lost with
    accepted: int = 0  # of these, answered 2xx
    signals: tuple[Signal, ...] = ()


NOTHING = Evidence()


def signal(verdict: Verdict, *, at: datetime) -> Signal | None:
    """Return what *verdict* asks of the lane; None: nothing."""
    if verdict.action not in ASKS:
        return None
    outcome = verdict.outcome
    said = getattr(outcome, "reply", None) or getattr(outcome, "reason", "")
    text = str(said)[:KEPT]
    return Signal(
        at=at,
        action=verdict.action,
        reply=text,
        wait=verdict.wait,
        suspend_after=verdict.suspend_after,
        asked=None if verdict.scope is Scope.HALT else asked(text),
    )


def asked(reply: str) -> timedelta | None:
    """Read "try again in 300 seconds" or "retry after 5 minutes" out of *reply*.

    Ten seconds are added, and no more than four hours believed.
    """
    found = _AGAIN.search(reply)
    if found is None:
        return None
    seconds = int(found[1]) * _UNITS[found[2][0].lower()]
    return min(timedelta(seconds=seconds) + MARGIN, LONGEST) if seconds else None


def gathered(verdicts: Iterable[tuple[Verdict, datetime]]) -> Evidence:
    """Add up what came of tries, each with its time."""
    tried = accepted = 0
    signals: dict[tuple[Action, timedelta | None, int | None], Signal] = {}
    for verdict, at in verdicts:
        tried += 1
        accepted += isinstance(verdict.outcome, delivery.Accepted)
        if (new := signal(verdict, at=at)) is not None:
            key = (new.action, new.wait, new.suspend_after)
            old = signals.get(key)
            signals[key] = new if old is None else _joined(old, new)
    return Evidence(tried=tried, accepted=accepted, signals=tuple(signals.values()))


def _joined(old: Signal, new: Signal) -> Signal:
    first = old if old.at <= new.at else new
    waits = [one.asked for one in (old, new) if one.asked is not None]
    return replace(
        first, count=old.count + new.count, asked=max(waits) if waits else None
    )
