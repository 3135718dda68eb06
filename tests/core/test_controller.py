from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core import controller, lane
from mailer.core.bounce import Action
from mailer.core.evidence import NOTHING, Evidence, Signal
from mailer.core.lane import Cause, Limits, Mode, State, Transition
from mailer.core.provider import Provider, Rate, Source

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GOOGLE = Limits(start=5.0, ceiling=30.0, connections=8)
RELAY = Limits(start=math.inf, ceiling=math.inf, connections=8)
SAID = "421 4.7.28 Too fast"

Changes = tuple[Transition, ...]


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def heard(
    action: Action,
    at: datetime,
    *,
    wait: timedelta | None = None,
    suspend_after: int | None = None,
    asked: timedelta | None = None,
    count: int = 2,
) -> Evidence:
    signal = Signal(
        at=at, action=action, reply=SAID, wait=wait, suspend_after=suspend_after,
        asked=asked, count=count,
    )  # fmt: skip
    return Evidence(tried=count, signals=(signal,))


def seen(
    state: State,
    evidence: Evidence,
    now: datetime,
    *,
    limits: Limits = GOOGLE,
    jitter: float = 0.0,
) -> tuple[State, Changes]:
    return controller.advance(state, evidence, limits=limits, now=now, jitter=jitter)


def sent(
    state: State, begin: datetime, minutes: int, *, use: float = 1.0
) -> tuple[State, list[Transition]]:
    """Send for so many minutes, at a share of the rate, and be accepted."""
    changes: list[Transition] = []
    for second in range(minutes * 60 + 1):
        count = state.rate * use
        part = int(count * (second + 1)) - int(count * second)
        state, news = seen(
            state, Evidence(tried=part, accepted=part),
            begin + timedelta(seconds=second),
        )  # fmt: skip
        changes += news
    return state, changes


def cut(state: State, at: datetime, limits: Limits = GOOGLE) -> tuple[State, Changes]:
    return seen(state, heard(Action.CUT, at), at, limits=limits)


BEGUN = lane.begun(GOOGLE, NOON)


# ── Growing ─────────────────────────────────────────────────────────────────


def test_a_clean_minute_of_full_use_lets_the_rate_grow() -> None:
    state, changes = sent(BEGUN, NOON, 1)
    assert state.rate == pytest.approx(5.5)
    assert changes == []


def test_a_minute_of_little_use_shows_nothing() -> None:
    state, _ = sent(BEGUN, NOON, 3, use=0.5)
    assert state.rate == 5


def test_the_rate_ends_at_the_ceiling_and_a_step_is_a_twentieth_of_it() -> None:
    state, rates = BEGUN, []
    for minute in range(40):
        state, _ = sent(state, after(minute), 1)
        rates.append(state.rate)
    steps = [later - one for one, later in itertools.pairwise(rates)]
    assert max(steps) <= 0.05 * 30 + 1e-9
    assert state.rate == 30


def test_a_minute_with_one_stray_reply_cuts_nothing_and_adds_nothing() -> None:
    state, changes = seen(BEGUN, heard(Action.CUT, NOON, count=1), NOON)
    assert (state.rate, changes) == (5, ())
    state, _ = sent(state, NOON, 1)
    assert state.rate == 5


def test_after_long_silence_a_lane_begins_where_the_settings_say() -> None:
    state = replace(BEGUN, rate=30.0)
    state, _ = seen(state, NOTHING, NOON + timedelta(hours=13))
    assert state.rate == 5


# ── Congestion ──────────────────────────────────────────────────────────────


def test_two_replies_that_say_too_fast_halve_rate_and_connections() -> None:
    state, (change,) = cut(BEGUN, NOON)
    assert (state.mode, state.rate, state.connections) == (Mode.BACKING_OFF, 2.5, 4)
    assert change == Transition(
        at=NOON, cause=Cause.CONGESTION, before=Mode.NORMAL, after=Mode.BACKING_OFF,
        rate=(5.0, 2.5), connections=(8, 4), until=after(1), reply=SAID,
    )  # fmt: skip


def test_what_several_connections_see_within_half_a_minute_is_one_event() -> None:
    state, _ = cut(BEGUN, NOON)
    for seconds in (0, 10, 29):
        at = NOON + timedelta(seconds=seconds)
        again, changes = cut(state, at)
        assert (again.rate, changes) == (state.rate, ())
    late = heard(Action.CUT, NOON + timedelta(seconds=20))
    assert seen(state, late, after(2))[0].rate >= state.rate  # a worker was slow
    assert cut(state, NOON + timedelta(seconds=31))[0].rate < state.rate


