"""How fast a lane may send: tokens by GCRA, quotas of a day, limits of many lanes.

GCRA (ITU-T I.371, annex A) keeps one number, the theoretical arrival time: the instant
at which what was taken is paid for.  The *debt* is what is not paid yet, in messages.
Taking adds to it, time pays it off at the rate, and no more may be taken than leaves it
at `depth`.  Two laws hold (tests/core/test_throttle.py): in no window of any length is
more granted than the rate of each moment allows, plus one depth; and a change of rate
changes no debt, so that it neither gives a fresh burst nor forgives one.

A worker takes tokens for a fraction of a second and keeps them for `KEPT` at most.
What it keeps leaves later than it was granted; `depth` is less than the burst by just
that, so that the law of the window holds on the wire, too, with `burst` for the depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from mailer.core.provider import BURST, Rate

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # long ago: no debt
KEPT = timedelta(seconds=1)  # a grant that was not used by then is void
GRANT = timedelta(milliseconds=250)  # so much of the rate is worth one question
ENDLESS = 2**31 - 1  # tokens of an unlimited bucket: PostgreSQL's integer

_SLACK = 1e-6  # messages: what floats and whole microseconds make of a whole number
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A limit by rate; `arrival` is when its debt is paid."""

    rate: Rate
    arrival: datetime = EPOCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A limit by number and day (UTC); `used` counts on `day` only."""

    limit: int
    day: date
    used: int = 0


Meter = Bucket | Quota


def depth(rate: Rate) -> float:
    """Return how many tokens may be granted at once."""
    return max(1.0, rate.per_second * (BURST - KEPT.total_seconds()))


def burst(rate: Rate) -> float:
    """Return by how many messages a window on the wire may exceed rate x window.

    Two seconds of the rate; of a lane slower than one a second, that one and what
    may come of the grant before.
    """
    return depth(rate) + rate.per_second * KEPT.total_seconds()


def worth(rate: Rate) -> int:
    """Return how many tokens are worth asking for at once; an unlimited lane: 0."""
    if rate.is_unlimited:
        return 0
    return max(1, int(rate.per_second * GRANT.total_seconds()))


def debt(bucket: Bucket, now: datetime) -> float:
    """Return how many messages are taken and not paid for by time."""
    if bucket.rate.is_unlimited:
        return 0.0
    late = (bucket.arrival - now).total_seconds()
    return max(0.0, late) * bucket.rate.per_second


def available(bucket: Bucket, now: datetime) -> int:
    """Return how many tokens may be taken now."""
    if bucket.rate.is_unlimited:
        return ENDLESS
    left = depth(bucket.rate) - debt(bucket, now)
    return max(0, math.floor(left + _SLACK))


def take(bucket: Bucket, want: int, now: datetime) -> tuple[int, Bucket]:
    """Take up to *want* tokens; return how many there were, and what is left."""
    found = min(want, available(bucket, now))
    if found <= 0 or bucket.rate.is_unlimited:
        return max(0, found), bucket
    return found, _owing(bucket, debt(bucket, now) + found, now)


def give_back(bucket: Bucket, tokens: int, now: datetime) -> Bucket:
    """Return tokens that were not used, and are not older than `KEPT`."""
    if bucket.rate.is_unlimited:
        return bucket
    return _owing(bucket, max(0.0, debt(bucket, now) - tokens), now)


def change(bucket: Bucket, rate: Rate, now: datetime) -> Bucket:
    """Change the rate; the debt in messages stays what it is.

    What was taken while a bucket was unlimited is not known, and owed to nobody.
    """
    return _owing(replace(bucket, rate=rate), debt(bucket, now), now)


def ready_at(bucket: Bucket, now: datetime, *, want: int = 1) -> datetime:
    """Return when *want* tokens (at most the depth) will be there if nobody takes."""
    if bucket.rate.is_unlimited:
        return now
    over = debt(bucket, now) + want - depth(bucket.rate)
    return now if over <= _SLACK else now + _up(over / bucket.rate.per_second)


def _owing(bucket: Bucket, messages: float, now: datetime) -> Bucket:
    if bucket.rate.is_unlimited or messages <= 0:
        return replace(bucket, arrival=now)
    return replace(bucket, arrival=now + _up(messages / bucket.rate.per_second))


def _up(seconds: float) -> timedelta:
    """Round up to a microsecond: rounding down would be paying less, each time."""
    found = timedelta(seconds=seconds)
    return found if found.total_seconds() >= seconds else found + _TICK


# ── Limits that several lanes share ─────────────────────────────────────────


def room(meter: Meter, now: datetime) -> int:
    """Return how many messages *meter* lets through now."""
    if isinstance(meter, Bucket):
        return available(meter, now)
    used = meter.used if meter.day == now.astimezone(UTC).date() else 0
    return max(0, meter.limit - used)


def share(
    meters: Mapping[str, Meter], want: int, now: datetime
) -> tuple[int, dict[str, Meter]]:
    """Take up to *want* from all *meters* at once; return how many, and those changed.

    A lane, its day, the provider over all sources, the sending domain at the provider:
    the least of them decides, and none is charged for what another refuses.  They are
    looked at by `order`: a small one that is empty is seen before a large one is read.
    """
    found = want
    for name in order(meters):
        found = min(found, room(meters[name], now))
        if found <= 0:
            return 0, {}
    return found, {name: _charged(one, found, now) for name, one in meters.items()}


def order(meters: Mapping[str, Meter]) -> list[str]:
    """Return the names, the smallest limit first, equal ones by name."""
    return sorted(meters, key=lambda name: (_size(meters[name]), name))


def _size(meter: Meter) -> float:
    """Return the limit in messages a day."""
    if isinstance(meter, Bucket):
        return meter.rate.per_second * 86400
    return float(meter.limit)


def _charged(meter: Meter, tokens: int, now: datetime) -> Meter:
    if isinstance(meter, Bucket):
        return take(meter, tokens, now)[1]
    today = now.astimezone(UTC).date()
    used = meter.used if meter.day == today else 0
    return replace(meter, day=today, used=used + tokens)
