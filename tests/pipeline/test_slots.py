from collections.abc import Collection
from dataclasses import dataclass, field

from mailer.pipeline.sending.slots import TURN, Held, Slots


@dataclass
class Carrier:
    """Notes what it is asked."""

    left: int = 0
    outranked: list[set[int]] = field(default_factory=list)

    def leave(self) -> None:
        self.left += 1

    def put_down(self, outranked: Collection[int]) -> None:
        self.outranked.append(set(outranked))


def held(*lanes: str) -> tuple[Slots, list[Carrier]]:
    """Hold a slot of each of *lanes*, taken a second after the one before."""
    slots, carriers = Slots(), [Carrier() for _ in lanes]
    for slot, (lane, carrier) in enumerate(zip(lanes, carriers, strict=True)):
        slots.hold(
            Held(slot=slot, lane=(lane, "relay"), since=float(slot), carrier=carrier)
        )
    return slots, carriers


def test_who_may_not_stay_is_asked_to_go_once() -> None:
    slots, carriers = held("google", "google", "yahoo")

    slots.told([0, 1, 2], {0, 2})
    slots.told([0, 1, 2], {0, 2})

    assert [one.left for one in carriers] == [0, 1, 0]


def test_what_was_taken_after_the_question_stays() -> None:
    slots, carriers = held("google", "google")

    slots.told([0], {0})

    assert [one.left for one in carriers] == [0, 0]


def test_the_lane_that_has_most_makes_room() -> None:
    slots, carriers = held("yahoo", "google", "google", "google")

    asked = [slots.make_room(now=now) for now in (3.5, 3.6, 4.1)]

    assert asked == [True, False, True]
    assert [one.left for one in carriers] == [0, 1, 1, 0]


def test_where_each_lane_has_one_they_take_turns() -> None:
    slots, carriers = held("yahoo", "google")

    too_early = slots.make_room(now=TURN - 0.1)
    in_turn = slots.make_room(now=TURN)

    assert (too_early, in_turn) == (False, True)
    assert [one.left for one in carriers] == [1, 0]


def test_without_connections_there_is_no_room_to_make() -> None:
    assert not Slots().make_room(now=1e9)
