"""Numbers for those who watch over the machines."""

from __future__ import annotations

from collections.abc import Mapping

from mailer.core.delivery import FINAL
from mailer.store import database

SQL = database.load("metrics")


async def blasts(tx: database.Connection) -> dict[str, int]:
    """Return how many blasts are in each state."""
    return {row["state"]: row["count"] for row in await tx.rows(SQL["blasts"])}


async def deliveries(tx: database.Connection) -> dict[str, Mapping[str, int]]:
    """Return, of each blast that is going out, its deliveries by state."""
    found: dict[str, Mapping[str, int]] = {}
    for row in await tx.rows(SQL["deliveries"]):
        ended = {state.value: row[state.value] for state in FINAL}
        found[row["name"]] = {**ended, "owed": row["recipients"] - sum(ended.values())}
    return found
