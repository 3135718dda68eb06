from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.core import alarm
from mailer.core.alarm import Alarm, Event, Kind, Severity

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
REPEAT = timedelta(minutes=15)
OPEN = Alarm(
    id=7,
    kind=Kind.STALLED,
    subject="blast eoq",
    detail="nothing for 5 minutes",
    count=1,
    first_at=NOON,
    last_at=NOON,
)
TOLD = replace(OPEN, told=Event.RAISED, told_at=NOON, rounds=1)


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_says_what_happened_what_mailer_did_and_what_to_do(
    kind: Kind,
) -> None:
    said = replace(OPEN, kind=kind, subject="blast eoq")

    for text in (said.happened, said.did, said.cure):
        assert text
        assert "{" not in text
    assert said.did.endswith(".")
    assert not said.happened.endswith(".")


def test_a_subject_with_braces_is_only_text() -> None:
    said = replace(OPEN, subject="blast {0.__class__}")

    assert said.happened.startswith("blast {0.__class__} stands still")


@pytest.mark.parametrize(
    ("case", "minutes", "event"),
    [
        (OPEN, 0, Event.RAISED),
        (TOLD, 14.9, None),
        (TOLD, 15, Event.REPEATED),
        (replace(TOLD, kind=Kind.IN_DOUBT), 15, None),
        (replace(TOLD, kind=Kind.IN_DOUBT), 60, Event.REPEATED),
        # Taken: said once, and quiet from then on.
        (replace(TOLD, taken_by="ada", taken_at=after(1)), 1, Event.TAKEN),
        (
            replace(TOLD, taken_by="ada", taken_at=after(1), told=Event.TAKEN),
            600,
            None,
        ),
        # Gone: said when it stays away for a minute, once.
        (replace(TOLD, cleared_at=after(5)), 5.9, None),
        (replace(TOLD, cleared_at=after(5)), 6, Event.CLEARED),
        (replace(TOLD, cleared_at=after(5), told=Event.CLEARED), 600, None),
        # It came back once: "gone" waits for as long as a repeat.
        (replace(TOLD, cleared_at=after(5), reopened=1), 19.9, None),
        (replace(TOLD, cleared_at=after(5), reopened=1), 20, Event.CLEARED),
        # Back after everybody was told that it is gone.
        (replace(TOLD, told=Event.CLEARED, told_at=after(6), reopened=1), 7, "raised"),
        # Over, or taken, before anybody was told.
        (replace(OPEN, cleared_at=after(1)), 600, None),
        (replace(OPEN, taken_by="ada", taken_at=after(1)), 600, None),
    ],
)
def test_when_people_are_told(case: Alarm, minutes: float, event: str | None) -> None:
    assert alarm.due(case, repeat=REPEAT, now=after(minutes)) == event


@given(
    st.lists(st.integers(0, 3), max_size=60),
    st.sampled_from([Kind.STALLED, Kind.IN_DOUBT]),
)
def test_an_open_alarm_is_repeated_until_it_is_taken_and_never_too_often(
    steps: list[int], kind: Kind
) -> None:
    """Steps of some minutes; 0 takes it.  Told at each step as the deliverer does."""
    seen = replace(OPEN, kind=kind)
    now, told = NOON, [NOON]
    wait = REPEAT if seen.severity is Severity.CRITICAL else REPEAT * alarm.SELDOM
    for step in [1, *steps]:
        now += timedelta(minutes=5 * step)
        if step == 0 and seen.taken_at is None:
            seen = replace(seen, taken_by="ada", taken_at=now)
        event = alarm.due(seen, repeat=REPEAT, now=now)
        if event is not None:
            told.append(now)
            seen = replace(seen, told=event, told_at=now)
        if event is Event.REPEATED:
            assert now - told[-2] >= wait
            assert seen.taken_at is None
        if seen.taken_at is None:
            assert now - told[-1] < wait
        else:
            assert seen.told is Event.TAKEN


def test_a_notice_that_fails_is_tried_ever_later_but_within_five_minutes() -> None:
    waits = [alarm.retry(attempts).total_seconds() for attempts in range(1, 8)]

    assert waits == [20, 40, 80, 160, 300, 300, 300]
    assert alarm.retry(10_000) == timedelta(minutes=5)
