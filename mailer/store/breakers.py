"""How people and providers take the blasts that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailer.core import blast
from mailer.core.breaker import Count, Excess, Excuse, Reaction
from mailer.core.delivery import BlastId
from mailer.store import database

SQL = database.load("breakers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One blast: what came of it by provider, and what a person let pass."""

    id: BlastId
    name: str
    state: blast.State
    counts: list[Count] = field(default_factory=list)
    excused: dict[tuple[str, Reaction], Excuse] = field(default_factory=dict)


async def look(tx: database.Connection) -> list[Taken]:
    """Return how the blasts are taken that are under way."""
    found: dict[int, Taken] = {}
    for row in await tx.rows(SQL["counts"]):
        taken = found.setdefault(
            row["blast"],
            Taken(id=row["blast"], name=row["name"], state=blast.State(row["state"])),
        )
        taken.counts.append(
            Count(
                provider=row["provider"],
                attempted=row["attempted"],
                reactions={what: row[what.value] for what in Reaction},
            )
        )
    for row in await tx.rows(SQL["excused"]):
        if row["blast"] in found:
            key = (row["provider"], Reaction(row["reaction"]))
            excuse = Excuse(events=row["events"], attempted=row["attempted"])
            found[row["blast"]].excused[key] = excuse
    return list(found.values())


async def excuse(tx: database.Connection, id: BlastId, given: Sequence[Excess]) -> None:
    """Remember what a blast is paused for: so much is let pass when it is resumed."""
    await tx.run(
        SQL["excuse"],
        blast=id,
        providers=[one.provider for one in given],
        reactions=[one.reaction.value for one in given],
        events=[one.events for one in given],
        attempted=[one.attempted for one in given],
    )
