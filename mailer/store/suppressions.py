"""Who must not be mailed.  Only `remove` ever lifts an entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from mailer.core.delivery import SubscriberId
from mailer.core.suppression import STRONGEST_FIRST, Reason, Suppression
from mailer.store import database

SQL = database.load("suppressions")

_STRONGEST_FIRST = [reason.value for reason in STRONGEST_FIRST]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be suppressed, and why."""

    address: str  # of core.suppression.key
    reason: Reason
    topic: str | None = None
    note: str | None = None
    expires_at: datetime | None = None  # None: for good


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """An entry that is new, or has a stronger reason now."""

    address: str
    topic: str | None
    reason: Reason
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A person who must not be mailed, and the strongest reason."""

    subscriber_id: SubscriberId
    address: str
    topic: str | None
    reason: Reason


async def add(
    tx: database.Connection,
    wanted: Iterable[Wanted],
    *,
    source: str,
) -> list[Added]:
    """Suppress; return what changed.  A weaker reason changes nothing.

    Workers hear of it within a second: the schema writes the change feed.
    """
    given = list(wanted)
    rows = await tx.rows(
        SQL["add"],
        addresses=[one.address for one in given],
        topics=[one.topic for one in given],
        reasons=[one.reason.value for one in given],
        notes=[one.note for one in given],
        source=source,
        expiries=[one.expires_at for one in given],
        strongest_first=_STRONGEST_FIRST,
    )
    return [Added(**row | {"reason": Reason(row["reason"])}) for row in map(dict, rows)]


async def get(
    tx: database.Connection, *, address: str, topic: str | None
) -> Suppression | None:
    """Return one entry, locked until the transaction ends."""
    row = await tx.row(SQL["get"], address=address, topic=topic)
    return None if row is None else _suppression(row)


async def remove(tx: database.Connection, *, address: str, topic: str | None) -> bool:
    """Lift one entry.  Whether it may be lifted is the caller's to ask."""
    return await tx.run(SQL["remove"], address=address, topic=topic) > 0


async def about(
    tx: database.Connection, *, address: str, domain: str
) -> list[Suppression]:
    """Return every entry about one person, on whatever topic."""
    rows = await tx.rows(SQL["about"], address=address, domain=f"@{domain}")
    return [_suppression(row) for row in rows]


async def find(
    tx: database.Connection, ids: Sequence[int], *, topic: str | None
) -> list[Found]:
    """Return those of *ids* who must not be mailed on *topic*, in their order."""
    rows = await tx.rows(
        SQL["find"], ids=ids, topic=topic, strongest_first=_STRONGEST_FIRST
    )
    return [Found(**row | {"reason": Reason(row["reason"])}) for row in map(dict, rows)]


async def newest(
    tx: database.Connection,
    *,
    search: str | None = None,
    reason: Reason | None = None,
    size: int = 50,
) -> list[Suppression]:
    """Return the latest entries, the newest first."""
    rows = await tx.rows(SQL["newest"], search=search, reason=reason, size=size)
    return [_suppression(row) for row in rows]


async def count(
    tx: database.Connection, *, search: str | None = None, reason: Reason | None = None
) -> int:
    """Return how many entries there are."""
    found = await tx.value(SQL["count"], search=search, reason=reason)
    return cast("int", found)


async def page(
    tx: database.Connection, *, after: int, size: int
) -> tuple[int, list[Suppression]]:
    """Return the next entries in order, and the cursor for those that follow."""
    rows = await tx.rows(SQL["page"], after=after, size=size, search=None, reason=None)
    last = rows[-1]["id"] if rows else after
    return last, [_suppression(row) for row in rows]


async def audit(
    tx: database.Connection, added: Sequence[Added], *, actor: str, why: str | None
) -> None:
    """Write down who suppressed whom."""
    await tx.run(
        SQL["audit"],
        actor=actor,
        action="add",
        why=why,
        addresses=[one.address for one in added],
        befores=[None] * len(added),
        afters=[_words(one.reason, one.topic) for one in added],
    )


async def audit_removal(
    tx: database.Connection, entry: Suppression, *, actor: str, why: str | None
) -> None:
    """Write down who lifted what."""
    await tx.run(
        SQL["audit"],
        actor=actor,
        action="remove",
        why=why,
        addresses=[entry.address],
        befores=[_words(entry.reason, entry.topic)],
        afters=[None],
    )


def _words(reason: Reason, topic: str | None) -> str:
    return f"{reason} of {topic}" if topic else str(reason)


def _suppression(row: database.Row) -> Suppression:
    return Suppression(
        address=row["address"],
        topic=row["topic"],
        reason=Reason(row["reason"]),
        source=row["source"],
        note=row["note"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
