"""Who is in a segment, asked of the database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from mailer.core import segment
from mailer.core.delivery import SubscriberId
from mailer.store import database

SQL = database.load("segments")

_SEGMENT = "/* segment */ true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many people a provider has in a segment; mailable: not suppressed."""

    provider: str
    total: int
    mailable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtDomain:
    """How many people of a segment are at a domain, and what their provider may be."""

    domain: str
    provider: str  # the hint
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person of a segment, as a sample shows them."""

    id: SubscriberId
    email: str
    first_name: str | None
    last_name: str | None
    state: str | None
    provider: str
    gifts: int
    given: Decimal
    latest_at: datetime | None


async def count(tx: database.Connection, predicate: segment.Predicate) -> list[Count]:
    """Count the people for whom *predicate* holds, by provider, the largest first."""
    return [Count(**row) for row in await _rows(tx, "count", predicate)]


async def sample(
    tx: database.Connection, predicate: segment.Predicate, *, size: int, seed: int = 0
) -> list[Person]:
    """Return *size* people for whom *predicate* holds; *seed* says which."""
    rows = await _rows(tx, "sample", predicate, size=size, seed=seed)
    return [Person(**row) for row in rows]


async def ids(
    tx: database.Connection, predicate: segment.Predicate
) -> list[SubscriberId]:
    """Return everyone for whom *predicate* holds."""
    return [SubscriberId(row["id"]) for row in await _rows(tx, "ids", predicate)]


async def domains(
    tx: database.Connection, predicate: segment.Predicate
) -> list[AtDomain]:
    """Count the people for whom *predicate* holds, by domain, the largest first."""
    return [AtDomain(**row) for row in await _rows(tx, "domains", predicate)]


async def _rows(
    tx: database.Connection, name: str, predicate: segment.Predicate, **given: Any
) -> list[database.Row]:
    """Run a query with *predicate* in it, its parameters behind the query's own."""
    query = SQL[name]
    moved = predicate.moved(len(query.names))
    names = tuple(f"segment_{n}" for n in range(len(moved.parameters)))
    filled = replace(
        query,
        sql=query.sql.replace(_SEGMENT, moved.sql),
        names=query.names + names,
    )
    values = dict(zip(names, moved.parameters, strict=True))
    return await tx.rows(filled, **given, **values)
