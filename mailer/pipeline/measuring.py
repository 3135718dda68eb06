"""Ask the database how it goes, for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailer.core.alarm import Kind
from mailer.store import alarms, database, metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the database knows; a worker's rates are its own to tell."""

    blasts: Mapping[str, int]
    deliveries: Mapping[str, Mapping[str, int]]
    alarms: Mapping[Kind, int]  # open ones


async def measure(pool: database.Pool) -> Measured:
    """Count blasts and deliveries by state.  Raises Unavailable."""
    async with database.transaction(pool) as tx:
        return Measured(
            blasts=await metrics.blasts(tx),
            deliveries=await metrics.deliveries(tx),
            alarms=await alarms.counts(tx),
        )
