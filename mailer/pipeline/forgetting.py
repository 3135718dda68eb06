"""Give a person all that is known of them, forget them, and forget what is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mailer import errors
from mailer.core import subscriber
from mailer.store import blasts, database, privacy

BATCH = 5000  # events in a transaction


async def export(pool: database.Pool, email: str) -> dict[str, Any]:
    """Return everything that is known of a person.  Raises NotFound and Invalid."""
    address = subscriber.normalise(email).address
    async with database.connection(pool) as tx:
        found = await privacy.export(tx, address=address)
    if found is None:
        raise errors.NotFound(f"no subscriber has the address {address}")
    return found


async def erase(pool: database.Pool, email: str, *, actor: str) -> bool:
    """Forget a person; tell whether there was one.  An import does not bring them back.

    Kept are counters, the amounts of gifts, and a salted hash of the address.  What is
    still in the spool when this runs is loaded as the events of nobody.
    """
    address = subscriber.normalise(email).address
    async with database.transaction(pool) as tx:
        known = await privacy.erase(tx, address=address)
        await blasts.audit(
            tx, actor=actor, object="subscriber (erased)", action="erase"
        )
    return known


async def purge(pool: database.Pool, *, keep: timedelta) -> int:
    """Remove raw events that are older than *keep*; return how many."""
    count = 0
    while True:
        async with database.transaction(pool) as tx:
            before = await blasts.clock(tx) - keep
            gone = await privacy.purge(tx, before=before, limit=BATCH)
        count += gone
        if gone < BATCH:
            return count
