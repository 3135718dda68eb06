"""Segments of a workspace: who is in them, and what they ask of the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailer import settings
from mailer.core import segment
from mailer.store import database, segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A segment as a list shows it."""

    name: str
    describes: str
    sentence: str
    file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many people a segment has."""

    name: str
    total: int
    mailable: int
    providers: tuple[segments.Count, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a segment means: a sentence, and the SQL with its parameters."""

    name: str
    describes: str
    sentence: str
    sql: str
    parameters: tuple[str, ...]
    counted: Counted


def load(root: Path) -> dict[str, segment.Segment]:
    """Return every segment of the workspace at *root*, the built-in one first.

    Raises Invalid with all problems of all files.
    """
    documents = settings.segments(root)
    found = {
        name: segment.parse(name, one, file=str(settings.SEGMENTS / f"{name}.toml"))
        for name, one in documents.items()
    }
    return {**segment.BUILT_IN, **found}


def listed(root: Path) -> list[Listed]:
    """List the segments of the workspace at *root*."""
    return [
        Listed(
            name=one.name,
            describes=one.describes,
            sentence=segment.describe(one),
            file=one.file,
        )
        for one in load(root).values()
    ]


async def count(pool: database.Pool, *, root: Path, name: str) -> Counted:
    """Count the people of the segment *name*.  NotFound when there is none."""
    known = load(root)
    chosen = segment.get(name, known)
    async with database.transaction(pool) as tx:
        found = await segments.count(tx, segment.predicate(chosen, known))
    return Counted(
        name=name,
        total=sum(one.total for one in found),
        mailable=sum(one.mailable for one in found),
        providers=tuple(found),
    )


async def sample(
    pool: database.Pool, *, root: Path, name: str, size: int, seed: int
) -> list[segments.Person]:
    """Return some people of the segment *name*.  NotFound when there is none."""
    known = load(root)
    predicate = segment.predicate(segment.get(name, known), known)
    async with database.transaction(pool) as tx:
        return await segments.sample(tx, predicate, size=size, seed=seed)


async def explain(pool: database.Pool, *, root: Path, name: str) -> Explained:
    """Say what the segment *name* means and how many people it has."""
    known = load(root)
    chosen = segment.get(name, known)
    predicate = segment.predicate(chosen, known)
    return Explained(
        name=name,
        describes=chosen.describes,
        sentence=segment.describe(chosen),
        sql=predicate.sql,
        parameters=tuple(str(one) for one in predicate.parameters),
        counted=await count(pool, root=root, name=name),
    )
