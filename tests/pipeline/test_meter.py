"""The tokens of a process, against a database that the test plays as a function."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from mailer.pipeline.sending.meter import FIRST, Closed, Meter
from mailer.store.lanes import Grant

NOON = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


@dataclass
class Lane:
    """Answers questions for tokens, and says the time."""

    gives: list[int]
    wait: timedelta = timedelta(0)
    is_closed: bool = False
    now: float = 100.0
    asked: list[int] = field(default_factory=list)

    async def ask(self, want: int) -> Grant:
        self.asked.append(want)
        return Grant(
            tokens=self.gives.pop(0),
            is_closed=self.is_closed,
            is_stale=False,
            at=NOON,
            wait=self.wait,
        )

    def clock(self) -> float:
        return self.now


def meter(lane: Lane) -> Meter:
    return Meter(ask=lane.ask, clock=lane.clock)


async def filled(lane: Lane) -> Meter:
    found = meter(lane)
    await found.wait(asyncio.Event(), lambda: True)
    return found


async def test_a_token_is_taken_once() -> None:
    found = await filled(Lane(gives=[2]))

    assert [found.take() for _ in range(3)] == [True, True, False]


async def test_what_is_not_used_in_a_second_is_dead() -> None:
    lane = Lane(gives=[5])
    found = await filled(lane)

    lane.now += 0.9
    before = found.take()
    lane.now += 0.1
    after = found.take()

    assert (before, after, found.has(), found.left(16)) == (True, False, False, 0)


async def test_all_connections_wait_for_one_question() -> None:
    lane = Lane(gives=[0, 3])
    found, stop = meter(lane), asyncio.Event()

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(found.wait(stop, lambda: True))

    assert lane.asked == [FIRST, 1]
    assert found.left(16) == 3


async def test_as_many_are_asked_for_as_are_used_in_half_a_second() -> None:
    lane = Lane(gives=[16, 1])
    found = await filled(lane)
    lane.now += 0.99
    while found.take():
        pass

    await found.wait(asyncio.Event(), lambda: True)

    assert lane.asked == [FIRST, 9]  # 16 in a second


async def test_an_unlimited_lane_asks_nobody() -> None:
    lane = Lane(gives=[])
    found = meter(lane)
    found.is_unlimited = True

    await found.wait(asyncio.Event(), lambda: True)

    assert (found.take(), found.left(16), lane.asked) == (True, 16, [])


async def test_a_lane_that_is_closed_is_left() -> None:
    lane = Lane(gives=[0], is_closed=True)

    with pytest.raises(Closed):
        await filled(lane)


async def test_a_stop_ends_the_wait_for_a_token() -> None:
    lane, stop = Lane(gives=[0], wait=timedelta(hours=1)), asyncio.Event()
    found = meter(lane)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(found.wait(stop, lambda: True))
        await asyncio.sleep(0)
        stop.set()

    assert not found.has()
