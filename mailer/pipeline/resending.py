"""Send again what is in doubt, once, where the blast says so: ``in_doubt = "resend"``.

The reply to the final dot was lost; nearly all of those messages had arrived, so that
most people get a second copy, which has the same Message-ID.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from mailer import errors
from mailer.core import blast, doubt
from mailer.store import blasts, chunks, database, deliveries

ACTOR = "scheduler"

log = structlog.get_logger()


async def resend_due(pool: database.Pool, *, wait: timedelta = doubt.AFTER) -> int:
    """Owe again what has been in doubt for *wait*; return how many messages."""
    async with database.connection(pool) as tx:
        names = await blasts.doubtful(tx)
    return sum([await _resend(pool, name, wait=wait) for name in names])


async def _resend(pool: database.Pool, name: str, *, wait: timedelta) -> int:
    try:
        async with database.transaction(pool) as tx:
            found = await blasts.get(tx, name)
            overdue = await deliveries.overdue_doubts(tx, found.id, wait=wait)
            seqs = await deliveries.owe_again(tx, found.id, overdue)
            if not seqs:
                return 0
            why = f"{len(seqs)} in doubt are sent again"
            await blasts.move(tx, found, blast.Move.RESEND, actor=ACTOR, why=why)
            await chunks.gather(tx, found.id, seqs)
    except errors.Conflict:
        return 0  # it was paused or ended in this moment
    log.info("blast.resent", blast=name, count=len(seqs))
    return len(seqs)
