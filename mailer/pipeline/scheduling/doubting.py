"""What is in doubt: a person says that it arrived, or has it sent again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from mailer import errors
from mailer.core import blast, doubt, subscriber
from mailer.core.delivery import State
from mailer.pipeline.scheduling.moving import Desk
from mailer.store import blasts, chunks, database, deliveries

ALL = 1_000_000  # recipients looked at, at most; in doubt are a few a crash


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A message of which nobody knows whether it arrived."""

    seq: int
    email: str | None
    provider: str
    variant: int | None
    state: State
    attempts: int
    settled_at: datetime | None  # since when it is in doubt
    code: int | None
    reply: str | None
    resend_at: datetime | None  # it is sent again by itself; None: never


async def in_doubt(
    desk: Desk, name: str, *, emails: Collection[str] = ()
) -> list[Doubt]:
    """Name what is in doubt: *emails*, or all of the blast.

    Raises NotFound for an address that is not in doubt.
    """
    async with database.connection(desk.pool) as tx:
        found, doubts = await _doubts(tx, name, emails)
        rule = blast.Doubt.HOLD
        if found.approved_hash is not None:
            body = await blasts.content(tx, found.approved_hash)
            rule = blast.Doubt(body["in_doubt"])
    return [_doubt(one, found, rule) for one in doubts]


def _doubt(one: deliveries.Listed, found: blasts.Blast, rule: blast.Doubt) -> Doubt:
    assert one.settled_at is not None, "whatever put it in doubt said when"
    return Doubt(
        seq=one.seq,
        email=one.email,
        provider=one.provider,
        variant=one.variant,
        state=one.state,
        attempts=one.attempts,
        settled_at=one.settled_at,
        code=one.code,
        reply=one.reply,
        resend_at=doubt.resend_at(
            rule,
            state=found.state,
            since=one.settled_at,
            expires_at=found.expires_at,
            was_resent=one.resent_at is not None,
        ),
    )


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
    if not emails:
        return found, doubts
    wanted = {subscriber.normalise(email).address: email for email in emails}
    chosen = {
        address: one
        for one in doubts
        if one.email and (address := subscriber.normalise(one.email).address) in wanted
    }
    for address, email in wanted.items():
        if address not in chosen:
            message = f"{email} is not in doubt: mailer blast doubt {name}"
            raise errors.NotFound(message)
    return found, list(chosen.values())


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
