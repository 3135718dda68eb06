"""The people: read one by one or by chunk, merged in batches by imports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from mailer import errors
from mailer.core.delivery import SubscriberId
from mailer.core.preference import Mode
from mailer.core.subscriber import NO_GIVING, Giving, Subscriber
from mailer.store import database

SQL = database.load("subscribers")

_PIECE = 1 << 18  # bytes of COPY handed to the connection at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a batch changed: how many people are new, how many differ now."""

    created: int
    updated: int


async def get(tx: database.Connection, *, address: str) -> Subscriber:
    """Return the person with this normalised address.  Raises NotFound."""
    row = await tx.row(SQL["get"], address=address)
    if row is None:
        raise errors.NotFound(f"no subscriber has the address {address}")
    return _subscriber(row)


async def by_ids(tx: database.Connection, ids: Sequence[int]) -> list[Subscriber]:
    """Return those of *ids* who exist, in the order of their ids."""
    return [_subscriber(row) for row in await tx.rows(SQL["by_ids"], ids=ids)]


async def count(tx: database.Connection) -> int:
    """Return how many people there are."""
    return cast("int", await tx.value(SQL["count"]))


async def history(
    tx: database.Connection, *, subscriber: SubscriberId
) -> Mapping[str, int]:
    """Return how many messages a person got, and how many had an effect."""
    row = await tx.row(SQL["history"], subscriber=subscriber)
    assert row is not None  # an aggregate always has one
    return dict(row)


def _subscriber(row: database.Row) -> Subscriber:
    giving = NO_GIVING
    if row["gift_count"] is not None:
        giving = Giving(
            count=row["gift_count"],
            sum=row["gift_sum"],
            highest=row["highest"],
            latest=row["latest"],
            latest_at=row["latest_at"],
            recurring=row["recurring"],
        )
    return Subscriber(
        id=SubscriberId(row["id"]),
        email=row["email"],
        address=row["address"],
        domain=row["domain"],
        provider=row["provider"],
        signed_up_at=row["signed_up_at"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        street=row["street"],
        city=row["city"],
        state=row["state"],
        zip=row["zip"],
        country=row["country"],
        time_zone=row["time_zone"],
        language=row["language"],
        attributes=row["attributes"],
        tracking=None if row["tracking"] is None else Mode(row["tracking"]),
        giving=giving,
    )


def encode(rows: Iterable[Sequence[str]]) -> bytes:
    """Write rows as COPY text, where an empty cell is NULL.

    The cells hold no tab or line break: `core.column` saw to that.
    """
    return "".join(map(_line, rows)).encode()


def _line(row: Sequence[str]) -> str:
    line = "\t".join(row)
    return line.replace("\\", "\\\\") + "\n"


async def merge(
    tx: database.Connection, *, columns: Sequence[str], data: bytes
) -> Merged:
    """Insert or change the people of one batch, each at most once in it.

    *data* is of `encode`.  Unknown cells erase nothing, suppressions are not
    touched, and the same batch again changes nothing.
    """
    await tx.value(SQL["lock_import"])
    await _stage(tx, columns, data)
    merged = await _merge(tx, columns)
    await tx.run(SQL["unstage"])
    return merged


async def _stage(tx: database.Connection, columns: Sequence[str], data: bytes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]

    await tx.run(SQL["stage"])
    await tx.raw.copy_to_table(
        "incoming", source=pieces(), columns=columns, format="text", null=""
    )
    await tx.row(SQL["probe_by_index"])


async def _merge(tx: database.Connection, columns: Sequence[str]) -> Merged:
    row = await tx.row(SQL["merge"], now=await tx.value(SQL["now"]))
    assert row is not None  # an aggregate always has one
    created = row["created"] or []
    updated = set(row["updated"] or [])
    if not _GIVING.isdisjoint(columns):
        updated.update(await tx.value(SQL["merge_giving"]) or [])
        updated.difference_update(created)
    return Merged(created=len(created), updated=len(updated))


_GIVING = frozenset(
    [
        "gift_count",
        "gift_sum",
        "highest_gift",
        "latest_gift",
        "latest_gift_at",
        "recurring",
    ]
)


@asynccontextmanager
async def rehearsed(tx: database.Connection) -> AsyncIterator[None]:
    """Let `rehearse` work on copies of the people that its batches are about.

    The real tables are only read, nobody is locked, and ids are not used up.
    """
    for name in ("keep_real", "keep_real_giving", "shadow", "shadow_giving"):
        await tx.run(SQL[name])
    await tx.run(SQL["shadow_ids"])
    await tx.run(SQL["forget_plans"])
    yield
    await tx.run(SQL["drop_real"])


async def rehearse(
    tx: database.Connection, *, columns: Sequence[str], data: bytes
) -> Merged:
    """Do what `merge` would do, inside `rehearsed`."""
    await _stage(tx, columns, data)
    await tx.run(SQL["copy_known"])
    await tx.run(SQL["copy_known_giving"])
    merged = await _merge(tx, columns)
    await tx.run(SQL["unstage"])
    return merged
