"""The quota of a day for a source that a provider does not know yet.

By lane and day, not by source: each provider has its own opinion of an address.  The
first steps are SendGrid's published schedule for an IP; from its thousand on a day
brings at most 1.5 times the day before, as Google advises not to double
(support.google.com/mail/answer/81126).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

from mailer.core.provider import Rate

FIRST = (50, 100, 250, 500, 1000)  # SendGrid, warm-up schedule: the first five days
FACTOR = 1.5  # a day to the next, once the provider sees real volume
DEFERRED = 0.03  # share of yesterday's tries from which nothing is added
USED = 0.8  # of the quota: who did not send it has shown nothing
COLD = timedelta(days=30)  # idle so long, a source begins anew (SendGrid)
HOURS = timedelta(hours=12)  # over which a day's quota is spread (KumoMTA does so)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a lane might send on a day, and what came of it."""

    day: date
    quota: int
    accepted: int = 0
    deferred: int = 0  # replies about the lane, not about a recipient

    @property
    def is_clean(self) -> bool:
        """Tell whether the provider put off less than three in a hundred."""
        tries = self.accepted + self.deferred
        return tries == 0 or self.deferred / tries < DEFERRED


def quota(last: Day | None, today: date) -> int:
    """Return how many messages a lane may send *today*, after its *last* day of use.

    Never more than 1.5 times the last quota (but for the first steps), and more only
    if that was used and well received; after a month without a message from the start.
    """
    if last is None or today - last.day >= COLD:
        return FIRST[0]
    if today <= last.day or not last.is_clean or last.accepted < USED * last.quota:
        return last.quota
    return grown(last.quota)


def grown(quota: int) -> int:
    """Return the step after *quota*."""
    for step in FIRST:
        if quota < step:
            return step
    return math.floor(quota * FACTOR)


def days(volume: int) -> int:
    """Return how many days of warm-up come before *volume* a day is allowed."""
    count, found = 0, FIRST[0]
    while found < volume:
        count, found = count + 1, grown(found)
    return count


def pace(quota: int) -> Rate:
    """Return the rate that spreads a day's quota over twelve hours."""
    return Rate(quota / HOURS.total_seconds())