def test_on_a_slow_lane_one_reply_is_enough() -> None:
    slow = replace(BEGUN, rate=0.5)
    state, _ = seen(slow, heard(Action.CUT, NOON, count=1), NOON)
    assert state.rate == 0.25


def test_a_cut_lane_holds_a_minute_then_doubles_and_stays_below_the_knee() -> None:
    state, _ = sent(replace(BEGUN, rate=10.0, threshold=10.0), NOON, 2)
    state, _ = cut(state, after(2))
    low, knee = state.rate, state.knee or 0
    held, changes = sent(state, after(2), 0)
    assert (held.rate, changes) == (low, [])
    state, changes = sent(state, after(2), 1)
    assert [one.cause for one in changes] == [Cause.RECOVERY]
    assert state.mode is Mode.NORMAL
    assert state.rate == pytest.approx(min(2 * low, 0.7 * knee))
    state, _ = sent(state, after(3), 3)
    assert 0.9 * knee < state.rate < knee


def test_a_rule_may_hold_a_cut_lane_for_longer() -> None:
    wait = timedelta(minutes=15)
    state, (change,) = seen(BEGUN, heard(Action.CUT, NOON, wait=wait), NOON)
    assert change.until == after(15)
    state, _ = sent(state, NOON, 14)
    assert state.rate <= 0.7 * (state.knee or 0)


def test_four_events_in_ten_minutes_suspend_the_lane() -> None:
    state, causes = BEGUN, []
    for minutes in (0, 3, 6, 9):
        state, changes = cut(state, after(minutes))
        causes += [one.cause for one in changes if one.cause is not Cause.RECOVERY]
    assert causes == [Cause.CONGESTION] * 3 + [Cause.SUSPENSION]
    assert (state.mode, state.not_before) == (Mode.SUSPENDED, after(9 + 15))
    assert not lane.is_open(state, after(23))


def test_four_events_in_forty_minutes_do_not() -> None:
    state = BEGUN
    for minutes in (0, 11, 22, 33):
        state, _ = cut(state, after(minutes))
    assert state.mode is Mode.BACKING_OFF


@pytest.mark.parametrize("action", [Action.CUT, Action.SUSPEND])
def test_a_rule_that_counts_suspends_at_its_number_in_an_hour(action: Action) -> None:
    wait = timedelta(hours=2)

    def hit(state: State, minutes: float) -> State:
        at = after(minutes)
        evidence = heard(action, at, wait=wait, suspend_after=2)
        return seen(state, evidence, at)[0]

    once = hit(BEGUN, 0)
    assert once.mode is Mode.BACKING_OFF
    assert hit(once, 61).mode is Mode.BACKING_OFF
    twice = hit(once, 59)
    assert (twice.mode, twice.not_before) == (Mode.SUSPENDED, after(59) + wait)


# ── Suspended, and probing ──────────────────────────────────────────────────


def suspended(minutes: float = 0.0, *, jitter: float = 0.0) -> State:
    evidence = heard(Action.SUSPEND, after(minutes), wait=timedelta(minutes=15))
    return seen(BEGUN, evidence, after(minutes), jitter=jitter)[0]


@pytest.mark.parametrize(("jitter", "minutes"), [(-1, 12), (0, 15), (1, 18)])
def test_a_suspension_is_a_fifth_longer_or_shorter(jitter: float, minutes: int) -> None:
    assert suspended(jitter=jitter).not_before == after(minutes)


def test_when_the_time_is_up_it_probes_and_five_accepted_let_it_ramp_up() -> None:
    state, (change,) = seen(suspended(), NOTHING, after(15))
    assert (change.cause, change.reply) == (Cause.PROBE, SAID)
    assert (state.mode, state.rate, state.connections) == (Mode.PROBING, 1 / 30, 1)
    for number in range(4):
        state, changes = seen(state, Evidence(tried=1, accepted=1), after(16 + number))
        assert changes == ()
    state, (change,) = seen(state, Evidence(tried=1, accepted=1), after(20))
    assert (change.cause, state.mode) == (Cause.RAMP, Mode.BACKING_OFF)
    assert 0 < state.rate < 5


def test_a_refused_probe_suspends_for_longer_up_to_four_hours() -> None:
    state, pauses, now = suspended(), [], NOON
    for _ in range(6):
        now = state.not_before
        state, _ = seen(state, NOTHING, now)
        state, _ = seen(state, heard(Action.FEWER, now, count=1), now)
        pauses.append((state.not_before - now) / MINUTE)
    assert pauses == [30, 60, 120, 240, 240, 240]


