"""What a forecast asks the database: how lanes stand, and who waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailer.core.delivery import BlastId
from mailer.store import database

SQL = database.load("forecasts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A blast that uses lanes now, or will at its send_at."""

    id: BlastId
    name: str
    topic: str
    approved_hash: str
    priority: int
    send_at: datetime
    expires_at: datetime
    is_launched: bool  # its ledger says how many are left
    pool: str


async def waiting(tx: database.Connection) -> list[Waiting]:
    """Return the blasts that go out or are scheduled, the most urgent first."""
    return [Waiting(**row) for row in await tx.rows(SQL["waiting"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """How a lane stands; rates in messages a second, None unlimited or not known."""

    provider: str
    source: str
    mode: str
    rate: float | None
    start: float | None
    ceiling: float | None
    not_before: datetime
    knee: float | None  # what was too much
    threshold: float | None  # up to which the rate doubles
    is_warming: bool
    quota: int | None  # messages of today, while it warms up
    used: int | None


async def lanes(tx: database.Connection) -> dict[tuple[str, str], Lane]:
    """Return how every lane stands, by provider and source."""
    rows = await tx.rows(SQL["lanes"])
    return {(row["provider"], row["source"]): Lane(**row) for row in rows}
