"""Look at what came back and nobody could read, and say what it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailer import errors
from mailer.core import suppression
from mailer.core.suppression import Reason
from mailer.store import database, reviews, suppressions
from mailer.store.reviews import Review

__all__ = ["Listed", "Review", "Verdict", "listed", "settle", "show"]


class Verdict(StrEnum):
    """What a person says that a message was."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    NOTHING = "nothing"


_REASONS = {
    Verdict.BOUNCE: Reason.BOUNCE,
    Verdict.COMPLAINT: Reason.COMPLAINT,
    Verdict.UNSUBSCRIBE: Reason.UNSUBSCRIBE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Some messages, and how many wait for a person."""

    waiting: int
    found: tuple[Review, ...]


async def listed(
    pool: database.Pool, *, everything: bool = False, size: int = 50
) -> Listed:
    """Return what waits for a person, or all, the newest first."""
    async with database.connection(pool) as tx:
        found = await reviews.listed(tx, everything=everything, size=size)
        return Listed(waiting=await reviews.count(tx), found=tuple(found))


async def show(pool: database.Pool, number: int) -> Review:
    """Return one message, whole.  Raises NotFound."""
    async with database.connection(pool) as tx:
        return await reviews.get(tx, number)


async def settle(
    pool: database.Pool,
    number: int,
    verdict: Verdict,
    *,
    address: str | None = None,
    actor: str,
    note: str | None = None,
) -> None:
    """Say what a message was, and suppress *address* for it where there is one.

    Raises NotFound, Conflict when it was settled, Invalid for what is no address.
    """
    if verdict is Verdict.NOTHING and address:
        raise errors.Invalid("nothing follows from nothing: leave --address out")
    async with database.transaction(pool) as tx:
        await reviews.settle(tx, number, what=verdict.value, actor=actor, why=note)
        if address:
            wanted = suppressions.Wanted(
                address=suppression.key(address),
                reason=_REASONS[verdict],
                note=note or f"message {number}",
            )
            added = await suppressions.add(tx, [wanted], source=f"review {number}")
            await suppressions.audit(tx, added, actor=actor, why=note)
