from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core import flow, forecast
from mailer.core.flow import Lane, Mailbox, Plan, Work
from mailer.core.forecast import Forecast, Speed

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
SPEED = Speed(worst=100, best=1000)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def known(per_minute: float, **changes: object) -> Lane:
    """Return a lane whose limit has been learned."""
    lane = Lane(rate=per_minute / 60, is_learned=True)
    return replace(lane, **changes)  # type: ignore[arg-type]  # as given


def asked(
    *lanes: Lane,
    people: int = 6000,
    others: tuple[Work, ...] = (),
    start: datetime = NOON,
    ends: datetime | None = None,
    priority: int = 0,
) -> Forecast:
    """Return the forecast of a blast to one provider."""
    mailbox = Mailbox(provider="google", people=people, lanes=lanes, others=others)
    plan = Plan(starts_at=start, expires_at=ends, priority=priority)
    return forecast.foresee(plan, [mailbox], speed=SPEED, now=NOON)


def end(found: Forecast) -> timedelta:
    """Return how long from noon a forecast without a range says."""
    assert found.latest is not None
    assert found.earliest == found.latest
    return found.latest - NOON


def near(one: timedelta | None, other: timedelta) -> bool:
    return one is not None and abs(one - other) < SECOND


# ── Worked examples ─────────────────────────────────────────────────────────


def test_a_blast_far_ahead_is_foreseen_as_one_of_today() -> None:
    start = NOON + timedelta(days=400)

    found = asked(known(300), start=start, ends=start + HOUR)

    assert near(end(found), timedelta(days=400) + 20 * MINUTE)
    assert found.is_sure


def test_a_learned_rate_says_the_moment() -> None:
    found = asked(known(300))

    assert near(end(found), 20 * MINUTE)
    assert not found.is_range
    assert found.is_sure


def test_two_sources_of_a_pool_take_half_the_time() -> None:
    assert near(end(asked(known(300), known(300))), 10 * MINUTE)


def test_what_may_go_at_once_goes_at_once() -> None:
    assert near(end(asked(known(300, credit=300))), 19 * MINUTE)


def test_an_unlearned_rate_says_a_range_from_staying_to_growing() -> None:
    lane = Lane(rate=1, ceiling=3, growth=1)  # 60/min, 120, 180, 180 …

    found = asked(lane, people=60 + 120 + 180 + 90)

    assert found.is_range
    assert found.earliest is not None
    assert found.latest is not None
    assert near(found.earliest - NOON, 3.5 * MINUTE)
    assert near(found.latest - NOON, 7.5 * MINUTE)
    (outlook,) = found.providers
    assert (outlook.rate, outlook.best_rate, outlook.is_learned) == (1, 3, False)


def test_a_slow_start_doubles_before_it_grows_by_steps() -> None:
    lane = Lane(rate=1, ceiling=6, growth=1, doubles_below=4)  # 1, 2, 4, 5, 6, 6 …

    found = asked(lane, people=60 * (1 + 2 + 4 + 5 + 6 + 6))

    assert found.earliest is not None
    assert near(found.earliest - NOON, 6 * MINUTE)


def test_a_closed_lane_begins_when_it_opens() -> None:
    assert near(end(asked(known(300, opens_at=NOON + HOUR))), HOUR + 20 * MINUTE)


def test_a_warm_up_goes_on_the_next_day_and_ends_when_its_caps_do() -> None:
    # Noon: 1,000 today, 1,500 from midnight, then no cap: 3,500 at 300/min.
    found = asked(known(300, caps=(1000, 1500)))

    assert near(end(found), 12 * HOUR + 24 * HOUR + 3500 / 300 * MINUTE)


def test_the_more_urgent_goes_first_and_the_others_wait() -> None:
    ends = NOON + 8 * HOUR
    first = Work(count=3000, starts_at=NOON, priority=1)
    sooner = Work(count=300, starts_at=NOON, expires_at=ends - HOUR)
    later = Work(count=9000, starts_at=NOON, expires_at=ends + HOUR)

    found = asked(known(300), others=(first, sooner, later), ends=ends)

    assert near(end(found), 31 * MINUTE)
    assert found.providers[0].ahead == 3300


def test_what_comes_later_and_is_more_urgent_takes_its_turn() -> None:
    later = Work(count=3000, starts_at=NOON + 5 * MINUTE, priority=1)

    assert near(end(asked(known(300), others=(later,))), 30 * MINUTE)


def test_what_expires_frees_the_lane() -> None:
    dies = Work(count=9000, starts_at=NOON, expires_at=NOON + 10 * MINUTE, priority=1)

    assert near(end(asked(known(300), others=(dies,))), 30 * MINUTE)


def test_unlimited_lanes_share_what_the_workers_send() -> None:
    lanes = (Lane(rate=math.inf, is_learned=True),)
    mailboxes = [
        Mailbox(provider="google", people=9000, lanes=lanes),
        Mailbox(provider="yahoo", people=3000, lanes=lanes),
    ]

    found = forecast.foresee(
        Plan(starts_at=NOON), mailboxes, speed=Speed(worst=20, best=20), now=NOON
    )

    assert near(end(found), 10 * MINUTE)
    assert [one.rate for one in found.providers] == [15, 5]


def test_who_will_not_get_it_in_time_is_counted_and_when_it_should_have_begun() -> None:
    hurried = asked(known(300), ends=NOON + 15 * MINUTE)
    early = asked(known(300), ends=NOON + 8 * HOUR)

    assert (hurried.late_at_best, hurried.late_at_worst) == (1500, 1500)
    assert hurried.is_hopeless
    assert hurried.start_by is None
    assert early.is_sure
    assert early.start_by is not None
    assert abs(early.start_by - (NOON + 7 * HOUR + 40 * MINUTE)) < 5 * SECOND


