"""Messages that came back and that a person must look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from mailer import errors
from mailer.core.event import Event
from mailer.store import database

SQL = database.load("reviews")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One message, and what a person said of it."""

    number: int
    at: datetime
    why: str
    recipient: str
    sender: str
    subject: str
    settled_at: datetime | None
    settled_by: str | None
    settled_as: str | None
    raw: bytes = b""  # only of one that was asked for


async def add(tx: database.Connection, given: Sequence[Event]) -> int:
    """Keep the strays of *given*; return how many were not known."""
    found = [(one, one.stray) for one in given if one.stray is not None]
    if not found:
        return 0
    return await tx.run(
        SQL["add"],
        ids=[one.id for one, _ in found],
        ats=[one.at for one, _ in found],
        whys=[stray.why for _, stray in found],
        recipients=[stray.to for _, stray in found],
        senders=[stray.sender for _, stray in found],
        subjects=[stray.subject for _, stray in found],
        raws=[stray.raw for _, stray in found],
    )


async def listed(
    tx: database.Connection, *, everything: bool, size: int
) -> list[Review]:
    """Return those that wait, or all, the newest first, without their bytes."""
    rows = await tx.rows(SQL["list"], everything=everything, size=size)
    return [Review(**row) for row in rows]


async def get(tx: database.Connection, number: int) -> Review:
    """Return one message, whole.  Raises NotFound."""
    row = await tx.row(SQL["get"], number=number)
    if row is None:
        raise errors.NotFound(f"there is no message {number} for review")
    return Review(**row)


async def settle(
    tx: database.Connection, number: int, *, what: str, actor: str, why: str | None
) -> None:
    """Say what a message was.  Raises Conflict when somebody did."""
    row = await tx.row(SQL["settle"], number=number, actor=actor, what=what)
    if row is None:
        found = await get(tx, number)
        message = f"message {number} was settled as {found.settled_as} by "
        raise errors.Conflict(message + f"{found.settled_by}")
    await tx.run(SQL["audit"], actor=actor, number=number, what=what, why=why)


async def count(tx: database.Connection) -> int:
    """Return how many wait for a person."""
    return cast("int", await tx.value(SQL["count"]))
