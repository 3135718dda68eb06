"""A lane as it stands: mode, rate, connections, and what it has learned.

A lane is provider x source.  Its state is one row, every field a column; it is moved
by `core.controller` only, and shown by its transitions.

    normal ──congestion──▶ backing off ──a clean minute──▶ normal
      │                       │  ▲
      └──events, or a rule────┤  │ the probes are accepted
                              ▼  │
                         suspended ──time is up──▶ probing ──refused──▶ suspended
    any ──not authentic, not wanted──▶ halted ──a person releases──▶ probing
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from mailer.core.provider import Provider, Source, limited
from mailer.core.throttle import EPOCH


class Mode(StrEnum):
    """What a lane is doing."""

    NORMAL = "normal"
    BACKING_OFF = "backing_off"  # cut, and not yet a clean minute since
    SUSPENDED = "suspended"  # nothing goes before `not_before`
    PROBING = "probing"  # a message now and then, to see
    HALTED = "halted"  # nothing goes before a person releases it: an alarm


CLOSED = frozenset({Mode.SUSPENDED, Mode.HALTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the settings allow a lane: rates in messages a second, inf: unlimited."""

    start: float
    ceiling: float
    connections: int

    @property
    def floor(self) -> float:
        """Return the least rate: what should be slower is suspended."""
        return min(self.start, max(self.ceiling / 300, 1 / 60))


def limits(provider: Provider, source: Source) -> Limits:
    """Join what provider and source say: no rate is above its ceiling."""
    held = limited(provider, source)
    start = held.rate.per_second
    return Limits(
        start=start,
        ceiling=max(start, held.ceiling.per_second),
        connections=held.connections,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered of a lane.

    `rate` and `connections` are what holds now, whatever the mode: a grant asks these,
    `mode` and `not_before`, and nothing else.  Rates are messages a second.
    """

    mode: Mode = Mode.NORMAL
    rate: float  # inf: unlimited
    connections: int
    not_before: datetime = EPOCH  # nothing is sent before
    reason: str | None = None  # the reply that led to the mode

    # What is known of the provider's limits.
    threshold: float  # up to which the rate doubles
    knee: float | None = None  # the rate that was too much, by what went through then
    knee_until: datetime = EPOCH  # and is not passed before
    respite: timedelta = timedelta(0)  # for how long it was respected
    flow: float = 0.0  # what went through of late, messages a second
    roof: int  # connections that the provider allows, as far as is known
    single_until: datetime = EPOCH  # one connection, by a rule

    # What has happened.
    hold_until: datetime = EPOCH  # nothing grows before
    struck_at: datetime = EPOCH  # the first of the replies that may become an event
    strikes: int = 0  # how many of them
    cuts: tuple[datetime, ...] = ()  # events of the last hour
    fewer_at: datetime = EPOCH  # connections were cut
    pause: timedelta = timedelta(0)  # the last suspension, before jitter
    probes: int = 0  # accepted while probing

    # The minute that runs.
    minute: datetime = EPOCH  # its beginning
    tried: int = 0  # and not refused as too fast or too many
    accepted: int = 0
    troubled: int = 0  # replies about the lane
    climbs: int = 0  # minutes in a row that the rate has grown into the unknown


class Cause(StrEnum):
    """Why a lane changed."""

    CONGESTION = "congestion"  # the rate was cut
    CROWDED = "crowded"  # connections were cut
    SUSPENSION = "suspension"
    PROBE = "probe"  # the time is up
    RAMP = "ramp"  # the probes were accepted
    RECOVERY = "recovery"  # a clean minute
    REFUSAL = "refusal"  # our mail is not authentic or not wanted: an alarm
    RELEASE = "release"  # by a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of a lane, to be stored and shown; *reply* is what caused it."""

    at: datetime
    cause: Cause
    before: Mode
    after: Mode
    rate: tuple[float, float]  # before, after
    connections: tuple[int, int]
    until: datetime | None = None  # the earliest time of the next, by itself
    reply: str | None = None

    @property
    def is_alarm(self) -> bool:
        """Tell whether a person must look."""
        return self.cause is Cause.REFUSAL


def begun(limits: Limits, now: datetime) -> State:
    """Return the state of a lane that is not known yet."""
    return State(
        rate=limits.start,
        connections=limits.connections,
        threshold=limits.start,
        roof=limits.connections,
        minute=now,
    )


def at_ease(state: State, limits: Limits) -> bool:
    """Tell whether nothing but signals can change it: unlimited and undisturbed."""
    return (
        math.isinf(state.rate)
        and state.mode is Mode.NORMAL
        and state.connections >= limits.connections
    )


def is_open(state: State, now: datetime) -> bool:
    """Tell whether a message may go, as far as mode and time say."""
    return state.mode not in CLOSED and now >= state.not_before


def fitted(state: State, limits: Limits) -> State:
    """Return *state* under changed settings: nothing above what they allow.

    What was unlimited and is not any more, or the other way, begins with their start.
    """
    rate = state.rate
    if state.mode is not Mode.PROBING:
        if math.isinf(rate) or math.isinf(limits.ceiling):
            rate = limits.start
        rate = min(max(rate, limits.floor), limits.ceiling)
    return replace(
        state,
        rate=rate,
        threshold=min(max(state.threshold, limits.floor), limits.ceiling),
        connections=min(state.connections, limits.connections),
        roof=limits.connections,
    )
