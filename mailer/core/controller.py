"""How a lane finds the rate that its provider bears: state and evidence in, state out.

Any worker of many advances the row of a lane, in a short transaction, by the batch of
evidence that it has; time and jitter come in.  Growth is additive increase and
multiplicative decrease (Chiu and Jain, 1989) with slow start below a threshold
(RFC 5681), and with a memory of the rate that was too much, as CUBIC has (RFC 9438
§4.1): a lane that has met a limit returns to just below it and creeps for a while, and
then climbs to see whether the limit has risen.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

from mailer.core import congestion, evidence, knee, lane
from mailer.core.congestion import HOLD, Moment
from mailer.core.evidence import Evidence
from mailer.core.knee import HOUR, MINUTE
from mailer.core.lane import Cause, Limits, Mode, State, Transition

# MINUTE is what shows that a lane is clean.
USED = 0.9  # of the rate: a lane that is not used shows nothing about its limit
STEP = 0.05  # of the ceiling: the most that a minute adds
CLIMB = 0.05  # of the rate: what a minute adds past what is known …
LEVEL = 4  # … so often; then the limit has risen, and each step is twice the last
STAY = 0.97  # of the knee: where the rate creeps while the knee is respected
NEAR = 0.995  # of that, is there
CREEP = 0.08  # of the rate in all, while the knee is respected: from below to above it
RECOVERED = 0.8  # of the knee goes through again …
SLOWLY = 4  # … and if that takes long, so many times as long the knee is respected
ROOF = timedelta(minutes=10)  # connections that were refused are not asked for again

IDLE = timedelta(hours=12)  # a burst after long silence is what Gmail's 4.7.28 punishes

PROBE = 1 / 30  # messages/s, over one connection
PROBES = 5  # accepted in a row, and the lane ramps up


def advance(
    state: State,
    seen: Evidence = evidence.NOTHING,
    *,
    limits: Limits,
    now: datetime,
    jitter: float = 0.0,
) -> tuple[State, tuple[Transition, ...]]:
    """Let time pass and evidence count; return the state and its changes, in order.

    *jitter* is any number from -1 to 1.  Replies within half a minute are one event,
    whoever brings them; without evidence only time passes.  The state is the same
    object if nothing changed.
    """
    at = Moment(limits, now, jitter)
    state = _woken(state, at)
    if state.mode is not Mode.HALTED and not lane.at_ease(state, limits):
        state = _passed(state, at)
        state = _counted(state, seen, at)
    for signal in sorted(seen.signals, key=lambda one: congestion.ORDER[one.action]):
        state = congestion.heard(state, signal, at)
    return state, tuple(at.changes)


def release(
    state: State, *, limits: Limits, now: datetime
) -> tuple[State, tuple[Transition, ...]]:
    """Open a closed lane by a person's word: it probes before it ramps up."""
    if state.mode not in lane.CLOSED:
        return state, ()
    at = Moment(limits, now, 0.0)
    return _probing(state, Cause.RELEASE, at), tuple(at.changes)


def halt(
    state: State, reason: str, *, limits: Limits, now: datetime
) -> tuple[State, tuple[Transition, ...]]:
    """Close a lane until a person releases it."""
    at = Moment(limits, now, 0.0)
    return congestion.halted(state, reason, at), tuple(at.changes)


# ── Time ────────────────────────────────────────────────────────────────────


def _woken(state: State, at: Moment) -> State:
    """Probe when a suspension is over."""
    if state.mode is Mode.SUSPENDED and at.now >= state.not_before:
        return _probing(state, Cause.PROBE, at)
    return state


def _probing(state: State, cause: Cause, at: Moment) -> State:
    probing = replace(
        congestion.fresh(state, at.now),
        mode=Mode.PROBING,
        rate=min(PROBE, at.limits.ceiling),
        connections=1,
        not_before=at.now,
        probes=0,
    )
    return at.changed(state, probing, cause, reply=state.reason)


