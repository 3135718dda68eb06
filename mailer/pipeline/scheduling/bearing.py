"""What a lane bears, for a forecast: its settings, and what its controller learned."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from mailer.core import controller, flow, lane, provider, warmup
from mailer.core.lane import Mode
from mailer.store.forecasts import Lane

PROBING = timedelta(seconds=controller.PROBES / controller.PROBE)  # until it ramps up
DAYS = 60  # of warm-up that are looked at


def lane_of(
    known: provider.Provider,
    source: provider.Source,
    row: Lane | None,
    *,
    now: datetime,
    is_measured: bool = False,
    bursts: float = 1.0,
) -> flow.Lane:
    """Return what a lane bears, as its *row* says, else as the settings do.

    Learned is the limit of a lane whose knee is known, or that is at its ceiling, or
    may not grow: then it is what the settings of its source say.  *is_measured*: it is
    known how fast the workers are, where nothing else limits.
    """
    limits = lane.limits(known, source)
    rate = limits.start
    if row is not None:
        rate = math.inf if row.rate is None else row.rate
    if math.isinf(rate):
        return flow.Lane(rate=rate, is_learned=is_measured, opens_at=_opens(row, now))
    top, below, is_learned = limits.ceiling, 0.0, rate >= limits.ceiling
    if row is not None and row.knee is not None:
        top, is_learned = max(rate, controller.STAY * row.knee), True
    if row is not None and row.threshold is not None:
        below = row.threshold
        if row.mode in {Mode.SUSPENDED, Mode.PROBING}:
            rate = max(limits.floor, below / 2)  # as it ramps up afterwards
    if row is not None and row.mode == Mode.HALTED:
        rate, top, is_learned = 0.0, 0.0, True  # until a person says so
    caps = _caps(source, row)
    return flow.Lane(
        rate=rate,
        ceiling=top,
        growth=controller.STEP * limits.ceiling,
        doubles_below=below,
        is_learned=is_learned,
        opens_at=_opens(row, now),
        credit=provider.Rate(rate).burst * bursts if rate else 0.0,
        caps=caps,
        paces=tuple(warmup.pace(int(cap)).per_second for cap in _quotas(source, row)),
    )


def _opens(row: Lane | None, now: datetime) -> datetime | None:
    if row is None:
        return None
    opens = max(row.not_before, now)
    if row.mode in {Mode.SUSPENDED, Mode.PROBING}:
        opens += PROBING
    return opens if opens > now else None


def _quotas(source: provider.Source, row: Lane | None) -> list[int]:
    """Return how many messages a day allows, from today on, if each is used."""
    if not source.warmup:
        return []
    quota = row.quota if row is not None and row.quota else warmup.FIRST[0]
    found = [quota]
    for _ in range(DAYS):
        found.append(warmup.grown(found[-1]))
    return found


def _caps(source: provider.Source, row: Lane | None) -> tuple[float, ...]:
    quotas = _quotas(source, row)
    if not quotas:
        return ()
    used = row.used if row is not None and row.used else 0
    return (float(max(0, quotas[0] - used)), *map(float, quotas[1:]))
