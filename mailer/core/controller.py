"""How a lane finds the rate that its provider bears: state and evidence in, state out.

Any worker of many advances the row of a lane, in a short transaction, by the batch of
evidence that it has; time and jitter come in.  Growth is additive increase and
multiplicative decrease (Chiu and Jain, 1989) with slow start below a threshold
(RFC 5681), and with a memory of the rate that was too much, as CUBIC has (RFC 9438
§4.1): a lane that has met a limit returns to just below it and stays there for a while.
Each constant says why it is what it is; they were tuned on `mailer bench lanes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mailer.core import evidence, lane
from mailer.core.bounce import Action
from mailer.core.evidence import Evidence, Signal
from mailer.core.lane import Cause, Limits, Mode, State, Transition

MINUTE = timedelta(minutes=1)  # over which a lane shows that it is clean
HOUR = timedelta(hours=1)  # in which the `suspend_after` of a rule counts
SAME = timedelta(seconds=30)  # replies so close are one event (Postfix's cohorts)
STRIKES = 2  # replies that make an event: one alone may be a stray
SLOW = 20 / 30  # messages/s; at less, one reply is 5 % of what SAME sees: enough
USED = 0.9  # of the rate: a lane that is not used shows nothing about its limit

CUT = 0.5  # of the rate, at an event
THRESHOLD = 0.7  # of the rate at the event: up to here it doubles again
HOLD = timedelta(seconds=60)  # after an event, before anything grows
STEP = 0.05  # of the ceiling: the most that a minute adds
CLIMB = 0.05  # of the rate: what a minute adds past what is known …
LEVEL = 4  # … so often; then the limit has risen, and each step is twice the last
FLOW = 0.3  # weight of the last minute in what went through of late
LESS = 0.97  # of a rate that was thought to be just below the knee, and was not
MORE = 1.02  # of a knee that held for its respite, at most
SOON = timedelta(minutes=4)
FALLEN = 0.65  # of the rate at an event so soon after the last: the limit has fallen
CLOSED_KNEE = 0.85  # of it or of the rate, when the lane was closed nevertheless
CUT_KNOWN = 0.7  # of the rate, at an event where one was expected
RECOVERED = 0.8  # of the knee goes through again
SLOWLY = 4  # times as long as a lane takes to recover, the knee is respected
CAREFUL = 0.96  # of a knee whose next event is dear
PROVEN = 0.95  # of a knee that was met again: up to here the rate doubles
STAY = 0.97  # of the knee: where the rate creeps while the knee is respected
CREEP = 0.08  # of the rate: by so much it creeps in all, while the knee is respected
RESPITE = timedelta(minutes=5)  # a knee is respected; doubles when it was right
LONG_RESPITE = timedelta(minutes=20)
ALIKE = 0.15  # two knees that differ by less are the same limit
DEAR = 3  # times a hold that a rule asks for: what is dear is tried seldom
ROOF = timedelta(minutes=10)  # connections that were refused are not asked for again

OFTEN = 4  # events in WINDOW suspend the lane: cutting did not help
WINDOW = timedelta(minutes=10)
FIRST = timedelta(minutes=15)  # a suspension; doubles to LONGEST
LONGEST = timedelta(hours=4)
JITTER = 0.2  # of a suspension, either way: lanes don't come back together
CALM = timedelta(hours=2)  # since the last one ended, until the next is short again
BRIEF = timedelta(minutes=1)  # a pause so short needs no probe
BREATH = timedelta(seconds=5)  # of an unlimited lane, which has no rate to cut

PROBE = 1 / 30  # messages/s, over one connection
PROBES = 5  # accepted in a row, and the lane ramps up


@dataclass(slots=True)
class _Moment:
    """What one advance is about, and the changes that it made."""

    limits: Limits
    now: datetime
    jitter: float
    changes: list[Transition] = field(default_factory=list)

    def changed(
        self,
        before: State,
        after: State,
        cause: Cause,
        *,
        reply: str | None = None,
        until: datetime | None = None,
    ) -> State:
        """Note a change and return the state after it."""
        change = Transition(
            at=self.now,
            cause=cause,
            before=before.mode,
            after=after.mode,
            rate=(before.rate, after.rate),
            connections=(before.connections, after.connections),
            until=until,
            reply=reply,
        )
        self.changes.append(change)
        return after


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
    at = _Moment(limits, now, jitter)
    state = _woken(state, at)
    if state.mode is not Mode.HALTED and not lane.at_ease(state, limits):
        state = _passed(state, at)
        state = _counted(state, seen, at)
    for signal in sorted(seen.signals, key=lambda one: _ORDER[one.action]):
        state = _heard(state, signal, at)
    return state, tuple(at.changes)


def release(
    state: State, *, limits: Limits, now: datetime
) -> tuple[State, tuple[Transition, ...]]:
    """Open a closed lane by a person's word: it probes before it ramps up."""
    if state.mode not in lane.CLOSED:
        return state, ()
    at = _Moment(limits, now, 0.0)
    return _probing(state, Cause.RELEASE, at), tuple(at.changes)


