"""What became of a blast, from its counters: never from the ledger or raw events.

The one exception is what each donor gave: a few rows by index, because the spread of
gifts is in no counter.
"""

from __future__ import annotations

from mailer.core.delivery import BlastId
from mailer.store import database

SQL = database.load("reports")


async def variants(tx: database.Connection, *, blast: BlastId) -> list[database.Row]:
    """Return position, name and subject of each arm, in order."""
    return await tx.rows(SQL["variants"], blast=blast)


async def by_provider(tx: database.Connection, *, blast: BlastId) -> list[database.Row]:
    """Return the counters by variant (0: none) and provider."""
    return await tx.rows(SQL["by_provider"], blast=blast)


async def by_hour(tx: database.Connection, *, blast: BlastId) -> list[database.Row]:
    """Return what happened in each hour, by variant (0: none)."""
    return await tx.rows(SQL["by_hour"], blast=blast)


async def gifts(tx: database.Connection, *, blast: BlastId) -> list[database.Row]:
    """Return donors, money, squares and the largest sum of one donor, by variant."""
    return await tx.rows(SQL["gifts"], blast=blast)
