"""Lanes: provider x source, their state, grants and history.

A lane's state is moved by core.controller only: lock, advance, save, in one short
transaction.  Rates are messages a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from mailer.core import lane, throttle
from mailer.core.lane import Cause, Limits, Mode, State, Transition
from mailer.core.provider import BURST, Source
from mailer.store import database

SQL = database.load("lanes")

LIFE = throttle.KEPT  # of a token: unused ones die, and they count till then
GRANT = throttle.GRANT.total_seconds()
MANY = 200  # providers of a blast that are looked at in one go
AGE = timedelta(days=90)  # of a step of a lane, until it is forgotten

# Columns of their own; what else the controller remembers is in `memory`.
_COLUMNS = ("mode", "rate", "connections", "not_before", "reason")
_HINTS: Mapping[str, Any] = get_type_hints(State)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A lane that has work and a free connection; *taken* are in use, by anybody."""

    provider: str
    source: str
    pool: str
    taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a lane gives: tokens, or how long there is none; nothing while closed.

    *is_stale*: nobody has said yet how many it may send today.
    """

    tokens: int
    is_closed: bool
    is_stale: bool
    at: datetime
    wait: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A row of the lane table; *rate* is messages a second, None unlimited."""

    provider: str
    source: str
    pool: str
    mode: str
    rate: float | None
    connections: int
    not_before: datetime
    reason: str | None
    taken: int
    ceiling: float | None
    most: int  # connections that the settings allow
    quota: int | None  # messages of today, while it warms up
    used: int | None
    start: float | None
    is_warming: bool
    is_known: bool  # to the controller

    def is_as_said(self, limits: Limits, source: Source) -> bool:
        """Tell whether the settings have not changed."""
        said = (_or_none(limits.start), _or_none(limits.ceiling), limits.connections)
        return (
            self.is_known
            and said == (self.start, self.ceiling, self.most)
            and (self.pool, self.is_warming) == (source.pool, source.warmup)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lane that nobody else changes until the transaction ends."""

    provider: str
    source: str
    pool: str
    state: State
    limits: Limits | None  # None: the settings were never written
    is_warming: bool
    now: datetime

    @property
    def is_open(self) -> bool:
        """Tell whether a message may go, as far as mode and time say."""
        return lane.is_open(self.state, self.now)

    @property
    def is_untouched(self) -> bool:
        """Tell whether it is as its settings began it: nothing was learned."""
        state, limits = self.state, self.limits
        return (
            limits is not None
            and state.mode is Mode.NORMAL
            and not state.cuts
            and state.knee is None
            and (state.rate, state.connections) == (limits.start, limits.connections)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a lane, as it is kept."""

    provider: str
    source: str
    transition: Transition


# ── State ───────────────────────────────────────────────────────────────────


async def add(
    tx: database.Connection, *, provider: str, source: str, pool: str, connections: int
) -> None:
    """Have a lane, if there is none."""
    await tx.run(
        SQL["add"],
        provider=provider,
        source=source,
        pool=pool,
        connections=connections,
    )


async def lock(tx: database.Connection, *, provider: str, source: str) -> Locked | None:
    """Return a lane, which nobody else changes until *tx* ends; None: there is none."""
    row = await tx.row(SQL["lock"], provider=provider, source=source)
    if row is None:
        return None
    now: datetime = await tx.value(SQL["clock"])  # after whoever had it before us
    limits = None
    if row["memory"] is not None:
        limits = Limits(
            start=_rate(row["start"]),
            ceiling=_rate(row["ceiling"]),
            connections=row["most"],
        )
    return Locked(
        provider=provider,
        source=source,
        pool=row["pool"],
        state=_state(row, now=now),
        limits=limits,
        is_warming=row["is_warming"],
        now=now,
    )


async def allow(
    tx: database.Connection,
    locked: Locked,
    *,
    pool: str,
    limits: Limits,
    is_warming: bool,
) -> None:
    """Write what the settings say of a locked lane."""
    await tx.run(
        SQL["allow"],
        provider=locked.provider,
        source=locked.source,
        pool=pool,
        start=_or_none(limits.start),
        ceiling=_or_none(limits.ceiling),
        most=limits.connections,
        is_warming=is_warming,
    )


async def save(
    tx: database.Connection,
    locked: Locked,
    state: State,
    steps: Sequence[Transition] = (),
) -> None:
    """Write what became of a locked lane, and how."""
    await tx.run(
        SQL["save"],
        provider=locked.provider,
        source=locked.source,
        mode=state.mode.value,
        rate=_or_none(state.rate),
        connections=state.connections,
        not_before=state.not_before,
        reason=state.reason,
        memory=_memory(state),
    )
    for step in steps:
        await tx.run(
            SQL["record"],
            provider=locked.provider,
            source=locked.source,
            at=step.at,
            cause=step.cause.value,
            before=step.before.value,
            after=step.after.value,
            rate_before=_or_none(step.rate[0]),
            rate_after=_or_none(step.rate[1]),
            connections_before=step.connections[0],
            connections_after=step.connections[1],
            until=step.until,
            reply=step.reply,
        )


async def transitions(
    tx: database.Connection,
    *,
    provider: str | None = None,
    source: str | None = None,
    limit: int,
) -> list[Step]:
    """Return the latest steps of lanes, the newest first."""
    rows = await tx.rows(
        SQL["transitions"], provider=provider, source=source, limit=limit
    )
    return [
        Step(
            provider=row["provider"],
            source=row["source"],
            transition=Transition(
                at=row["at"],
                cause=Cause(row["cause"]),
                before=Mode(row["before"]),
                after=Mode(row["after"]),
                rate=(_rate(row["rate_before"]), _rate(row["rate_after"])),
                connections=(row["connections_before"], row["connections_after"]),
                until=row["until"],
                reply=row["reply"],
            ),
        )
        for row in rows
    ]


async def forget(tx: database.Connection) -> None:
    """Forget steps older than `AGE`."""
    await tx.run(SQL["forget"], age=AGE)


async def everything(tx: database.Connection) -> list[Lane]:
    """Return every lane."""
    return [Lane(**row) for row in await tx.rows(SQL["all"])]


def _rate(found: float | None) -> float:
    return math.inf if found is None else found


def _or_none(rate: float) -> float | None:
    return None if math.isinf(rate) else rate


def _memory(state: State) -> dict[str, Any]:
    """Return what the controller remembers, as JSON can hold it."""
    return {
        one.name: _written(getattr(state, one.name))
        for one in fields(state)
        if one.name not in _COLUMNS
    }


def _written(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case tuple():
            return [_written(one) for one in value]
        case float() if math.isinf(value):
            return None
        case _:
            return value


def _state(row: database.Row, *, now: datetime) -> State:
    """Read a state; what an older or newer release wrote besides is left out."""
    limits = Limits(
        start=_rate(row["rate"]),
        ceiling=_rate(row["rate"]),
        connections=row["connections"],
    )
    known = {
        one.name: getattr(lane.begun(limits, now), one.name) for one in fields(State)
    }
    for name, value in (row["memory"] or {}).items():
        if name in known and name not in _COLUMNS:
            known[name] = _read(_HINTS[name], value)
    known |= {
        "mode": Mode(row["mode"]),
        "rate": _rate(row["rate"]),
        "connections": row["connections"],
        "not_before": row["not_before"],
        "reason": row["reason"],
    }
    return State(**known)


def _read(kind: Any, value: Any) -> Any:
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind is timedelta:
        return timedelta(seconds=value)
    if kind is float and value is None:
        return math.inf
    if isinstance(value, list):
        return tuple(datetime.fromisoformat(one) for one in value)
    return value


# ── Work and tokens ────────────────────────────────────────────────────────


async def wanted(
    tx: database.Connection, sources: Sequence[str], *, after: str = ""
) -> tuple[list[Wanted], str]:
    """Return lanes of *sources* with work and a free connection, and where to go on.

    Those that nobody serves come first, then the urgent, then the emptiest.  Of more
    than `MANY` providers, those *after* one; the next look goes on where this ended,
    and begins anew after the last.
    """
    rows = await tx.rows(SQL["wanted"], sources=list(sources), after=after, limit=MANY)
    found = [
        Wanted(
            provider=row["provider"],
            source=row["source"],
            pool=row["pool"],
            taken=row["taken"],
        )
        for row in rows
        if row["provider"] is not None
    ]
    return found, rows[0]["last"] or ""


async def grant(
    tx: database.Connection,
    *,
    provider: str,
    source: str,
    domains: Sequence[str] = (),
    want: int,
    speed: float = 1.0,
) -> Grant | None:
    """Take up to *want* tokens of a lane, and of what it shares with others.

    Each lives for `LIFE`.  However many ask, no window is granted more than the rate
    times its length and the burst.  *domains* are those of From.  None: no such lane.
    Where the clock of lanes runs at *speed*, a grant is worth as long a moment of the
    real one, and the burst is large enough for that.
    """
    row = await tx.row(
        SQL["grant"],
        provider=provider,
        source=source,
        domains=list(domains),
        want=want,
        depth=max(BURST - LIFE.total_seconds(), GRANT * speed),
        moment=GRANT * speed,
    )
    return None if row is None else Grant(**row)