def halt(
    state: State, reason: str, *, limits: Limits, now: datetime
) -> tuple[State, tuple[Transition, ...]]:
    """Close a lane until a person releases it."""
    at = _Moment(limits, now, 0.0)
    return _halted(state, reason, at), tuple(at.changes)


# ── Time ────────────────────────────────────────────────────────────────────


def _woken(state: State, at: _Moment) -> State:
    """Probe when a suspension is over."""
    if state.mode is Mode.SUSPENDED and at.now >= state.not_before:
        return _probing(state, Cause.PROBE, at)
    return state


def _probing(state: State, cause: Cause, at: _Moment) -> State:
    probing = replace(
        _fresh(state, at.now),
        mode=Mode.PROBING,
        rate=min(PROBE, at.limits.ceiling),
        connections=1,
        not_before=at.now,
        probes=0,
    )
    return at.changed(state, probing, cause, reply=state.reason)


def _fresh(state: State, now: datetime) -> State:
    """Begin a new minute."""
    return replace(state, minute=now, tried=0, accepted=0, troubled=0)


def _passed(state: State, at: _Moment) -> State:
    """Judge the minute that is over: a clean one lets rate and connections grow."""
    if at.now - state.minute < MINUTE or state.mode in {*lane.CLOSED, Mode.PROBING}:
        return state
    is_held = bool(state.cuts) and at.now < state.cuts[-1] + HOLD
    if state.troubled or is_held or not state.accepted:
        return replace(_fresh(state, at.now), flow=_flow(state, at.now))
    used = state.tried / (at.now - state.minute).total_seconds()
    grown = replace(_opened(state, at), flow=_flow(state, at.now))
    grown = _risen(grown, at, is_used=used >= USED * state.rate)
    if state.cuts and used < RECOVERED * (state.knee or 0):
        until = min(
            at.now + SLOWLY * (at.now - state.cuts[-1]), state.cuts[-1] + 2 * HOUR
        )
        grown = replace(grown, knee_until=max(grown.knee_until, until))
    if state.mode is Mode.BACKING_OFF:
        grown = replace(grown, mode=Mode.NORMAL, reason=None)
        grown = at.changed(state, grown, Cause.RECOVERY)
    return _fresh(grown, at.now)


def _flow(state: State, now: datetime) -> float:
    """Return what went through of late, with the minute that runs."""
    since = (now - state.minute).total_seconds()
    weight = FLOW * min(1.0, since / MINUTE.total_seconds())
    if not state.tried or since < 1 or math.isinf(state.rate):
        return state.flow
    if not state.flow:
        return state.tried / since
    return state.flow + weight * (state.tried / since - state.flow)


def _opened(state: State, at: _Moment) -> State:
    """Return *state* with more connections, if it may have them."""
    if at.now < state.single_until:
        return state
    roof = state.roof
    if state.connections >= roof and at.now >= state.fewer_at + ROOF:
        roof = min(roof + 1, at.limits.connections)
    return replace(state, roof=roof, connections=min(2 * state.connections, roof))


def _risen(state: State, at: _Moment, *, is_used: bool) -> State:
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
    elif rate < _NEAR * near:
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
_NEAR = 0.995


def _counted(state: State, seen: Evidence, at: _Moment) -> State:
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


