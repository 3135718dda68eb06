"""Chunks: what a worker leases, some hundred deliveries at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from mailer.core.delivery import BlastId, SubscriberId
from mailer.store import database
from mailer.store.deliveries import Predicate

SQL = database.load("chunks")

_EXCLUDED = "/* excluded */ false"
ROWS_PARAMETERS = len(SQL["rows"].names)


class State(StrEnum):
    """Where a chunk stands."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A lease on some deliveries of one blast, provider and round."""

    id: int
    blast_id: BlastId
    round: int
    provider: str
    pool: str
    attempt: int
    first_seq: int
    last_seq: int
    seqs: tuple[int, ...] | None
    epoch: int
    started_through: int  # seqs up to here may be started


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What becomes of a leased chunk: done, ready again, or leased and further."""

    chunk: Chunk
    state: State
    wait: timedelta = timedelta(0)  # until it may be leased again
    through: int | None = None  # its new `started_through`


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A delivery of a chunk, and whether it may still go out."""

    seq: int
    attempts: int
    dated_at: datetime | None
    variant: int
    subscriber_id: SubscriberId
    suppressed: bool
    excluded: bool


async def lease(
    tx: database.Connection,
    *,
    provider: str,
    pool: str,
    owner: str,
    lease: timedelta,
    window: int,
) -> Chunk | None:
    """Take the first ready chunk for a lane; None when there is none.

    Its first *window* messages may be started at once.
    """
    row = await tx.row(
        SQL["lease"],
        provider=provider,
        pool=pool,
        owner=owner,
        lease=lease,
        window=window,
    )
    if row is None:
        return None
    seqs = row["seqs"]
    return Chunk(**{**row, "seqs": None if seqs is None else tuple(seqs)})


async def rows(
    tx: database.Connection, chunk: Chunk, *, topic: str, excluded: Predicate | None
) -> list[Owed]:
    """Return what is still owed of *chunk*, in sending order.

    The parameters of *excluded* are numbered from `ROWS_PARAMETERS` + 1.
    """
    query = SQL["rows"]
    assert _EXCLUDED in query.sql
    sql = query.sql
    more: Sequence[object] = ()
    if excluded is not None:
        sql = sql.replace(_EXCLUDED, f"s.id IS NOT NULL AND ({excluded.sql})")
        more = excluded.parameters
    given = query.arguments(
        {
            "blast": chunk.blast_id,
            "first": chunk.first_seq,
            "last": chunk.last_seq,
            "seqs": chunk.seqs,
            "attempt": chunk.attempt,
            "topic": topic,
        }
    )
    found = await tx.raw.fetch(sql, *given, *more)
    return [Owed(**row) for row in found]


async def move(
    tx: database.Connection, moves: Sequence[Move], *, owner: str
) -> set[tuple[int, int]]:
    """Do *moves*, one a chunk; return which (chunk, epoch) were still *owner*'s."""
    rows = await tx.rows(
        SQL["move"],
        owner=owner,
        ids=[one.chunk.id for one in moves],
        epochs=[one.chunk.epoch for one in moves],
        states=[one.state.value for one in moves],
        waits=[one.wait for one in moves],
        throughs=[one.through for one in moves],
    )
    return {(row["id"], row["epoch"]) for row in rows}


async def retry(
    tx: database.Connection,
    chunk: Chunk,
    *,
    start_at: datetime,
    seqs: Sequence[int],
) -> None:
    """Gather deferred rows of *chunk* into one that is due at *start_at*."""
    await tx.run(
        SQL["retry"],
        blast=chunk.blast_id,
        round=chunk.round,
        provider=chunk.provider,
        pool=chunk.pool,
        start_at=start_at,
        attempt=chunk.attempt + 1,
        first=min(seqs),
        last=max(seqs),
        seqs=sorted(seqs),
    )


async def renew(
    tx: database.Connection, held: Sequence[Chunk], *, owner: str, lease: timedelta
) -> set[tuple[int, int]]:
    """Renew the leases of *owner* on *held*; return which (chunk, epoch) it still has.

    A lease that has run out is not renewed: somebody may be taking it.
    """
    rows = await tx.rows(
        SQL["renew"],
        owner=owner,
        lease=lease,
        ids=[chunk.id for chunk in held],
        epochs=[chunk.epoch for chunk in held],
    )
    return {(row["id"], row["epoch"]) for row in rows}


async def reclaim(tx: database.Connection, *, owner: str) -> int:
    """Give back the chunks of a process that is known to be dead; return how many."""
    return await tx.run(SQL["reclaim"], owner=owner)


async def left(tx: database.Connection, blast: BlastId) -> int:
    """Count the chunks of *blast* that are not done."""
    found: int = await tx.value(SQL["left"], blast=blast)
    return found


async def next_start(tx: database.Connection, blast: BlastId) -> datetime | None:
    """Return when the next ready chunk of *blast* is due; None without one."""
    found: datetime | None = await tx.value(SQL["next_start"], blast=blast)
    return found


async def row(
    tx: database.Connection,
    chunk: Chunk,
    seq: int,
    *,
    topic: str,
    excluded: Predicate | None,
) -> Owed | None:
    """Return one delivery of *chunk* as it is now; None when it is not owed."""
    one = replace(chunk, seqs=(seq,))
    found = await rows(tx, one, topic=topic, excluded=excluded)
    return found[0] if found else None


async def gather(
    tx: database.Connection, blast: BlastId, seqs: Sequence[int], *, wait: timedelta
) -> None:
    """Have deferred rows tried again after *wait* whose retry chunk was lost."""
    await tx.run(SQL["gather"], blast=blast, seqs=list(seqs), wait=wait)
