"""Say what became of a blast: read its counters, judge them, return every figure."""

from __future__ import annotations

import asyncio
from datetime import datetime

from mailer.pipeline.reporting import judging
from mailer.pipeline.reporting.figures import Head, Listed, Report
from mailer.store import blasts, database, reports


async def report(pool: database.Pool, blast: str, *, now: datetime) -> Report:
    """Report on the blast of that name or number, as of *now*.

    Raises NotFound when there is none.
    """
    async with database.transaction(pool) as tx:
        found = await blasts.get(tx, blast)
        given = judging.Given(
            head=Head(
                blast=found.name,
                number=found.id,
                state=found.state.value,
                topic=found.topic,
                launched_at=found.launched_at,
                ended_at=found.ended_at,
                expires_at=found.expires_at,
                as_of=now,
                hours=None,
                maturity=None,
            ),
            variants=await reports.variants(tx, blast=found.id),
            by_provider=await reports.by_provider(tx, blast=found.id),
            by_hour=await reports.by_hour(tx, blast=found.id),
            gifts=await reports.gifts(tx, blast=found.id),
        )
    return await asyncio.to_thread(judging.judge, given)  # draws take some 30 ms


async def listed(pool: database.Pool) -> list[Listed]:
    """Return every blast, the newest first."""
    async with database.connection(pool) as tx:
        return [
            Listed(
                name=found.name,
                state=found.state.value,
                topic=found.topic,
                launched_at=found.launched_at,
            )
            for found in await blasts.everything(tx)
        ]
