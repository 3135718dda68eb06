"""The promises that hold after any fault: what the ledger says, the provider knows.

I1 to I8 of the fault plan, as one function: every scenario ends with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailer.store import database
from tests import given
from tests.faults.oracle import Arrival, Oracle

EFFECT = timedelta(seconds=5)  # until a suppression is obeyed, promise 6
ENDS = frozenset(
    {"sent", "bounced", "in_doubt", "suppressed", "expired", "cancelled", "failed"}
)
ROLLUP = """
SELECT variant::integer, provider, sum(recipients)::integer, sum(sent)::integer,
       sum(bounced)::integer, sum(in_doubt)::integer, sum(suppressed)::integer,
       sum(held_out)::integer, sum(expired)::integer, sum(cancelled)::integer,
       sum(failed)::integer
FROM rollup GROUP BY variant, provider ORDER BY variant, provider
"""
RECOUNT = """
SELECT COALESCE(variant, 0)::integer, provider, count(*)::integer,
       count(*) FILTER (WHERE state = 'sent')::integer,
       count(*) FILTER (WHERE state = 'bounced')::integer,
       count(*) FILTER (WHERE state = 'in_doubt')::integer,
       count(*) FILTER (WHERE state = 'suppressed')::integer,
       count(*) FILTER (WHERE state = 'held_out')::integer,
       count(*) FILTER (WHERE state = 'expired')::integer,
       count(*) FILTER (WHERE state = 'cancelled')::integer,
       count(*) FILTER (WHERE state = 'failed')::integer
FROM delivery GROUP BY COALESCE(variant, 0), provider ORDER BY 1, provider
"""
LEFT = """
SELECT 'chunk ' || id FROM chunk WHERE state <> 'done'
UNION ALL SELECT 'slot ' || id FROM slot
UNION ALL SELECT 'blast in state ' || state FROM blast
WHERE state NOT IN ('done', 'cancelled', 'expired')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a scenario allows."""

    people: int
    doubts: int = 0  # connections x crashes, I5
    ends: frozenset[str] = frozenset(
        {"sent"}
    )  # besides in_doubt, where doubts allow it
    connections: int  # at the provider at once, I7
    rate: float | None = None  # messages a second, with two seconds' worth at once
    suppressed: Mapping[str, datetime] = field(default_factory=dict)  # since when, I6


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it, for a table."""

    lost: int
    twice: int
    in_doubt: int
    delivered_in_doubt: int  # of those in doubt, had been taken


async def kept(
    db: database.Pool, name: str, books: Oracle | Sequence[Oracle], expected: Expected
) -> Outcome:
    """Compare the ledger with the providers' books; raise on a broken promise."""
    books = [books] if isinstance(books, Oracle) else books
    states = await given.states(db, name)
    arrived = [one for book in books for one in book.arrived()]
    outcome = compared(states, arrived)

    assert copies(arrived) == {}, "I1: somebody got it twice"
    assert len(states) == expected.people, "I2"
    ends = expected.ends | ({"in_doubt"} if expected.doubts else set())
    assert ends <= ENDS
    assert set(states.values()) <= ends, f"I2: {Counter(states.values())}"
    taken = {one.recipient for one in arrived}
    assert having(states, "sent") <= taken, "I3: sent, but never arrived"
    unsaid = taken - having(states, "sent")
    assert unsaid <= having(states, "in_doubt"), "I4: arrived, and nobody says so"
    assert outcome.in_doubt <= expected.doubts, "I5: too much in doubt"
    for address, since in expected.suppressed.items():
        late = [one for one in arrived if one.recipient == address]
        assert [one for one in late if one.at > since + EFFECT] == [], "I6"
    for book in books:
        assert book.most_open() <= expected.connections, "I7: too many connections"
    if expected.rate is not None:
        assert too_fast(arrived, expected.rate) == [], "I7: too fast"
    assert await given.rows(db, ROLLUP) == await given.rows(db, RECOUNT), "I8"
    assert await given.rows(db, LEFT) == [], "something is left"
    return outcome


def copies(arrived: Iterable[Arrival]) -> dict[str, int]:
    """Return who was accepted more than once, and how often."""
    counted = Counter(one.recipient for one in arrived)
    return {address: count for address, count in counted.items() if count > 1}


def having(states: Mapping[str, str], state: str) -> set[str]:
    """Return who is in *state*."""
    return {address for address, one in states.items() if one == state}


def compared(states: Mapping[str, str], arrived: Iterable[Arrival]) -> Outcome:
    """Count what a table of fault runs shows."""
    arrived = list(arrived)
    taken = {one.recipient for one in arrived}
    doubted = having(states, "in_doubt")
    return Outcome(
        lost=len(having(states, "sent") - taken) + len(open_to(states)),
        twice=sum(count - 1 for count in copies(arrived).values()),
        in_doubt=len(doubted),
        delivered_in_doubt=len(doubted & taken),
    )


def open_to(states: Mapping[str, str]) -> set[str]:
    """Return who has no end yet."""
    return {address for address, state in states.items() if state not in ENDS}


def too_fast(arrived: Iterable[Arrival], rate: float) -> list[Arrival]:
    """Return what came before GCRA would have granted it: a burst of two seconds."""
    burst, due, found = 2 * rate, float("-inf"), []
    for one in sorted(arrived, key=lambda one: one.at):
        at = one.at.timestamp()
        due = max(due, at) + 1 / rate
        if due - at > burst / rate + SLACK:
            found.append(one)
    return found


SLACK = 0.25  # seconds that messages may wait for one another on the way
