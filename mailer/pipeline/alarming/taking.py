"""What people do with alarms: look at them, and take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.core.alarm import Alarm
from mailer.store import alarms, blasts, database


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Alarms, and who could not be told of the open ones."""

    found: Sequence[Alarm]
    undelivered: Sequence[alarms.Undelivered]


async def listed(
    pool: database.Pool, *, everything: bool = False, limit: int = 100
) -> Listed:
    """Return the open alarms, the oldest first; or the latest, open or not."""
    async with database.connection(pool) as tx:
        found = (
            await alarms.everything(tx, limit=limit)
            if everything
            else await alarms.open_(tx)
        )
        return Listed(found=found, undelivered=await alarms.undelivered(tx))


async def take(
    pool: database.Pool, id: int, *, who: str, note: str | None, actor: str
) -> tuple[Alarm, Alarm]:
    """Have *who* look after an alarm: it is not repeated.  Return it before and after.

    Raises NotFound when there is none, Conflict when it is over.
    """
    async with database.transaction(pool) as tx:
        before, after = await alarms.take(tx, id, who=who, note=note)
        await blasts.audit(
            tx,
            actor=actor,
            object=f"alarm {id}",
            action="take",
            before=before.taken_by or "open",
            after=f"taken by {who}",
            why=note,
        )
    return before, after