@pytest.mark.parametrize("action", [Action.CUT, Action.FEWER, Action.SUSPEND])
def test_a_time_that_a_reply_names_is_kept(action: Action) -> None:
    asked = timedelta(seconds=310)
    evidence = heard(action, NOON, wait=timedelta(hours=2), asked=asked)
    state, _ = seen(BEGUN, evidence, NOON, jitter=-1)
    assert state.mode is Mode.SUSPENDED
    assert asked <= state.not_before - NOON <= 1.2 * asked


def test_a_pause_of_seconds_needs_no_probe() -> None:
    wait = timedelta(seconds=30)
    state, _ = seen(BEGUN, heard(Action.SUSPEND, NOON, wait=wait), NOON)
    assert (state.mode, state.rate) == (Mode.BACKING_OFF, 5)
    assert [lane.is_open(state, NOON + wait * part) for part in (0.9, 1)] == [
        False, True,
    ]  # fmt: skip
    again, changes = seen(state, heard(Action.SUSPEND, NOON, wait=wait / 2), NOON)
    assert (again.not_before, changes) == (NOON + wait, ())


def test_stragglers_change_a_closed_lane_only_if_they_close_it_for_longer() -> None:
    state = suspended()
    for action in (Action.CUT, Action.FEWER, Action.SUSPEND):
        evidence = heard(action, NOON, wait=timedelta(minutes=15))
        assert seen(state, evidence, NOON) == (state, ())
    evidence = heard(Action.SUSPEND, NOON, wait=timedelta(hours=4))
    longer, (change,) = seen(state, evidence, NOON)
    assert longer.not_before == change.until == NOON + timedelta(hours=4)


# ── Halted ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", [BEGUN, suspended()], ids=["open", "suspended"])
def test_mail_that_is_not_authentic_halts_the_lane_until_a_person_releases_it(
    before: State,
) -> None:
    state, (change,) = seen(before, heard(Action.HOLD, NOON, count=1), NOON)
    assert (state.mode, change.cause) == (Mode.HALTED, Cause.REFUSAL)
    assert change.is_alarm
    assert change.reply == state.reason == SAID
    for evidence in (NOTHING, Evidence(tried=9, accepted=9), heard(Action.HOLD, NOON)):
        later, changes = seen(state, evidence, NOON + timedelta(days=9))
        assert (later, changes) == (state, ())
    state, (change,) = controller.release(state, limits=GOOGLE, now=after(60))
    assert (state.mode, change.cause) == (Mode.PROBING, Cause.RELEASE)
    assert not change.is_alarm


def test_a_person_may_halt_a_lane_and_an_open_one_needs_no_release() -> None:
    state, (change,) = controller.halt(BEGUN, "moving", limits=GOOGLE, now=NOON)
    assert (state.mode, state.reason, change.reply) == (Mode.HALTED, "moving", "moving")
    assert controller.release(BEGUN, limits=GOOGLE, now=NOON) == (BEGUN, ())


# ── Connections ─────────────────────────────────────────────────────────────


def test_replies_about_connections_cut_connections_only_and_they_come_back() -> None:
    state, (change,) = seen(BEGUN, heard(Action.FEWER, NOON, count=1), NOON)
    assert (state.connections, state.roof, state.rate) == (4, 7, 5)
    assert (change.cause, state.mode) == (Cause.CROWDED, Mode.NORMAL)
    state, _ = sent(state, after(1), 1)
    assert state.connections == 7
    state, _ = sent(state, after(2), 3)
    assert state.connections == 7
    state, _ = sent(state, after(5), 7)
    assert state.connections == 8


def test_one_connection_left_is_a_matter_of_the_rate() -> None:
    one = replace(BEGUN, connections=1)
    state, (change,) = seen(one, heard(Action.FEWER, NOON), NOON)
    assert (change.cause, state.rate) == (Cause.CONGESTION, 2.5)


def test_a_rule_may_leave_one_connection_for_its_time() -> None:
    wait = timedelta(minutes=10)
    state, (change,) = seen(BEGUN, heard(Action.SINGLE, NOON, wait=wait), NOON)
    assert (state.connections, change.until) == (1, after(10))
    assert seen(state, heard(Action.SINGLE, NOON, wait=wait), NOON)[1] == ()
    state, _ = sent(state, NOON, 9)
    assert state.connections == 1
    state, _ = sent(state, after(9), 3)
    assert state.connections > 1


# ── Unlimited lanes ─────────────────────────────────────────────────────────


