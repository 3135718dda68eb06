"""Chunks: what a worker leases, some hundred deliveries at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from mailer import errors
from mailer.core.delivery import BlastId, SubscriberId
from mailer.store import database, journals
from mailer.store.deliveries import Predicate

SQL = database.load("chunks")

_EXCLUDED = "/* excluded */ false"
# After a failover, until everybody has told what the database has lost.
GRACE = timedelta(seconds=12)
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


class Owed(NamedTuple):
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
    standing: journals.Standing,
) -> Chunk | None:
    """Take the first ready chunk for a lane; None when there is none.

    Its first *window* messages may be started at once.  None, too, from a database
    that knows less than *standing* of its owner, or is of another life.
    """
    row = await tx.row(
        SQL["lease"],
        provider=provider,
        pool=pool,
        owner=owner,
        lease=lease,
        window=window,
        identity=standing.identity,
        settled=standing.settled,
        grace=GRACE,
    )
    return None if row is None else _chunk(row)


def _chunk(row: database.Row) -> Chunk:
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
    return [Owed._make(row) for row in found]


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


async def divert(
    tx: database.Connection,
    chunk: Chunk,
    *,
    owner: str,
    left: Sequence[int],
    moved: Mapping[str, Sequence[int]],
    start_at: datetime,
) -> Chunk | None:
    """Hand rows of *chunk*, of which nothing was started, to other providers' lanes.

    Both in one statement's transaction: no row is ever in two chunks.  Returns what
    *left* makes of the chunk (done when that is nothing); None: it is not ours.
    """
    kept = sorted(left)
    first, last = (kept[0], kept[-1]) if kept else (chunk.first_seq, chunk.last_seq)
    found = await tx.value(
        SQL["keep_only"],
        id=chunk.id,
        owner=owner,
        epoch=chunk.epoch,
        left=kept,
        first=first,
        last=last,
    )
    if found is None:
        return None
    for provider, seqs in sorted(moved.items()):
        there = replace(chunk, provider=provider, attempt=chunk.attempt - 1)
        await retry(tx, there, start_at=start_at, seqs=seqs)
    return replace(chunk, first_seq=first, last_seq=last, seqs=tuple(kept))


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


async def outranked(tx: database.Connection, *, owner: str) -> set[int]:
    """Return the chunks of *owner* whose lanes have more urgent work waiting."""
    return {row["id"] for row in await tx.rows(SQL["outranked"], owner=owner)}


async def reclaim(tx: database.Connection, *, owner: str) -> int:
    """Give back the chunks of a process that is known to be dead; return how many."""
    return await tx.run(SQL["reclaim"], owner=owner)


async def let_go(tx: database.Connection, *, owner: str, known: Sequence[Chunk]) -> int:
    """Give back what *owner* was leased and does not know of; return how many.

    Only what has lapsed: who holds a chunk knows of it long before.
    """
    return await tx.run(SQL["let_go"], owner=owner, known=[chunk.id for chunk in known])


async def split(tx: database.Connection, *, limit: int) -> tuple[int, int]:
    """Take back what lapsed owners cannot have started; return chunks lost and new.

    Any number of processes may do it at once.
    """
    row = await tx.row(SQL["split"], limit=limit)
    assert row is not None
    return row["heads"], row["tails"]


async def overdue(
    tx: database.Connection, *, patience: timedelta, limit: int
) -> list[Chunk]:
    """Return lost chunks whose leases ended *patience* ago, or longer."""
    rows = await tx.rows(SQL["overdue"], patience=patience, limit=limit)
    return [_chunk(row) for row in rows]


async def held_by(tx: database.Connection, owner: str) -> list[Chunk]:
    """Return what *owner* holds, also what is lost."""
    return [_chunk(row) for row in await tx.rows(SQL["held_by"], owner=owner)]


async def unanswered(tx: database.Connection, chunk: Chunk) -> list[int]:
    """Return which messages of *chunk* may have been started and have no end."""
    rows = await tx.rows(
        SQL["unanswered"],
        blast=chunk.blast_id,
        first=chunk.first_seq,
        last=chunk.last_seq,
        through=chunk.started_through,
        seqs=chunk.seqs,
        attempt=chunk.attempt,
    )
    return [row["seq"] for row in rows]


async def end_lost(tx: database.Connection, chunk: Chunk) -> None:
    """End a lost chunk.  Raises Conflict when its owner, or its journal, was faster."""
    if not await tx.run(SQL["end_lost"], id=chunk.id, epoch=chunk.epoch):
        message = f"chunk {chunk.id} is not lost any more"
        raise errors.Conflict(message)


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
    tx: database.Connection,
    blast: BlastId,
    seqs: Sequence[int],
    *,
    start_at: datetime | None = None,
) -> None:
    """Have rows tried again that are in no chunk: at *start_at*, or now."""
    await tx.run(SQL["gather"], blast=blast, seqs=list(seqs), start_at=start_at)
