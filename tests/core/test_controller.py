from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailer.core import controller, lane
from mailer.core.bounce import Action
from mailer.core.evidence import Evidence, Signal
from mailer.core.lane import Cause, Limits, Mode, State

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
GOOGLE = Limits(start=5.0, ceiling=30.0, connections=5)


def signal(action: Action = Action.CUT, *, at: datetime = NOON) -> Signal:
    return Signal(at=at, action=action, reply="421 4.7.28 Too fast", count=2)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def begun() -> State:
    return lane.begun(GOOGLE, NOON)


def test_a_clean_minute_of_full_use_lets_the_rate_grow() -> None:
    state = begun()
    for second in range(61):
        state, changes = controller.advance(
            state, Evidence(tried=5, accepted=5), limits=GOOGLE, now=after(second)
        )
        assert changes == ()
    assert state.rate == 5 * 1.05


def test_two_replies_that_say_too_fast_halve_the_rate_and_are_told() -> None:
    state, (change,) = controller.advance(
        begun(), Evidence(tried=2, signals=(signal(),)), limits=GOOGLE, now=NOON
    )
    assert (state.mode, state.rate, state.connections) == (Mode.BACKING_OFF, 2.5, 2)
    assert (change.cause, change.reply) == (Cause.CONGESTION, "421 4.7.28 Too fast")
    assert change.rate == (5.0, 2.5)