def test_an_unlimited_lane_at_ease_is_the_same_object_whatever_it_sends() -> None:
    state = lane.begun(RELAY, NOON)
    for minutes in range(100):
        evidence = Evidence(tried=10**6, accepted=10**6)
        found, changes = seen(state, evidence, after(minutes), limits=RELAY)
        assert found is state
        assert changes == ()


def test_an_unlimited_lane_takes_a_breath_and_has_fewer_connections() -> None:
    state, (change,) = cut(lane.begun(RELAY, NOON), NOON, RELAY)
    assert (state.connections, state.rate) == (4, math.inf)
    assert change.cause is Cause.CONGESTION
    assert lane.is_open(state, NOON + timedelta(seconds=5))
    assert not lane.is_open(state, NOON + timedelta(seconds=4))
    for minutes in (1, 2, 12):
        evidence = Evidence(tried=1, accepted=1)
        state, _ = seen(state, evidence, after(minutes), limits=RELAY)
        state, _ = seen(state, NOTHING, after(minutes + 1), limits=RELAY)
    assert lane.at_ease(state, RELAY)


def test_an_unlimited_lane_probes_slowly_and_is_unlimited_again() -> None:
    evidence = heard(Action.SUSPEND, NOON, wait=timedelta(minutes=15))
    state, _ = seen(lane.begun(RELAY, NOON), evidence, NOON, limits=RELAY)
    state, _ = seen(state, NOTHING, after(15), limits=RELAY)
    assert (state.mode, state.rate) == (Mode.PROBING, 1 / 30)
    state, _ = seen(state, Evidence(tried=5, accepted=5), after(20), limits=RELAY)
    assert state.rate == math.inf


# ── Settings ────────────────────────────────────────────────────────────────


def test_a_rate_of_the_source_is_start_and_ceiling() -> None:
    google = Provider(name="google", rate=Rate(5), ceiling=Rate(30), connections=8)
    assert lane.limits(google, Source(name="direct")) == GOOGLE
    own = Source(name="relay", rate=Rate(10), connections=3)
    assert lane.limits(google, own) == Limits(start=10, ceiling=10, connections=3)


def test_changed_settings_hold_at_once() -> None:
    less = Limits(start=1.0, ceiling=2.0, connections=3)
    state = lane.fitted(replace(BEGUN, rate=20.0), less)
    assert (state.rate, state.connections, state.roof) == (2, 3, 3)
    assert lane.fitted(state, RELAY).rate == math.inf
    assert lane.fitted(lane.begun(RELAY, NOON), less).rate == 1
    probing = replace(BEGUN, mode=Mode.PROBING, rate=1 / 30)
    assert lane.fitted(probing, less).rate == 1 / 30


# ── Laws ────────────────────────────────────────────────────────────────────

signals = st.builds(
    heard,
    st.sampled_from([Action.CUT, Action.FEWER, Action.SINGLE, Action.SUSPEND]),
    st.just(NOON),
    wait=st.none() | st.integers(1, 7200).map(lambda one: timedelta(seconds=one)),
    suspend_after=st.none() | st.integers(1, 5),
    asked=st.none() | st.integers(11, 7200).map(lambda one: timedelta(seconds=one)),
    count=st.integers(1, 9),
)
counts = st.builds(
    lambda tried, share: Evidence(tried=tried, accepted=int(tried * share)),
    st.integers(0, 3000),
    st.floats(0, 1),
)
waits = st.integers(0, 3600).map(lambda one: timedelta(seconds=one))


@settings(deadline=None)
@given(st.lists(st.tuples(waits, counts | signals, st.floats(-1, 1)), max_size=60))
def test_the_rate_stays_in_bounds_and_bad_news_never_raise_it(
    steps: list[tuple[timedelta, Evidence, float]],
) -> None:
    state, now = BEGUN, NOON
    for wait, evidence, jitter in steps:
        now += wait
        state, _ = seen(state, NOTHING, now)  # the clock's part, by itself
        fresh = replace(
            evidence, signals=tuple(replace(one, at=now) for one in evidence.signals)
        )
        found, changes = seen(state, fresh, now, jitter=jitter)
        is_slow = found.mode in {Mode.PROBING, Mode.SUSPENDED}
        least = 1 / 30 if is_slow else GOOGLE.floor
        assert least <= found.rate <= GOOGLE.ceiling
        assert 1 <= found.connections <= found.roof <= GOOGLE.connections
        if fresh.signals:
            assert found.rate <= state.rate
            assert found.connections <= state.connections
        elif state.mode is not Mode.PROBING:
            assert found.rate >= state.rate
        if found.mode is Mode.SUSPENDED:
            assert found.not_before > now
            assert not lane.is_open(found, now)
        assert not changes or changes[-1].after is found.mode
        state = found
