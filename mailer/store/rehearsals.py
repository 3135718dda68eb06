"""The database of a rehearsal: one of its own, which goes with it.

A rehearsal writes a ledger, marks people as mailed and suppresses who bounces: all of
that in a PostgreSQL that was started for it, in a folder that its keeper removes when
the rehearsal ends, however it ends.  The real database is only read.  A copy of the
blast in the real one would be one forgotten WHERE away from counting as real: in
segments, reports, lanes, alarms; and CREATE DATABASE … TEMPLATE is not possible while
anybody is connected, nor allowed to everybody.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mailer.core.delivery import BlastId, SubscriberId
from mailer.store import database, embedded, keeper, postmaster

SQL = database.load("rehearsals")

FOLDER = "rehearsal-"
# Nothing of it has to survive a power cut.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "4GB",
}
PATIENCE = 10.0  # seconds in which a keeper ends; later is all right, too
TICK = 0.05
_PIECES = 16  # of COPY that wait to be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a blast at one provider; the first tries were made between."""

    provider: str
    people: int
    sent: int
    bounced: int
    in_doubt: int
    failed: int
    expired: int
    held_out: int
    open: int  # still owed
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Somebody for whom no message could be made, and why."""

    seq: int
    email: str
    variant: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a provider said, and how often it was the last word."""

    provider: str
    state: str
    reply: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A lane that is closed, until when and why."""

    provider: str
    not_before: datetime
    reason: str


@asynccontextmanager
async def opened(parent: Path) -> AsyncIterator[tuple[Path, str]]:
    """Yield a folder in *parent* and the address of a server that lives there.

    Both are gone afterwards; after kill -9 the keeper sees to that.  Removes first
    what a machine that went down has left.  Raises Unavailable.
    """
    await asyncio.to_thread(sweep, parent)
    folder = parent / f"{FOLDER}{secrets.token_hex(4)}"
    with ExitStack() as stack:
        server = embedded.using(folder, settings=SETTINGS, linger=0, temporary=True)
        loop = asyncio.get_running_loop()
        entering = loop.run_in_executor(None, stack.enter_context, server)
        try:
            url = await asyncio.shield(entering)
        except asyncio.CancelledError:
            await asyncio.wait([entering])
            raise
        yield folder, url
    await asyncio.to_thread(_gone, folder)


def _gone(folder: Path) -> None:
    """Wait until the keeper has stopped its server and removed *folder*."""
    end = time.monotonic() + PATIENCE
    while folder.exists() and time.monotonic() < end:
        time.sleep(TICK)


def sweep(parent: Path) -> None:
    """Remove the folders of rehearsals that nobody uses any more."""
    for folder in sorted(parent.glob(f"{FOLDER}*")):
        place = postmaster.Place(folder)
        if keeper.is_kept(place):
            continue
        alone = keeper.locked(place.users, fcntl.LOCK_EX)
        if alone is not None:
            os.close(alone)
            shutil.rmtree(folder, ignore_errors=True)


async def copy_people(
    real: database.Connection,
    scratch: database.Connection,
    ids: Sequence[SubscriberId],
) -> None:
    """Copy people and what they gave from one database into another."""
    for table in ("subscriber", "giving"):
        query = SQL["people" if table == "subscriber" else table]
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES)
        async with asyncio.TaskGroup() as both:
            both.create_task(_read(real, query, ids, pieces))
            both.create_task(_write(scratch, table, columns(query), pieces))


def columns(query: database.Query) -> list[str]:
    """Return what *query* selects, in order."""
    listed = query.sql.partition("SELECT")[2].partition("FROM")[0]
    return [one.strip() for one in listed.split(",")]


async def _read(
    tx: database.Connection,
    query: database.Query,
    ids: Sequence[SubscriberId],
    pieces: asyncio.Queue[bytes | None],
) -> None:
    await tx.raw.copy_from_query(
        query.sql, list(ids), output=pieces.put, format="binary"
    )
    await pieces.put(None)


async def _write(
    tx: database.Connection,
    table: str,
    names: Sequence[str],
    pieces: asyncio.Queue[bytes | None],
) -> None:
    async def source() -> AsyncIterator[bytes]:
        while (piece := await pieces.get()) is not None:
            yield piece

    await tx.raw.copy_to_table(table, source=source(), columns=names, format="binary")


async def number_next(tx: database.Connection, id: BlastId) -> None:
    """Have the next blast be number *id*."""
    await tx.value(SQL["number"], id=id)


async def hurry(tx: database.Connection, *, speed: float) -> None:
    """Have lanes live by a clock that runs *speed* times as fast as the real one."""
    await tx.raw.execute(await tx.value(SQL["time"], speed=speed))


async def analyze(tx: database.Connection) -> None:
    """Have the planner know what was copied."""
    await tx.run(SQL["analyze"])


async def tried(tx: database.Connection, blast: BlastId) -> int:
    """Return how many of *blast* have their end."""
    found: int = await tx.value(SQL["tried"], blast=blast)
    return found


async def is_left(tx: database.Connection, blast: BlastId, *, tries: int) -> bool:
    """Tell whether something of *blast* was tried less than *tries* times."""
    return bool(await tx.value(SQL["untried"], blast=blast, tries=tries))


async def outcomes(tx: database.Connection, blast: BlastId) -> list[Outcome]:
    """Return what came of *blast*, the largest provider first."""
    return [Outcome(**row) for row in await tx.rows(SQL["outcomes"], blast=blast)]


async def failures(
    tx: database.Connection, blast: BlastId, *, after: int, limit: int
) -> list[Failed]:
    """Name the next for whom no message could be made."""
    rows = await tx.rows(SQL["failures"], blast=blast, after=after, limit=limit)
    return [Failed(**row) for row in rows]


async def replies(tx: database.Connection, blast: BlastId, *, limit: int) -> list[Said]:
    """Return what was said where a message was not taken, the most frequent first."""
    rows = await tx.rows(SQL["replies"], blast=blast, limit=limit)
    return [Said(**row) for row in rows]


async def closed(tx: database.Connection) -> list[Closed]:
    """Return the lanes that are closed."""
    return [Closed(**row) for row in await tx.rows(SQL["closed"])]
