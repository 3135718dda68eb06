"""Blasts, their variants, links and approved content; every move is audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer import errors
from mailer.core import blast
from mailer.core.delivery import BlastId
from mailer.store import database

SQL = database.load("blasts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blast:
    """A row of the blast table."""

    id: BlastId
    name: str
    state: blast.State
    resumes: blast.State | None
    topic: str
    file: str
    hash: str
    proofed_hash: str | None
    preflight_hash: str | None
    approved_hash: str | None
    send_at: datetime | None
    expires_at: datetime | None
    priority: int
    seed: int | None
    reason: str | None
    created_at: datetime
    launched_at: datetime | None
    ended_at: datetime | None

    @property
    def object(self) -> str:
        """Return its name in the audit."""
        return f"blast {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a worker needs to know of a blast of which messages may start."""

    id: BlastId
    name: str
    approved_hash: str
    topic: str
    expires_at: datetime
    priority: int
    launched_at: datetime
    asked_at: datetime  # by the database's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of an object's history."""

    at: datetime
    actor: str
    action: str
    before: str | None
    after: str | None
    why: str | None


def _blast(row: database.Row) -> Blast:
    resumes = row["resumes"]
    return Blast(
        **{
            **row,
            "state": blast.State(row["state"]),
            "resumes": blast.State(resumes) if resumes else None,
        }
    )


async def insert(tx: database.Connection, spec: blast.Spec, **given: Any) -> BlastId:
    """Add *spec* as a draft and return its number.  Conflict: the name is taken."""
    found: BlastId | None = await tx.value(
        SQL["insert"],
        name=spec.name,
        topic=spec.topic,
        priority=spec.priority,
        send_at=spec.send_at,
        **given,
    )
    if found is None:
        message = f"there is a blast {spec.name} already"
        raise errors.Conflict(message)
    return found


async def get(tx: database.Connection, name: str) -> Blast:
    """Return the blast of that name or number.  NotFound: there is none."""
    row = await tx.row(SQL["get"], name=name)
    if row is None:
        message = f"there is no blast {name}: mailer blast list"
        raise errors.NotFound(message)
    return _blast(row)


async def everything(tx: database.Connection) -> list[Blast]:
    """Return every blast, the newest first."""
    return [_blast(row) for row in await tx.rows(SQL["all"])]


async def move(
    tx: database.Connection,
    found: Blast,
    move: blast.Move,
    *,
    actor: str,
    why: str | None = None,
) -> blast.State:
    """Move *found* on and write it into the audit.

    Raises Conflict when the move is not allowed, or when somebody else moved it
    since it was read.
    """
    after = blast.after(move, state=found.state, resumes=found.resumes, name=found.name)
    done = await tx.value(
        SQL["move"],
        id=found.id,
        before=found.state,
        after=after,
        resumes=found.state if move is blast.Move.PAUSE else None,
        why=why,
    )
    if done is None:
        message = f"blast {found.name} is not {found.state} any more: look again"
        raise errors.Conflict(message)
    await audit(
        tx,
        actor=actor,
        object=found.object,
        action=move.value,
        before=found.state.value,
        after=after.value,
        why=why,
    )
    return after


async def audit(
    tx: database.Connection,
    *,
    actor: str,
    object: str,
    action: str,
    before: str | None = None,
    after: str | None = None,
    why: str | None = None,
) -> None:
    """Write down who did what, and why."""
    await tx.run(
        SQL["audit"],
        actor=actor,
        object=object,
        action=action,
        before=before,
        after=after,
        why=why,
    )


async def history(tx: database.Connection, found: Blast) -> list[Entry]:
    """Return what was done to a blast, in order."""
    return [Entry(**row) for row in await tx.rows(SQL["history"], object=found.object)]


async def edit(
    tx: database.Connection,
    found: Blast,
    spec: blast.Spec,
    *,
    hash: str,
    expires_at: datetime | None,
) -> None:
    """Take over what the files say now."""
    await tx.run(
        SQL["edit"],
        id=found.id,
        topic=spec.topic,
        hash=hash,
        send_at=spec.send_at,
        expires_at=expires_at,
        priority=spec.priority,
    )


