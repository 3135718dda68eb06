"""What people chose about our mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailer.core.preference import Choice, Mode
from mailer.store import database

SQL = database.load("preferences")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands with a person, as the page shows it."""

    email: str
    language: str | None
    topic: str | None  # of the blast that led here
    unwanted: frozenset[str]  # topics
    none: bool  # of no topic anything
    every: int  # days; 0 is no limit
    paused_until: datetime | None
    tracking: Mode | None


async def of(
    tx: database.Connection, *, subscriber: int, blast: int
) -> Standing | None:
    """Return how it stands with a person, or None when nobody has that number."""
    row = await tx.row(SQL["of"], subscriber=subscriber, blast=blast)
    if row is None:
        return None
    return Standing(
        email=row["email"],
        language=row["language"],
        topic=row["topic"],
        unwanted=frozenset(row["unwanted"]),
        none=row["none"],
        every=0 if row["every"] is None else row["every"].days,
        paused_until=row["paused_until"],
        tracking=None if row["tracking"] is None else Mode(row["tracking"]),
    )


async def choose(
    tx: database.Connection, *, subscriber: int, choice: Choice, at: datetime
) -> None:
    """Do what a person chose at that instant."""
    if choice.none:
        await tx.run(SQL["leave"], subscriber=subscriber, topics=[None])
    wanted = [name for name, is_wanted in choice.topics.items() if is_wanted]
    unwanted = [name for name, is_wanted in choice.topics.items() if not is_wanted]
    if wanted:
        await tx.run(SQL["come_back"], subscriber=subscriber, topics=[None, *wanted])
    if unwanted:
        await tx.run(SQL["leave"], subscriber=subscriber, topics=unwanted)
    if choice.pause == 0:
        await tx.run(SQL["go_on"], subscriber=subscriber)
    elif choice.pause is not None:
        await tx.run(SQL["pause"], subscriber=subscriber, days=choice.pause, at=at)
    if choice.every is not None or choice.tracking is not None:
        await tx.run(
            SQL["save"],
            subscriber=subscriber,
            every=choice.every,
            tracking=choice.tracking,
            at=at,
        )
    await tx.run(SQL["tell"], subscriber=subscriber)  # also of what was only changed


async def come_back(tx: database.Connection, *, subscriber: int, blast: int) -> int:
    """Take back an unsubscribe that came by *blast*; return how many that lifts."""
    return await tx.run(SQL["come_back_to"], subscriber=subscriber, blast=blast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What a person was sent."""

    blast: int
    name: str
    topic: str
    hash: str  # of the approved content
    variant: int


async def got(tx: database.Connection, *, subscriber: int, blast: int) -> Got | None:
    """Return what a person was sent by *blast*, or None when nothing was."""
    row = await tx.row(SQL["got"], subscriber=subscriber, blast=blast)
    if row is None:
        return None
    return Got(
        blast=row["id"],
        name=row["name"],
        topic=row["topic"],
        hash=row["approved_hash"],
        variant=row["variant"],
    )