def _passed(state: State, at: Moment) -> State:
    """Judge the minute that is over: a clean one lets rate and connections grow."""
    if at.now - state.minute < MINUTE or state.mode in {*lane.CLOSED, Mode.PROBING}:
        return state
    if at.now - state.minute > IDLE:
        rate = min(state.rate, at.limits.start)
        return replace(congestion.fresh(state, at.now), rate=rate, climbs=0)
    is_held = bool(state.cuts) and at.now < state.cuts[-1] + HOLD
    if state.troubled or is_held or not state.accepted:
        return replace(congestion.fresh(state, at.now), flow=knee.flow(state, at.now))
    used = state.tried / (at.now - state.minute).total_seconds()
    grown = replace(_opened(state, at), flow=knee.flow(state, at.now))
    grown = _risen(grown, at, is_used=used >= USED * state.rate)
    if state.cuts and used < RECOVERED * (state.knee or 0):
        until = min(
            at.now + SLOWLY * (at.now - state.cuts[-1]), state.cuts[-1] + 2 * HOUR
        )
        grown = replace(grown, knee_until=max(grown.knee_until, until))
    if state.mode is Mode.BACKING_OFF:
        grown = replace(grown, mode=Mode.NORMAL, reason=None)
        grown = at.changed(state, grown, Cause.RECOVERY)
    return congestion.fresh(grown, at.now)


def _opened(state: State, at: Moment) -> State:
    """Return *state* with more connections, if it may have them."""
    if at.now < state.single_until:
        return state
    roof = state.roof
    if state.connections >= roof and at.now >= state.fewer_at + ROOF:
        roof = min(roof + 1, at.limits.connections)
    return replace(state, roof=roof, connections=min(2 * state.connections, roof))


def _risen(state: State, at: Moment, *, is_used: bool) -> State:
    """Return *state* with the rate of the next minute.

    It doubles to the threshold; it nears the knee by half of what is left, and creeps
    while that is respected; then it climbs.  What is known to be borne is returned to
    without being used, for a lane that is short of connections.
    """
    rate, climbs = state.rate, 0
    near = STAY * state.knee if state.knee is not None else 0.0
    if math.isinf(rate):
        return state
    if rate < state.threshold:
        rate = min(2 * rate, state.threshold)
    elif at.now < state.hold_until:
        return state
    elif rate < NEAR * near:
        rate += (near - rate) / 2
    elif not is_used:
        return state
    elif at.now < state.knee_until:
        rate += CREEP * rate * (MINUTE / state.respite)
    else:
        climbs = min(state.climbs + 1, _STEEP)
        if state.knee is None:  # nothing is known: nothing to be careful of yet
            climbs = max(climbs, LEVEL + 1)
        step = CLIMB * rate * 2 ** max(0, climbs - LEVEL)
        rate += min(step, STEP * at.limits.ceiling)
    return replace(state, rate=min(rate, at.limits.ceiling), climbs=climbs)


_STEEP = LEVEL + 10


def _counted(state: State, seen: Evidence, at: Moment) -> State:
    """Add what went through; enough accepted probes let the lane ramp up."""
    if not seen.tried or state.mode is Mode.SUSPENDED:
        return state
    through = max(0, seen.tried - sum(one.count for one in seen.signals))
    state = replace(
        state,
        tried=state.tried + through,
        accepted=state.accepted + seen.accepted,
    )
    if state.mode is not Mode.PROBING or seen.signals:
        return state
    state = replace(state, probes=state.probes + seen.accepted)
    return _ramping(state, at) if state.probes >= PROBES else state


def _ramping(state: State, at: Moment) -> State:
    """Begin slow start after probes: from a quarter of what was too much."""
    limits = at.limits
    if math.isinf(limits.ceiling):
        rate = threshold = math.inf
    else:
        threshold = max(limits.floor, min(state.threshold, limits.ceiling))
        rate = max(limits.floor, threshold / 2)
    ramping = replace(
        congestion.fresh(state, at.now),
        mode=Mode.BACKING_OFF,
        rate=rate,
        threshold=threshold,
        connections=_joined(state, max(1, state.roof // 2), at),
        strikes=0,
        cuts=(),
    )
    return at.changed(state, ramping, Cause.RAMP)


def _joined(state: State, connections: int, at: Moment) -> int:
    return 1 if at.now < state.single_until else min(connections, at.limits.connections)