async def keep_variants(
    tx: database.Connection, id: BlastId, arms: Sequence[tuple[str, str]]
) -> None:
    """Replace the variants by *arms*: name and subject, in order."""
    await tx.run(SQL["drop_variants"], id=id)
    await tx.many(
        SQL["insert_variant"],
        [
            {"blast": id, "position": position, "name": name, "subject": subject}
            for position, (name, subject) in enumerate(arms, 1)
        ],
    )


async def keep_links(
    tx: database.Connection, id: BlastId, links: Sequence[tuple[int, int, str]]
) -> None:
    """Replace the links by *links*: index, variant, destination."""
    await tx.run(SQL["drop_links"], id=id)
    await tx.many(
        SQL["insert_link"],
        [
            {"blast": id, "index": index, "variant": variant, "url": url}
            for index, variant, url in links
        ],
    )


async def mark_proofed(tx: database.Connection, found: Blast) -> None:
    """Remember that exactly this content was proofed."""
    await tx.run(SQL["mark_proofed"], id=found.id, hash=found.hash)


async def mark_preflight(tx: database.Connection, found: Blast) -> None:
    """Remember that exactly this content passed the preflight."""
    await tx.run(SQL["mark_preflight"], id=found.id, hash=found.hash)


async def keep(tx: database.Connection, hash: str, body: Any) -> None:
    """Keep content under its hash; the same content is kept once."""
    await tx.run(SQL["keep_content"], hash=hash, body=body)


async def approve(tx: database.Connection, found: Blast, *, body: Any) -> None:
    """Freeze *body* as what will be sent.  Conflict: the files have changed."""
    await keep(tx, found.hash, body)
    if await tx.value(SQL["mark_approved"], id=found.id, hash=found.hash) is None:
        message = f"blast {found.name} was edited meanwhile: proof it again"
        raise errors.Conflict(message)


async def schedule(
    tx: database.Connection, found: Blast, *, send_at: datetime, expires_at: datetime
) -> None:
    """Set when it starts and when it ends."""
    await tx.run(
        SQL["mark_scheduled"], id=found.id, send_at=send_at, expires_at=expires_at
    )


async def content(tx: database.Connection, hash: str) -> Any:
    """Return the approved content of that hash.  NotFound: there is none."""
    body = await tx.value(SQL["content"], hash=hash)
    if body is None:
        message = f"there is no approved content {hash[:12]}"
        raise errors.NotFound(message)
    return body


async def due(tx: database.Connection) -> list[str]:
    """Return the names of the blasts that should start now."""
    return [row["name"] for row in await tx.rows(SQL["due"])]


async def late(tx: database.Connection) -> list[str]:
    """Return the names of the blasts whose time is over."""
    return [row["name"] for row in await tx.rows(SQL["late"])]


async def doubtful(tx: database.Connection) -> list[str]:
    """Return the names of the blasts that have doubts and send them again."""
    return [row["name"] for row in await tx.rows(SQL["doubtful"])]


async def finished(tx: database.Connection) -> list[str]:
    """Return the names of the blasts of which nothing is left to send."""
    return [row["name"] for row in await tx.rows(SQL["finished"])]


async def running(tx: database.Connection) -> list[Running]:
    """Return the blasts of which messages may start now."""
    return [Running(**row) for row in await tx.rows(SQL["running"])]


async def unclosed(tx: database.Connection) -> list[str]:
    """Return the names of the ended blasts of which messages are still owed."""
    return [row["name"] for row in await tx.rows(SQL["unclosed"])]


async def clock(tx: database.Connection) -> datetime:
    """Return the time by the database's clock."""
    found: datetime = await tx.value(SQL["clock"])
    return found


async def drop(tx: database.Connection, found: Blast) -> None:
    """Forget a draft of which nothing could be read."""
    await tx.run(SQL["drop"], id=found.id)


async def launching(tx: database.Connection, found: Blast, *, seed: int) -> int:
    """Draw the seed of the split, once for good; return the one that holds."""
    held: int = await tx.value(SQL["draw"], id=found.id, seed=seed)
    return held
