"""What is in doubt: a person says that it arrived, or has it sent again."""

from __future__ import annotations

from collections.abc import Collection

from mailer import errors
from mailer.core import blast
from mailer.core.delivery import State
from mailer.pipeline.scheduling.moving import Desk
from mailer.store import blasts, chunks, database, deliveries

ALL = 1_000_000  # recipients looked at, at most; in doubt are a few a crash


async def mark_sent(desk: Desk, name: str, *, emails: Collection[str] = ()) -> int:
    """Say of messages in doubt that they arrived: *emails*, or all of the blast.

    Returns how many.  Raises NotFound for an address that is not in doubt.
    """
    async with database.transaction(desk.pool) as tx:
        found, doubts = await _doubts(tx, name, emails)
        now = await blasts.clock(tx)
        results = [
            deliveries.Result(
                seq=one.seq,
                state=State.SENT,
                attempts=one.attempts,
                at=now,
                reply=f"{desk.actor} says that it arrived",
            )
            for one in doubts
        ]
        settled = await deliveries.settle(tx, found.id, results)
        await _audit(tx, desk, found, action="mark sent", count=len(settled))
        return len(settled)


async def resend(desk: Desk, name: str, *, emails: Collection[str] = ()) -> int:
    """Have messages in doubt sent again, with their Message-IDs; return how many.

    Who had got one gets a second copy: that is for a person to decide.  Raises
    NotFound for an address that is not in doubt, Conflict when the blast's time is
    over.
    """
    async with database.transaction(desk.pool) as tx:
        found, doubts = await _doubts(tx, name, emails)
        now = await blasts.clock(tx)
        if found.expires_at is not None and found.expires_at <= now:
            message = f"blast {name} expired at {found.expires_at.isoformat()}"
            raise errors.Conflict(f"{message}: nothing of it is sent any more")
        if not doubts:
            return 0
        await blasts.move(tx, found, blast.Move.RESEND, actor=desk.actor)
        seqs = await deliveries.owe_again(tx, found.id, [one.seq for one in doubts])
        await chunks.gather(tx, found.id, seqs)
        await _audit(tx, desk, found, action="resend", count=len(seqs))
        return len(seqs)


async def _doubts(
    tx: database.Connection, name: str, emails: Collection[str]
) -> tuple[blasts.Blast, list[deliveries.Listed]]:
    found = await blasts.get(tx, name)
    doubts = await deliveries.listed(tx, found.id, states=[State.IN_DOUBT], limit=ALL)
    known = {one.email for one in doubts}
    for email in emails:
        if email not in known:
            message = f"{email} is not in doubt: mailer blast doubt {name}"
            raise errors.NotFound(message)
    return found, [one for one in doubts if not emails or one.email in emails]


async def _audit(
    tx: database.Connection, desk: Desk, found: blasts.Blast, *, action: str, count: int
) -> None:
    await blasts.audit(
        tx,
        actor=desk.actor,
        object=found.object,
        action=action,
        why=f"{count} messages in doubt",
    )
