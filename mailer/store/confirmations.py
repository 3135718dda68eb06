"""Questions whether an address is a person's own, and what follows from the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from mailer.store import database

SQL = database.load("confirmations")

MOST = 2  # questions to an address: a stranger must not fill a mailbox through us
WITHIN = timedelta(days=30)
VALID = timedelta(days=14)  # a link that is found later says nothing any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A mail that is owed."""

    id: int
    email: str
    is_move: bool  # of a person who is known
    asked: Mapping[str, Any]


async def add(
    tx: database.Connection,
    *,
    event: UUID,
    subscriber: int | None,
    asked: Mapping[str, Any],
    at: datetime,
) -> bool:
    """Owe a question to ``asked["address"]``; False when it has had enough of them."""
    await tx.value(SQL["lock"], address=asked["address"])
    return bool(
        await tx.run(
            SQL["add"],
            event=event,
            subscriber=subscriber,
            address=asked["address"],
            email=asked["email"],
            asked=dict(asked),
            at=at,
            within=WITHIN,
            most=MOST,
        )
    )


async def claim(
    tx: database.Connection, *, lease: timedelta, tries: int, limit: int
) -> list[Question]:
    """Take what is due for a while: nobody else sends it meanwhile."""
    rows = await tx.rows(SQL["claim"], lease=lease, tries=tries, limit=limit)
    return [
        Question(
            id=row["id"],
            email=row["email"],
            is_move=row["subscriber_id"] is not None,
            asked=row["asked"],
        )
        for row in rows
    ]


async def sent(tx: database.Connection, id: int) -> None:
    """Write down that a question was sent."""
    await tx.run(SQL["sent"], id=id)


async def unsent(
    tx: database.Connection, id: int, *, error: str, wait: timedelta
) -> None:
    """Write down why a question was not sent, and try again later."""
    await tx.run(SQL["unsent"], id=id, error=error[:500], wait=wait)


async def confirm(tx: database.Connection, id: int, *, at: datetime) -> bool:
    """Do what was asked; False when it is too old, or done already."""
    row = await tx.row(SQL["confirm"], id=id, at=at, within=VALID)
    if row is None:
        return False
    asked = row["asked"]
    if row["subscriber_id"] is not None:
        await _move(tx, row["subscriber_id"], asked)
    else:
        await join(tx, asked, at=at)
    return True


async def join(
    tx: database.Connection, asked: Mapping[str, Any], *, at: datetime
) -> None:
    """Add a person who asked for our mail, and lift what they lift by that."""
    await tx.run(SQL["recall"], address=asked["address"])
    await tx.run(
        SQL["join"],
        at=at,
        **{
            name: asked.get(name)
            for name in (
                "address",
                "email",
                "domain",
                "provider",
                "first_name",
                "zip",
                "language",
            )
        },
    )
    topics = list(asked.get("topics", ()))
    await tx.run(SQL["welcome"], address=asked["address"], topics=topics)


async def _move(
    tx: database.Connection, subscriber: int, asked: Mapping[str, Any]
) -> None:
    place = {name: asked[name] for name in ("address", "email", "domain", "provider")}
    await tx.run(SQL["carry"], subscriber=subscriber, address=asked["address"])
    await tx.row(SQL["move"], subscriber=subscriber, **place)
