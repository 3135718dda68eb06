"""What replies do to a lane: cut it, take connections away, suspend it, halt it.

An event is two replies that say "too fast" within half a minute, or one on a slow lane,
and whoever else sees the same in that time adds nothing to it: the idea of Postfix's
cohorts (its scheduler README), and the reason that workers need not agree beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mailer.core import knee, lane
from mailer.core.bounce import Action
from mailer.core.evidence import Signal
from mailer.core.knee import HOUR, MINUTE
from mailer.core.lane import Cause, Limits, Mode, State, Transition

SAME = timedelta(seconds=30)  # replies so close are one event
STRIKES = 2  # replies that make an event: one alone may be a stray
SLOW = 20 / 30  # messages/s; at less, one reply is 5 % of what SAME sees: enough

CUT = 0.5  # of the rate, at an event: shallower ones ran into the blocks of providers
CUT_KNOWN = 0.7  # where one was expected: the limit is just below, and half is a waste
HOLD = timedelta(seconds=60)  # after an event, before anything grows

OFTEN = 4  # events in WINDOW suspend the lane: cutting did not help
WINDOW = timedelta(minutes=10)
FIRST = timedelta(minutes=15)  # a suspension; doubles to LONGEST
LONGEST = timedelta(hours=4)  # a blast lives for a day or two
JITTER = 0.2  # of a suspension, either way: lanes don't come back together
CALM = timedelta(hours=2)  # since the last one ended, until the next is short again
CLOSED = 0.85  # of the knee is believed, when the lane was closed nevertheless
BRIEF = timedelta(minutes=1)  # a pause so short needs no probe
BREATH = timedelta(seconds=5)  # of an unlimited lane, which has no rate to cut


@dataclass(slots=True)
class Moment:
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


def fresh(state: State, now: datetime) -> State:
    """Begin a new minute."""
    return replace(state, minute=now, tried=0, accepted=0, troubled=0)


ORDER = {  # the gravest first
    Action.HOLD: 0,
    Action.SUSPEND: 1,
    Action.CUT: 2,
    Action.SINGLE: 3,
    Action.FEWER: 4,
}


def heard(state: State, signal: Signal, at: Moment) -> State:
    """Do what a reply asks for."""
    if signal.action is Action.HOLD:
        return halted(state, signal.reply, at)
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


def halted(state: State, reply: str, at: Moment) -> State:
    """Close the lane: slower is no cure for mail that is not authentic or wanted."""
    if state.mode is Mode.HALTED:
        return state
    halted = replace(state, mode=Mode.HALTED, reason=reply)
    return at.changed(state, halted, Cause.REFUSAL, reply=reply)


def _prolonged(state: State, signal: Signal, at: Moment) -> State:
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
    state: State, signal: Signal, at: Moment, *, wait: timedelta | None
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
    known = (
        state
        if is_probing
        else knee.learned(state, signal, limits=at.limits, now=at.now)
    )
    if signal.asked is None and not is_probing and known.knee is not None:
        known = replace(
            known, flow=0.0, knee=CLOSED * min(known.knee, state.rate),
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


def _rested(state: State, signal: Signal, wait: timedelta, at: Moment) -> State:
    """Pause for less than a minute, and go on as before."""
    until = at.now + wait
    if until <= state.not_before:
        return state
    resting = replace(
        state, mode=Mode.BACKING_OFF, not_before=until, reason=signal.reply
    )
    return at.changed(state, resting, Cause.SUSPENSION, reply=signal.reply, until=until)


def _struck(state: State, signal: Signal, at: Moment) -> State:
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


def _cut(state: State, signal: Signal, at: Moment) -> State:
    """Halve rate and connections, and remember what was too much."""
    until = at.now + HOLD
    if signal.wait is not None and signal.suspend_after is None:
        until = max(until, at.now + signal.wait)
    known = knee.learned(state, signal, limits=at.limits, now=at.now)
    rate, pause = state.rate, state.not_before
    if math.isinf(rate):
        pause = max(pause, at.now + BREATH)
    else:
        is_known = known.threshold > knee.THRESHOLD * state.rate
        share = CUT_KNOWN if is_known and signal.wait is None else CUT
        rate = max(at.limits.floor, min(share * rate, known.threshold))
    cut = replace(
        fresh(known, at.now),
        mode=Mode.BACKING_OFF,
        rate=rate,
        connections=max(1, state.connections // 2),
        not_before=pause,
        reason=signal.reply,
        hold_until=until,
        climbs=0,
    )
    return at.changed(state, cut, Cause.CONGESTION, reply=signal.reply, until=until)


def _fewer(state: State, signal: Signal, at: Moment) -> State:
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


def _single(state: State, signal: Signal, at: Moment) -> State:
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
