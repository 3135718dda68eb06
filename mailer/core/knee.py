"""What a lane has learned of its provider's limit: the knee, and for how long it holds.

Nobody publishes a limit, and a provider's own burst hides it for a while.  What went
through is the best that is known of it, and how an event came says the rest: at a rate
that had been fine for long, right after a cut, or while climbing into the unknown.
Shares and times below were tuned on `mailer bench lanes`: twelve providers whose limits
rise, fall and follow the day, with bursts of a second to half a minute.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

from mailer.core.evidence import Signal
from mailer.core.lane import Limits, State

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)  # in which the `suspend_after` of a rule counts

THRESHOLD = 0.7  # of the knee: up to here the rate doubles again (0.5 wastes minutes)
PROVEN = 0.95  # the same, of a knee that was met again: there is nothing to find out
ALIKE = 0.15  # two knees that differ by less are the same limit

FLOW = 0.3  # weight of the last minute in what went through of late: some four minutes,
# so that a climb of 5 % a minute is judged 10 % lower than where it ended: about what
# a provider's burst lets through
LESS = 0.97  # of a rate that was thought to be fine, and was not
MORE = 1.02  # of a knee that held: the creep below it has shown that much
SURE = 3  # minutes of climbing show that the limit has risen, and more is believed
CAREFUL = 0.96  # of a knee where further events close the lane
SOON = timedelta(minutes=4)  # an event so soon after a cut: the limit has fallen …
FALLEN = 0.65  # … to between half the old rate, which was fine, and this one
LEAST = 0.5  # of the rate, is the least that one event makes believe

RESPITE = timedelta(minutes=5)  # a new knee is respected; twice as long if it was right
LONG_RESPITE = timedelta(minutes=20)  # an event costs a minute of sending: 5 %
SPARE = 3  # events an hour of a rule's `suspend_after` are left for a limit that falls
DEAR = 3  # times the hold that a rule asks for: what is dear is tried seldom
MEASURED = 10.0  # seconds: what went through in less says little


def flow(state: State, now: datetime) -> float:
    """Return what went through of late, with the minute that runs."""
    since = (now - state.minute).total_seconds()
    weight = FLOW * min(1.0, since / MINUTE.total_seconds())
    if not state.tried or since < 1 or math.isinf(state.rate):
        return state.flow
    if not state.flow:
        return state.tried / since
    return state.flow + weight * (state.tried / since - state.flow)


def learned(state: State, signal: Signal, *, limits: Limits, now: datetime) -> State:
    """Set the knee by what went through, and the threshold by the rate.

    A provider's own burst lets more through for a while than it will bear, so the knee
    is somewhat less.  One that was respected without an event was no mistake.
    """
    if math.isinf(state.rate):
        return state
    knee, respite, share = _seen(state, now), RESPITE, THRESHOLD
    if signal.suspend_after is not None:
        knee *= CAREFUL
    if state.knee is not None and abs(knee - state.knee) <= ALIKE * state.knee:
        respite, share = min(2 * state.respite, LONG_RESPITE), PROVEN
        if now >= state.knee_until:
            more = max(knee, state.knee)
            knee = more if state.climbs >= SURE else min(more, MORE * state.knee)
    if len(state.cuts) > 1 and state.cuts[-2] > now - SOON:
        knee, share = min(knee, FALLEN * state.rate), THRESHOLD
    if signal.suspend_after is not None:
        respite = max(respite, MINUTE + HOUR / max(1, signal.suspend_after - SPARE))
    elif signal.wait is not None:
        respite = max(respite, DEAR * signal.wait)
    return replace(
        state,
        knee=knee,
        knee_until=now + respite,
        respite=respite,
        threshold=max(limits.floor, share * knee),
    )


def _seen(state: State, now: datetime) -> float:
    """Return what went through in this minute or of late, whichever is less."""
    rate, since = state.rate, (now - state.minute).total_seconds()
    through = [rate, flow(state, now) or rate]
    if since >= MEASURED:
        through.append(state.tried / since)
    if state.knee is not None and rate <= state.knee and now < state.knee_until:
        through.append(LESS * rate)
    return max(LEAST * rate, min(through))