def _ramping(state: State, at: _Moment) -> State:
    """Begin slow start after probes: from a quarter of what was too much."""
    limits = at.limits
    if math.isinf(limits.ceiling):
        rate = threshold = math.inf
    else:
        threshold = max(limits.floor, min(state.threshold, limits.ceiling))
        rate = max(limits.floor, threshold / 2)
    ramping = replace(
        _fresh(state, at.now),
        mode=Mode.BACKING_OFF,
        rate=rate,
        threshold=threshold,
        connections=_joined(state, max(1, state.roof // 2), at),
        strikes=0,
        cuts=(),
    )
    return at.changed(state, ramping, Cause.RAMP)


def _joined(state: State, connections: int, at: _Moment) -> int:
    return 1 if at.now < state.single_until else min(connections, at.limits.connections)


# ── Replies ─────────────────────────────────────────────────────────────────

_ORDER = {  # the gravest first
    Action.HOLD: 0,
    Action.SUSPEND: 1,
    Action.CUT: 2,
    Action.SINGLE: 3,
    Action.FEWER: 4,
}


def _heard(state: State, signal: Signal, at: _Moment) -> State:
    """Do what a reply asks for."""
    if signal.action is Action.HOLD:
        return _halted(state, signal.reply, at)
    if state.mode in lane.CLOSED:
        return _prolonged(state, signal, at)
    if state.mode is Mode.PROBING:
        return _suspended(state, signal, at, wait=signal.asked or signal.wait)
    if signal.asked is not None:
        state = _suspended(state, signal, at, wait=signal.asked)
        if state.mode is Mode.SUSPENDED:
            return state
    match signal.action:
        case Action.SUSPEND if signal.suspend_after is None:
            return _suspended(state, signal, at, wait=signal.wait)
        case Action.SUSPEND | Action.CUT:
            return _struck(state, signal, at)
        case Action.SINGLE:
            return _single(state, signal, at)
        case _:
            return _fewer(state, signal, at)


def _halted(state: State, reply: str, at: _Moment) -> State:
    """Close the lane: slower is no cure for mail that is not authentic or wanted."""
    if state.mode is Mode.HALTED:
        return state
    halted = replace(state, mode=Mode.HALTED, reason=reply)
    return at.changed(state, halted, Cause.REFUSAL, reply=reply)


def _prolonged(state: State, signal: Signal, at: _Moment) -> State:
    """Hear a straggler: only one that closes the lane for clearly longer counts."""
    wait = signal.asked
    if signal.action is Action.SUSPEND and signal.suspend_after is None:
        wait = wait or signal.wait
    until = at.now + (wait or timedelta(0))
    if state.mode is Mode.HALTED or until < state.not_before + MINUTE:
        return state
    longer = replace(state, not_before=until, reason=signal.reply)
    return at.changed(
        state, longer, Cause.SUSPENSION, reply=signal.reply, until=longer.not_before
    )


def _suspended(
    state: State, signal: Signal, at: _Moment, *, wait: timedelta | None
) -> State:
    """Close the lane for *wait*, else for longer than the last time."""
    is_probing = state.mode is Mode.PROBING
    if wait is not None and wait < BRIEF and not is_probing:
        return _rested(state, signal, wait, at)
    recent = state.pause and at.now < state.not_before + CALM
    next_pause = min(2 * state.pause, LONGEST) if recent else FIRST
    if signal.asked is not None:
        pause, spread = signal.asked, abs(at.jitter)  # not before it says
    elif wait is not None and not is_probing:
        pause, spread = wait, at.jitter
    else:
        pause, spread = max(next_pause, wait or next_pause), at.jitter
    until = at.now + pause * (1 + JITTER * spread)
    known = state if is_probing else _learned(state, signal, at)
    if signal.asked is None and not is_probing and known.knee is not None:
        known = replace(
            known, flow=0.0, knee=CLOSED_KNEE * min(known.knee, state.rate),
            threshold=max(at.limits.floor, CUT * known.knee),
            knee_until=until + known.respite,
        )  # fmt: skip
    suspended = replace(
        known, mode=Mode.SUSPENDED, not_before=until, reason=signal.reply,
        pause=pause, strikes=0, climbs=0,
    )  # fmt: skip
    return at.changed(
        state, suspended, Cause.SUSPENSION, reply=signal.reply, until=until
    )


def _rested(state: State, signal: Signal, wait: timedelta, at: _Moment) -> State:
    """Pause for less than a minute, and go on as before."""
    until = at.now + wait
    if until <= state.not_before:
        return state
    resting = replace(
        state, mode=Mode.BACKING_OFF, not_before=until, reason=signal.reply
    )
    return at.changed(state, resting, Cause.SUSPENSION, reply=signal.reply, until=until)


def _struck(state: State, signal: Signal, at: _Moment) -> State:
    """Count a reply that says "too fast"; enough of them are one event."""
    if state.cuts and signal.at < state.cuts[-1] + SAME:
        return state  # it was on its way when the rate was cut
    is_new = signal.at >= state.struck_at + SAME
    state = replace(
        state,
        struck_at=signal.at if is_new else state.struck_at,
        strikes=signal.count + (0 if is_new else state.strikes),
        troubled=state.troubled + signal.count,
    )
    if state.strikes < STRIKES and state.rate > SLOW:
        return state
    cuts = (*(one for one in state.cuts if one > at.now - HOUR), at.now)
    state = replace(state, cuts=cuts, strikes=0)
    if signal.suspend_after is not None and len(cuts) >= signal.suspend_after:
        return _suspended(state, signal, at, wait=signal.wait)
    if sum(one > at.now - WINDOW for one in cuts) >= OFTEN:
        return _suspended(state, signal, at, wait=None)
    return _cut(state, signal, at)


def _cut(state: State, signal: Signal, at: _Moment) -> State:
    """Halve rate and connections, and remember what was too much."""
    until = at.now + HOLD
    if signal.wait is not None and signal.suspend_after is None:
        until = max(until, at.now + signal.wait)
    known = _learned(state, signal, at)
    rate, pause = state.rate, state.not_before
    if math.isinf(rate):
        pause = max(pause, at.now + BREATH)
    else:
        is_known = known.threshold > THRESHOLD * state.rate
        share = CUT_KNOWN if is_known and signal.wait is None else CUT
        rate = max(at.limits.floor, min(share * rate, known.threshold))
    cut = replace(
        _fresh(known, at.now),
        mode=Mode.BACKING_OFF,
        rate=rate,
        connections=max(1, state.connections // 2),
        not_before=pause,
        reason=signal.reply,
        hold_until=until,
        climbs=0,
    )
    return at.changed(state, cut, Cause.CONGESTION, reply=signal.reply, until=until)


def _learned(state: State, signal: Signal, at: _Moment) -> State:
    """Set the knee by what went through, and the threshold by the rate.

    A provider's own burst lets more through for a while than it will bear, so the knee
    is somewhat less.  One that was respected without an event was no mistake.
    """
    if math.isinf(state.rate):
        return state
    knee, respite, share = _knee(state, at), RESPITE, THRESHOLD
    if signal.suspend_after is not None:
        knee *= CAREFUL
    if state.knee is not None and abs(knee - state.knee) <= ALIKE * state.knee:
        respite, share = min(2 * state.respite, LONG_RESPITE), PROVEN
        if at.now >= state.knee_until:
            more = max(knee, state.knee)
            knee = more if state.climbs > 2 else min(more, MORE * state.knee)
    if len(state.cuts) > 1 and state.cuts[-2] > at.now - SOON:
        knee, share = min(knee, FALLEN * state.rate), THRESHOLD
    if signal.suspend_after is not None:  # two an hour are left for a limit that falls
        respite = max(respite, MINUTE + HOUR / max(1, signal.suspend_after - 3))
    elif signal.wait is not None:
        respite = max(respite, DEAR * signal.wait)
    return replace(
        state,
        knee=knee,
        knee_until=at.now + respite,
        respite=respite,
        threshold=max(at.limits.floor, share * knee),
    )


def _knee(state: State, at: _Moment) -> float:
    """Return what went through in this minute or of late, whichever is less."""
    rate, since = state.rate, (at.now - state.minute).total_seconds()
    through = [rate, _flow(state, at.now) or rate]
    if since >= _MEASURED:
        through.append(state.tried / since)
    if state.knee is not None and rate <= state.knee and at.now < state.knee_until:
        through.append(LESS * rate)
    return max(CUT * rate, min(through))


_MEASURED = 10.0  # seconds: what went through in less says little


def _fewer(state: State, signal: Signal, at: _Moment) -> State:
    """Halve the connections; when one is left, the rate is what can be cut."""
    if signal.at < state.fewer_at + SAME:
        return state
    if state.connections == 1:
        return _struck(state, replace(signal, wait=None, suspend_after=None), at)
    fewer = replace(
        state,
        connections=max(1, state.connections // 2),
        roof=max(1, state.connections - 1),
        fewer_at=at.now,
        reason=signal.reply,
    )
    return at.changed(state, fewer, Cause.CROWDED, reply=signal.reply)


def _single(state: State, signal: Signal, at: _Moment) -> State:
    """Have one connection for as long as the rule says."""
    until = at.now + (signal.wait or FIRST)
    if until < state.single_until + MINUTE:
        return state
    single = replace(
        state,
        connections=1,
        single_until=until,
        fewer_at=at.now,
        reason=signal.reply,
    )
    return at.changed(state, single, Cause.CROWDED, reply=signal.reply, until=until)
