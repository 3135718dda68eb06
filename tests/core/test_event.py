from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import RFC_4122

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.core import event, tracking
from mailer.core.donation import Gift
from mailer.core.event import Count, Engagement, Event, Kind, Queue
from mailer.core.tracking import Label, Token, Visit

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
GIFT = Gift(
    sender="actblue",
    external_id="5",
    at=NOON,
    amount=Decimal("25.00"),
    giver=Token(blast=1, subscriber=2, link=3),
)
TIMES = st.integers(0, 400).map(lambda minutes: NOON + timedelta(minutes=minutes))

EVENTS = st.builds(
    Event,
    id=st.uuids(),
    at=TIMES,
    kind=st.sampled_from(Kind),
    blast=st.none() | st.integers(0, 2**32 - 1),
    subscriber=st.none() | st.integers(0, 2**40 - 1),
    link=st.none() | st.integers(0, 2**16 - 1),
    label=st.sampled_from(Label),
    reasons=st.lists(st.text(max_size=5)).map(tuple),
    rules=st.integers(0, 9),
    agent=st.none() | st.text(max_size=20),
    ip=st.none() | st.just("192.0.2.0"),
    gift=st.none() | st.just(GIFT),
    body=st.none() | st.just({"lineitem": {"amount": "25.00"}}),
)


@settings(deadline=None)
@given(EVENTS)
def test_a_record_says_what_happened(given: Event) -> None:
    assert event.decode(event.encode(given)) == given


@settings(deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"i":1}']))
def test_other_bytes_are_invalid(record: bytes) -> None:
    with pytest.raises(errors.Invalid):
        event.decode(record)


def test_what_may_forbid_a_message_does_not_wait_behind_clicks() -> None:
    queues = {
        kind: Event(id=event.new_id(NOON, bytes(10)), at=NOON, kind=kind).queue
        for kind in Kind
    }

    assert {kind for kind in Kind if queues[kind] is Queue.BULK} == {
        Kind.OPEN,
        Kind.CLICK,
    }


@given(st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_7_that_sorts_by_time(random: bytes) -> None:
    one = event.new_id(NOON, random)
    later = event.new_id(NOON + timedelta(milliseconds=1), bytes(10))

    assert (one.version, one.variant) == (7, "specified in RFC 4122")
    assert one < later


def test_the_id_of_a_gift_is_the_same_each_time() -> None:
    assert event.gift_id(GIFT) == event.gift_id(GIFT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\0b", "ab"), ("a\udce9b", "a?b"), ("x" * 999, "x" * 300), ("é🗳", "é🗳")],
)
def test_text_of_strangers_can_be_stored(text: str, expected: str) -> None:
    assert event.clean(text) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Count), TIMES), max_size=12), st.data())
def test_people_are_counted_in_the_hour_of_their_first_event_in_any_order(
    seen: list[tuple[Count, datetime]], data: st.DataObject
) -> None:
    told = data.draw(st.permutations(seen + seen[:3]))
    counts: dict[tuple[Count, datetime], int] = {}

    now = Engagement()
    while told:
        size = data.draw(st.integers(1, len(told)))
        later = event.engaged(now, told[:size])
        for what, hour, more in event.changes(now, later):
            counts[what, hour] = counts.get((what, hour), 0) + more
        now, told = later, told[size:]

    expected = {
        (what, event.hour(min(at for other, at in seen if other is what))): 1
        for what, _ in seen
    }
    assert {key: number for key, number in counts.items() if number} == expected
    assert now.last == {
        what: max(at for other, at in seen if other is what) for what, _ in seen
    }


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.CLICK])
@pytest.mark.parametrize("agent", ["curl/8", "Mozilla/5.0", 'a "b" \\ é\udcff\0', ""])
def test_the_fast_record_of_a_visit_is_that_of_its_event(
    kind: Kind, agent: str
) -> None:
    token = Token(blast=3, subscriber=9, link=2)
    label, reasons = tracking.label(Visit(agent=agent))
    random = bytes(range(10))

    who = event.seen(label, reasons, agent, "10.0.0.0")
    found = event.decode(event.visit(kind, token, at=NOON, random=random, who=who))

    assert found == Event(
        id=found.id,
        at=NOON,
        kind=kind,
        blast=3,
        subscriber=9,
        link=2 if kind is Kind.CLICK else None,
        label=label,
        reasons=reasons,
        rules=tracking.RULES,
        agent=event.clean(agent),
        ip="10.0.0.0",
    )
    assert (found.id.version, found.id.variant) == (7, RFC_4122)
    assert found.id.int >> 80 == int(NOON.timestamp() * 1000)