def test_of_a_range_the_latest_start_is_said_for_both_ends() -> None:
    lane = Lane(rate=5, ceiling=10, growth=5)

    found = asked(lane, ends=NOON + 15 * MINUTE)

    assert (found.late_at_best, found.late_at_worst) == (0, 1500)
    assert not found.is_hopeless
    assert not found.is_sure
    assert found.start_by is None
    assert found.start_by_at_best is not None
    assert found.start_by_at_best > NOON + 4 * MINUTE


def test_what_starts_after_it_has_ended_is_late_as_a_whole() -> None:
    found = asked(known(300), start=NOON + HOUR, ends=NOON + HOUR)

    assert found.late_at_worst == 6000


def test_what_nothing_carries_is_never_done() -> None:
    found = asked(people=1, ends=NOON + HOUR)

    assert found.latest is None
    assert found.late_at_best == 1


def test_nobody_is_done_at_once() -> None:
    assert asked(known(300), people=0).latest == NOON


# ── Laws ────────────────────────────────────────────────────────────────────

minutes = st.integers(0, 3000).map(lambda n: NOON + n * MINUTE)
lanes = st.builds(
    Lane,
    rate=st.floats(0.05, 50),
    ceiling=st.floats(0.05, 200),
    growth=st.floats(0, 5),
    doubles_below=st.floats(0, 20),
    is_learned=st.booleans(),
    opens_at=st.none() | minutes,
    credit=st.floats(0, 100),
    caps=st.lists(st.floats(0, 5000), max_size=4).map(tuple),
)
works = st.builds(
    Work,
    count=st.integers(0, 20_000),
    starts_at=minutes,
    expires_at=st.none() | minutes,
    priority=st.integers(-1, 1),
)
mailboxes = st.builds(
    Mailbox,
    provider=st.just("google"),
    people=st.integers(1, 50_000),
    lanes=st.lists(lanes, min_size=1, max_size=3).map(tuple),
    others=st.lists(works, max_size=3).map(tuple),
)
plans = st.builds(Plan, starts_at=minutes, expires_at=st.none() | minutes)
LONG = NOON + 2 * flow.HORIZON


def flown(plan: Plan, mailbox: Mailbox, *, is_best: bool) -> tuple[datetime, int]:
    found = flow.flow(plan, mailbox, now=NOON, is_best=is_best)
    return found.done_at or LONG, found.late


@settings(deadline=None)
@given(plans, mailboxes, st.integers(0, 20_000), st.booleans())
def test_more_people_never_finish_earlier(
    plan: Plan, mailbox: Mailbox, more: int, is_best: bool
) -> None:
    larger = replace(mailbox, people=mailbox.people + more)

    (done, late), (later, more_late) = (
        flown(plan, one, is_best=is_best) for one in (mailbox, larger)
    )

    assert later >= done - SECOND
    assert more_late >= late - 1


@settings(deadline=None)
@given(plans, mailboxes, st.integers(0, 3000), st.booleans())
def test_a_later_start_never_ends_earlier(
    plan: Plan, mailbox: Mailbox, wait: int, is_best: bool
) -> None:
    moved = replace(plan, starts_at=plan.starts_at + wait * MINUTE)

    (done, late), (later, more_late) = (
        flown(one, mailbox, is_best=is_best) for one in (plan, moved)
    )

    assert later >= done - SECOND
    assert more_late >= late - 1


@settings(deadline=None)
@given(plans, mailboxes, lanes, st.booleans())
def test_another_source_never_makes_it_slower(
    plan: Plan, mailbox: Mailbox, lane: Lane, is_best: bool
) -> None:
    wider = replace(mailbox, lanes=(*mailbox.lanes, lane), others=())
    mailbox = replace(mailbox, others=())

    done, late = flown(plan, mailbox, is_best=is_best)
    faster, fewer = flown(plan, wider, is_best=is_best)

    assert faster <= done + SECOND
    assert fewer <= late + 1


@settings(deadline=None)
@given(plans, st.lists(mailboxes, min_size=1, max_size=3))
def test_the_best_is_never_worse_than_the_worst(
    plan: Plan, some: list[Mailbox]
) -> None:
    some = [replace(one, others=()) for one in some]

    found = forecast.foresee(plan, some, speed=SPEED, now=NOON)

    assert (found.earliest or LONG) <= (found.latest or LONG) + SECOND
    assert found.late_at_best <= found.late_at_worst + len(some)
    assert found.is_range is any(
        not lane.is_learned for one in some for lane in one.lanes
    )


@settings(deadline=None)
@given(plans, mailboxes)
def test_who_starts_as_late_as_it_is_said_is_in_time(
    plan: Plan, mailbox: Mailbox
) -> None:
    found = forecast.foresee(plan, [mailbox], speed=SPEED, now=NOON)

    if found.start_by is not None:
        moved = replace(plan, starts_at=found.start_by)
        assert flown(moved, mailbox, is_best=False)[1] == 0
    elif plan.expires_at is not None:
        assert found.late_at_worst > 0


@settings(deadline=None)
@given(plans, mailboxes)
def test_no_lane_carries_more_than_its_best_rate(plan: Plan, mailbox: Mailbox) -> None:
    done, _ = flown(plan, replace(mailbox, others=()), is_best=True)

    best = sum(flow.ceiling(lane) for lane in mailbox.lanes)
    credit = sum(lane.credit for lane in mailbox.lanes)
    least = (mailbox.people - credit) / best
    assert (done - max(plan.starts_at, NOON)).total_seconds() >= least - 1
