"""Whether a blast moves: when it stands still, and when too much of it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ENOUGH = 100  # results before a share of them says anything
PATIENCE = 6  # … times longer, while every lane that has work is closed for a while
SLOW = 3  # messages of the slowest lane that may be missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a blast that should be going out."""

    name: str
    at: datetime
    expires_at: datetime
    recipients: int
    sent: int
    ended: int  # of any other way: bounced, in doubt, suppressed, failed …
    is_owed: bool  # something could be tried now
    is_open: bool  # … on a lane that is not closed for a while
    rate: float | None = None  # of the fastest of those lanes; None: unlimited
    is_begun: bool = True  # its ledger is written
    failed: int = 0
    results: int = 0
    excused_failed: int = 0  # before a person said that it may go on all the same
    excused_results: int = 0

    @property
    def moved(self) -> int:
        """Return what grows as long as the blast moves; "later" is no movement."""
        return self.recipients + self.sent + self.ended

    @property
    def left(self) -> int:
        """Return how many are owed a message."""
        return self.recipients - self.sent - self.ended


@dataclass(frozen=True, slots=True)
class Pulse:
    """How far a blast was, and since when it is there."""

    moved: int
    since: datetime


def beat(before: Pulse | None, seen: Seen) -> Pulse:
    """Return the pulse after a look: what has nothing to do does not stand still."""
    if before is None or before.moved != seen.moved or not seen.is_owed:
        return Pulse(seen.moved, seen.at)
    return before


def is_stalled(pulse: Pulse, seen: Seen, *, limit: timedelta) -> bool:
    """Tell whether a blast has stood still for too long.

    A provider that closed its lane for a while is asked again by itself, which takes
    longer; so does a lane that is slow because it should be.
    """
    if not seen.is_owed:
        return False
    if not seen.is_open:
        limit *= PATIENCE
    elif seen.rate:
        limit = max(limit, timedelta(seconds=SLOW / seen.rate))
    return seen.at - pulse.since >= limit


def is_failing(seen: Seen, *, share: float) -> bool:
    """Tell whether so much could not be written that the rest should wait.

    Counted since the blast began, or since a person resumed it after such a pause.
    """
    results = seen.results - seen.excused_results
    failed = seen.failed - seen.excused_failed
    return results >= ENOUGH and failed > share * results


def stalled(
    pulse: Pulse, seen: Seen, *, workers: int, closed: Sequence[str] = ()
) -> str:
    """Say what is known of a blast that stands still; *closed* are lanes and why."""
    span = _span(seen.at - pulse.since)
    parts = [f"It should have begun {span} ago or more."]
    if seen.is_begun:
        parts = [
            f"Nothing was sent for {span}: {seen.left:,} of {seen.recipients:,} are "
            "owed a message."
        ]
    left = seen.expires_at - seen.at
    parts.append(
        f"Nothing goes out after {seen.expires_at:%Y-%m-%d %H:%M} UTC, "
        f"in {_span(left)}."
    )
    if not workers:
        parts.append("No worker is running: start `mailer run` or `mailer work`.")
    parts += [f"Closed: {one}." for one in closed]
    return " ".join(parts)


def failing(seen: Seen) -> str:
    """Say what is known of a blast that is paused because too much fails."""
    results = seen.results - seen.excused_results
    failed = seen.failed - seen.excused_failed
    return (
        f"{failed:,} of {results:,} messages ({failed / results:.0%}) could not be "
        f"written; {seen.left:,} are owed one."
    )


def missed(count: int, recipients: int) -> str:
    """Say how many people a blast missed when it expired; 0 of 0: it never began."""
    if not recipients:
        return "It never began: nobody got it."
    return f"{count:,} of {recipients:,} people were not sent to in time."


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{minutes // 60} hours"
