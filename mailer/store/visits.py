"""Opens and clicks: who made them, as far as can be told, and whom they count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from mailer.core import event, machine, tracking
from mailer.core.event import Kind
from mailer.core.machine import Bursts, Seen
from mailer.core.tracking import Label
from mailer.store import database, events
from mailer.store.events import Cell, Known, Person, Tally

SQL = database.load("visits")

Reasons = Mapping[UUID, tuple[str, ...]]


async def judge(
    tx: database.Connection, given: Collection[Known], bursts: Bursts
) -> set[Person]:
    """Label *given*, by time, also by what came with them; say whose labels changed.

    Earlier events that turn out to belong to a burst are labelled again, too.
    """
    visits = [one for one in given if _is_visit(one)]
    clickers = {one.person for one in visits if one.kind is Kind.CLICK and one.person}
    sent = await _sent_at(tx, clickers) if clickers else {}
    more: dict[UUID, set[str]] = {}
    for one in sorted(visits, key=lambda one: (one.at, one.id)):
        for id, reasons in bursts.see(_seen(one, sent)).items():
            more.setdefault(id, set()).update(reasons)
    mine = {one.id: one for one in visits}
    others = more.keys() - mine.keys()
    known = [*visits, *(await _by_ids(tx, others) if others else [])]
    found = [one for one in known if one.id in more and one.label is not Label.MACHINE]
    return await _relabel(tx, found, more, base=_as_it_is)


async def judge_again(
    tx: database.Connection, given: Collection[Known], bursts: Bursts
) -> set[Person]:
    """Do what `judge` does, by the rules of now, for events that have labels."""
    given = [one for one in given if _is_visit(one)]
    sent = await _sent_at(tx, {one.person for one in given if one.person})
    more: dict[UUID, set[str]] = {}
    for one in given:
        for id, reasons in bursts.see(_seen(one, sent)).items():
            more.setdefault(id, set()).update(reasons)
    others = more.keys() - {one.id for one in given}
    changed = await _relabel(tx, given, more, base=_by_the_rules)
    if others:
        changed |= await _relabel(tx, await _by_ids(tx, others), more, base=_as_it_is)
    return changed


async def recount(
    tx: database.Connection, people: Collection[Person], tallies: dict[Cell, Tally]
) -> None:
    """Count *people* again by their raw opens and clicks, as they are labelled now."""
    if not people:
        return
    before = await events.lock_engagements(tx, people)
    seen: dict[Person, list[Known]] = {person: [] for person in people}
    for one in await _visits(tx, people):
        if one.person is not None:
            seen[one.person].append(one)
    after = {}
    for person, theirs in seen.items():
        if not theirs:
            continue
        counted = [(event.count(one.kind, one.label), one.at) for one in theirs]
        after[person] = event.recounted(
            before[person], [(what, at) for what, at in counted if what is not None]
        )
        for what, hour, change in event.changes(before[person], after[person]):
            cell = Cell(person.blast, theirs[0].variant, theirs[0].provider, hour)
            people_of = tallies.setdefault(cell, Tally()).people
            people_of[what] = people_of.get(what, 0) + change
    await events.save_engagements(tx, after)


async def since(
    tx: database.Connection, *, at: datetime, id: UUID, blast: int | None, limit: int
) -> list[Known]:
    """Return opens and clicks after a place, by time."""
    rows = await tx.rows(SQL["since"], at=at, id=id, blast=blast, limit=limit)
    return [events.known(row) for row in rows]


def _is_visit(one: Known) -> bool:
    return one.kind in {Kind.OPEN, Kind.CLICK} and one.person is not None


def _seen(one: Known, sent: Mapping[Person, datetime]) -> Seen:
    assert one.person is not None
    return Seen(
        id=one.id,
        at=one.at,
        is_click=one.kind is Kind.CLICK,
        blast=one.person.blast,
        subscriber=one.person.subscriber,
        link=one.link,
        agent=one.agent,
        network=one.network,
        provider=one.provider,
        sent_at=sent.get(one.person),
        reasons=one.reasons,
    )


def _as_it_is(one: Known) -> tuple[str, ...]:
    return one.reasons


def _by_the_rules(one: Known) -> tuple[str, ...]:
    return machine.again(one.agent, one.reasons)


async def _relabel(
    tx: database.Connection,
    known: Iterable[Known],
    more: Mapping[UUID, Collection[str]],
    *,
    base: Callable[[Known], tuple[str, ...]],
) -> set[Person]:
    """Write the labels that differ; return whose they are."""
    changed: dict[UUID, tuple[Label, tuple[str, ...]]] = {}
    whose: set[Person] = set()
    for one in known:
        own = base(one)
        reasons = (*own, *sorted(set(more.get(one.id, ())) - set(own)))
        found = machine.judge(reasons)
        if (found, reasons) == (one.label, one.reasons):
            continue
        changed[one.id] = found, reasons
        if found is not one.label and one.person is not None:
            whose.add(one.person)
    if changed:
        await tx.run(
            SQL["label"],
            ids=list(changed),
            labels=[label.value for label, _ in changed.values()],
            reasons=[" ".join(reasons) for _, reasons in changed.values()],
            rules=tracking.RULES,
        )
    return whose


async def _sent_at(
    tx: database.Connection, people: Collection[Person]
) -> dict[Person, datetime]:
    rows = await tx.rows(SQL["sent_at"], **_keys(people))
    return {
        Person(row["subscriber_id"], row["blast_id"]): row["sent_at"] for row in rows
    }


async def _by_ids(tx: database.Connection, ids: Collection[UUID]) -> list[Known]:
    return [events.known(row) for row in await tx.rows(SQL["by_ids"], ids=list(ids))]


async def _visits(tx: database.Connection, people: Collection[Person]) -> list[Known]:
    return [events.known(row) for row in await tx.rows(SQL["visits"], **_keys(people))]


def _keys(people: Collection[Person]) -> dict[str, list[int]]:
    ordered = sorted(people)
    return {
        "subscribers": [person.subscriber for person in ordered],
        "blasts": [person.blast for person in ordered],
    }
