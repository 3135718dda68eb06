"""What came back: events, who is engaged, and the counters of reports."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from mailer.core import provider
from mailer.core.delivery import ANYBODY, NOBODY, State
from mailer.core.event import Count, Engagement, Event, Kind
from mailer.core.feedback import Delivered
from mailer.core.tracking import Label
from mailer.store import database

SQL = database.load("events")

# The columns of a person's first and last event of a kind.
_COLUMNS = {
    Count.OPENS: ("opened", "last_opened"),
    Count.MACHINE_OPENS: ("machine_opened", "last_machine_opened"),
    Count.CLICKS: ("clicked", "last_clicked"),
    Count.MACHINE_CLICKS: ("machine_clicked", "last_machine_clicked"),
    Count.UNSUBSCRIBES: ("unsubscribed", None),
    Count.COMPLAINTS: ("complained", None),
    Count.RETURNED: ("returned", None),
}


@dataclass(frozen=True, slots=True, order=True)
class Person:
    """A subscriber in one blast."""

    subscriber: int
    blast: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An event that was new, with what its delivery says."""

    id: UUID
    at: datetime
    kind: Kind
    label: Label
    person: Person | None
    variant: int
    provider: str
    blast: int | None = None
    is_anybody: bool = False  # counted without a name
    link: int = 0
    agent: str = ""
    network: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """The key of a counter."""

    blast: int
    variant: int
    provider: str
    hour: datetime


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is added to the counters of a cell."""

    people: dict[Count, int] = field(default_factory=dict)
    donors: int = 0
    gifts: int = 0
    money: Decimal = Decimal(0)


async def add(tx: database.Connection, given: Collection[Event]) -> list[Known]:
    """Add *given*, and return those that were not known."""
    rows = await tx.rows(
        SQL["add"],
        ids=[one.id for one in given],
        ats=[one.at for one in given],
        kinds=[one.kind.value for one in given],
        blasts=[one.blast for one in given],
        subscribers=[one.subscriber for one in given],
        links=[one.link for one in given],
        labels=[one.label.value for one in given],
        reasons=[" ".join(one.reasons) for one in given],
        rules=[one.rules for one in given],
        agents=[one.agent for one in given],
        ips=[one.ip for one in given],
        bodies=[None if one.body is None else json.dumps(one.body) for one in given],
        seqs=[one.seq for one in given],
    )
    return [known(row) for row in rows]


def known(row: database.Row) -> Known:
    """Return what a row says of an event."""
    is_person = (
        row["subscriber_id"] not in {None, NOBODY, ANYBODY}
        and row["blast_id"] is not None
    )
    return Known(
        id=row["id"],
        at=row["at"],
        kind=Kind(row["kind"]),
        label=Label(row["label"]),
        person=Person(row["subscriber_id"], row["blast_id"]) if is_person else None,
        variant=row["variant"] or 0,
        provider=row["provider"] or provider.OTHER,
        blast=row["blast_id"],
        is_anybody=row["subscriber_id"] == ANYBODY,
        link=row["link"] or 0,
        agent=row["agent"] or "",
        network=row["network"],
        reasons=tuple(row["reasons"]),
    )


async def lock_engagements(
    tx: database.Connection, people: Collection[Person]
) -> dict[Person, Engagement]:
    """Return what is known of *people*, locked until the transaction ends."""
    keys = _keys(sorted(people))
    await tx.run(SQL["begin_engagements"], **keys)
    rows = await tx.rows(SQL["lock_engagements"], **keys)
    return {
        Person(row["subscriber_id"], row["blast_id"]): _engagement(row) for row in rows
    }


def _engagement(row: database.Row) -> Engagement:
    first, last = {}, {}
    for what, (early, late) in _COLUMNS.items():
        at = row[f"{early}_at"]
        if at is not None:
            first[what] = at
            last[what] = at if late is None else row[f"{late}_at"]
    return Engagement(first=first, last=last)


async def save_engagements(
    tx: database.Connection, found: Mapping[Person, Engagement]
) -> None:
    """Write what is known now of people whose rows are locked."""
    columns: dict[str, list[datetime | None]] = {}
    for what, (early, late) in _COLUMNS.items():
        columns[early] = [one.first.get(what) for one in found.values()]
        if late is not None:
            columns[late] = [one.last.get(what) for one in found.values()]
    await tx.run(SQL["save_engagements"], **_keys(found), **columns)


async def suppress(tx: database.Connection, people: Collection[Person]) -> int:
    """Suppress *people* on the topic of their blast, and return how many that adds."""
    keys = _keys(people)
    await tx.run(SQL["end_temporary_suppressions"], **keys)
    return await tx.run(SQL["suppress_unsubscribed"], **keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A message that came back, with the blast that it was of."""

    blast: str
    about: Delivered


async def returned(
    tx: database.Connection, given: Collection[Known], *, within: timedelta
) -> dict[UUID, Returned]:
    """Return what is known of the messages that came back, by their event.

    What is in no ledger is left out.
    """
    people = [(one, one.person) for one in given if one.person is not None]
    rows = await tx.rows(
        SQL["returned"],
        ids=[one.id for one, _ in people],
        subscribers=[person.subscriber for _, person in people],
        blasts=[person.blast for _, person in people],
        ats=[one.at for one, _ in people],
        within=within,
    )
    return {
        row["id"]: Returned(
            blast=row["blast"],
            about=Delivered(
                address=row["address"],
                state=State(row["state"]),
                settled_at=row["settled_at"],
                blasts=row["blasts"],
            ),
        )
        for row in rows
    }


def _keys(people: Collection[Person]) -> dict[str, list[int]]:
    return {
        "subscribers": [person.subscriber for person in people],
        "blasts": [person.blast for person in people],
    }


async def add_to_rollup(tx: database.Connection, tallies: Mapping[Cell, Tally]) -> None:
    """Add *tallies* to the counters."""
    cells = sorted(tallies)
    found = [tallies[cell] for cell in cells]
    people = {
        what.value: [tally.people.get(what, 0) for tally in found] for what in Count
    }
    await tx.run(
        SQL["add_to_rollup"],
        blasts=[cell.blast for cell in cells],
        variants=[cell.variant for cell in cells],
        providers=[cell.provider for cell in cells],
        hours=[cell.hour for cell in cells],
        donors=[tally.donors for tally in found],
        gifts=[tally.gifts for tally in found],
        money=[tally.money for tally in found],
        **people,
    )
