import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailer.core import outage
from mailer.core.alarm import Event
from mailer.core.outage import Outage

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
REPEAT = timedelta(minutes=15)


def told(answers: list[bool]) -> list[tuple[int, str]]:
    """Return what is told of a database that answers, or not, every ten seconds."""
    known, seen_at, said = Outage(seen_at=NOON), NOON, []
    for number, answer in enumerate(answers, 1):
        now = NOON + timedelta(seconds=10 * number)
        seen_at = now if answer else seen_at
        known, event = outage.step(known, seen_at=seen_at, repeat=REPEAT, now=now)
        if event is not None:
            said.append((10 * number, event.value))
    return said


def test_a_restart_wakes_nobody() -> None:
    assert told([True, False, False, True] * 10) == []


def test_an_outage_is_told_after_30_seconds_repeated_and_its_end_after_a_minute() -> (
    None
):
    away, back = [False] * 100, [True] * 20
    assert told([*away, *back]) == [
        (30, "raised"),
        (930, "repeated"),
        (1070, "cleared"),
    ]


def test_a_database_that_comes_and_goes_is_one_outage() -> None:
    assert told(([False] * 4 + [True] * 2) * 20) == [(30, "raised"), (930, "repeated")]


def test_what_reached_nobody_is_said_again_within_a_minute() -> None:
    known, event = outage.step(
        Outage(seen_at=NOON),
        seen_at=NOON,
        repeat=REPEAT,
        now=NOON + timedelta(minutes=1),
    )
    assert event is Event.RAISED
    known = outage.unheard(known, repeat=REPEAT)
    now = NOON + timedelta(minutes=2)
    _, event = outage.step(known, seen_at=NOON, repeat=REPEAT, now=now)

    assert event is Event.REPEATED


@given(st.lists(st.booleans(), max_size=400))
def test_people_are_told_at_most_twice_in_a_quarter_of_an_hour(
    answers: list[bool],
) -> None:
    said = told(answers)
    raised = [at for at, event in said if event != "cleared"]

    for first, second in itertools.pairwise(raised):
        between = [at for at, event in said if first < at < second]
        assert second - first >= 900 or len(between) == 1
    assert not said or said[0][1] == "raised"
