"""A rehearsal in time-lapse: an hour in a minute, by hurrying all that takes time.

Lanes and simulated providers live by a clock that runs faster.  The real one stays as
it is for leases, which real processes must keep, and for the ledger: waits between
tries, and the life of the blast, are so many times as short instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from mailer.core.forecast import Forecast
from mailer.core.provider import Kind, Limits, Provider, Rate, Source, Tls

LOOPBACK = "127.0.0.1"
CAPACITY = 200.0  # messages a second that one process sends and receives with ease
LEAST = 60.0  # seconds that a rehearsal takes at least: its start is small beside it
UNLIMITED = Rate(float("inf"))
QUICK = timedelta(milliseconds=50)  # between two tries at full speed
UNHURRIED = timedelta(days=1)
SHORTEST = timedelta(seconds=10)  # that a blast has, so that it can begin at all
CONNECTIONS = 10  # of each lane at full speed


def fitting(found: Forecast) -> float:
    """Return the speed for a blast: what this machine can do, and not less than 1."""
    fastest = sum((one.rate + one.best_rate) / 2 for one in found.providers)
    end = found.latest or found.earliest
    if end is None or not fastest:
        return 1.0
    lasts = (end - found.starts_at).total_seconds()
    wanted = min(CAPACITY / fastest, lasts / LEAST)
    return float(round(wanted)) if wanted >= 2 else 1.0


def wait(found: timedelta, speed: float | None) -> timedelta:
    """Hurry a wait; None: at full speed nobody waits."""
    return QUICK if speed is None else found / speed


def life(lasts: timedelta, speed: float | None) -> timedelta:
    """Hurry how long a blast has; None: at full speed it is not ended by time."""
    return lasts + UNHURRIED if speed is None else max(lasts / speed, SHORTEST)


def source(real: Source, *, port: int, speed: float | None) -> Source:
    """Return what stands for *real*: the same lanes, but it reaches only this machine.

    Whatever could lead to another server, or show who we are to it, is left behind.
    """
    retry = real.retry and tuple(wait(one, speed) for one in real.retry)
    return Source(
        name=real.name,
        kind=Kind.RELAY,
        pool=real.pool,
        host=LOOPBACK,
        port=port,
        tls=Tls.NONE,
        helo=real.helo,
        connections=CONNECTIONS if speed is None else real.connections,
        messages=real.messages,
        rate=UNLIMITED if speed is None else real.rate,
        ceiling=UNLIMITED if speed is None else real.ceiling,
        retry=retry,
        provider={
            name: _limits(one, speed=speed) for name, one in real.provider.items()
        },
    )


def _limits(own: Limits, *, speed: float | None) -> Limits:
    """Hurry what a source may do at one provider."""
    return replace(
        own,
        connections=CONNECTIONS if speed is None else own.connections,
        rate=UNLIMITED if speed is None else own.rate,
        ceiling=UNLIMITED if speed is None else own.ceiling,
        retry=own.retry and tuple(wait(one, speed) for one in own.retry),
    )


def providers(
    known: Iterable[Provider],
    *,
    paces: Mapping[str, tuple[float, float]],
    speed: float | None,
) -> tuple[Provider, ...]:
    """Hurry the tries at providers; *paces* are start and ceiling, where known."""
    found = []
    for one in known:
        start, ceiling = paces.get(
            one.name, (one.rate.per_second, one.ceiling.per_second)
        )
        found.append(
            replace(
                one,
                rate=Rate(start),
                ceiling=Rate(ceiling),
                retry=tuple(wait(pause, speed) for pause in one.retry),
            )
        )
    return tuple(found)
