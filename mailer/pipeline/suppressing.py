"""Say who must not be mailed, and lift it where that may be lifted.

Every change is audited with who made it.  Lists are only ever added to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TextIO

from mailer import errors
from mailer.core import cell, column, sheet, suppression
from mailer.core.suppression import Reason, Suppression
from mailer.errors import Problem
from mailer.store import blasts, database, suppressions

BATCH = 10_000  # entries of a transaction
PAGE = 10_000  # entries read at once for an export
SAMPLES = 10  # refused rows that the result shows

COLUMNS = ("address", "topic", "reason", "source", "note", "created_at", "expires_at")

# What --map and synonyms call an address in a file of people; here it has one more.
_ADDRESSES = frozenset(
    slug for slug, known in column.SYNONYMS.items() if known is column.Field.EMAIL
) | {"address"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Why an address is suppressed, and on what."""

    reason: Reason = Reason.MANUAL
    topic: str | None = None  # None: every topic
    note: str | None = None

    def __post_init__(self) -> None:
        if self.topic is not None:
            suppression.topic(self.topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an entry is now, and whether that is new."""

    entry: Suppression
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Some entries, and how many there are."""

    total: int
    entries: tuple[Suppression, ...]


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of the rows of a list: each is counted once."""

    file: str
    rows: int = 0
    added: int = 0
    strengthened: int = 0  # they had a weaker reason before
    known: int = 0
    refused: int = 0
    refused_file: str | None = None
    samples: list[sheet.Refusal] = field(default_factory=list)


async def add(pool: database.Pool, text: str, *, scope: Scope, actor: str) -> Changed:
    """Suppress an address or an ``@domain``.  A weaker reason changes nothing.

    Raises Invalid.
    """
    address = suppression.key(text)
    wanted = suppressions.Wanted(
        address=address, topic=scope.topic, reason=scope.reason, note=scope.note
    )
    async with database.transaction(pool) as tx:
        added = await suppressions.add(tx, [wanted], source=actor)
        await suppressions.audit(tx, added, actor=actor, why=scope.note)
        entry = await suppressions.get(tx, address=address, topic=scope.topic)
        assert entry is not None  # it was there, or has just been added
        return Changed(entry=entry, changed=bool(added))


async def remove(
    pool: database.Pool,
    text: str,
    *,
    topic: str | None,
    actor: str,
    confirmed: str | None = None,
) -> Suppression:
    """Lift one entry and return what it was.

    What the person said, an unsubscribe or a complaint, is lifted only with
    *confirmed*: where they said the opposite.  Raises NotFound, Conflict, Invalid.
    """
    address = suppression.key(text)
    async with database.transaction(pool) as tx:
        entry = await suppressions.get(tx, address=address, topic=topic)
        if entry is None:
            scope = f"on {topic}" if topic else "on every topic"
            raise errors.NotFound(f"{address} is not suppressed {scope}")
        if entry.reason.needs_confirmation and not (confirmed or "").strip():
            message = (
                f"{address} is suppressed by {entry.reason}: only the person lifts "
                'that; if they did, say where: --confirmed "signed up again at …"'
            )
            raise errors.Conflict(message)
        await suppressions.remove(tx, address=address, topic=topic)
        await suppressions.audit_removal(tx, entry, actor=actor, why=confirmed)
        return entry


async def listing(
    pool: database.Pool,
    *,
    search: str | None = None,
    reason: Reason | None = None,
    limit: int = 50,
) -> Listing:
    """Return the newest entries whose address or note holds *search*."""
    wanted = search.strip().lower() if search else None
    async with database.transaction(pool) as tx:
        return Listing(
            total=await suppressions.count(tx, search=wanted, reason=reason),
            entries=tuple(
                await suppressions.newest(tx, search=wanted, reason=reason, size=limit)
            ),
        )


async def export(
    pool: database.Pool, write: Callable[[str], object], *, actor: str
) -> int:
    """Write every entry as CSV, harmless for spreadsheets; return how many.

    An import takes what an export wrote.  Who took the list away is audited first.
    """
    async with database.transaction(pool) as tx:
        total = await suppressions.count(tx)
        await blasts.audit(
            tx,
            actor=actor,
            object="suppressions",
            action="export",
            after=f"{total} entries",
        )
    write(sheet.line(COLUMNS))
    after = exported = 0
    while True:
        async with database.transaction(pool) as tx:
            after, entries = await suppressions.page(tx, after=after, size=PAGE)
        if not entries:
            return exported
        for entry in entries:
            write(sheet.line(getattr(entry, name) for name in COLUMNS))
        exported += len(entries)


async def import_csv(
    pool: database.Pool,
    path: Path,
    *,
    actor: str,
    scope: Scope,
    encoding: str = "utf-8",
) -> Imported:
    """Add every address of a list, known here or not; nothing is ever lifted.

    A file of addresses alone needs no header.  Columns reason, topic and note win
    over *scope*.  Refused rows are written beside the input.  Raises NotFound where
    there is no file, Invalid where it is none.
    """
    if not _is_file(path):
        raise errors.NotFound(f"{path}: no such file")
    found = Imported(file=sheet.label(path))
    beside = path.with_name(f"{path.stem}.refused.csv")
    source = sheet.label(path.name)
    refused = sheet.Refusals(lambda: _created(beside))
    entries = _read(path, scope=scope, encoding=encoding)
    try:
        while batch := list(islice(entries, BATCH)):
            wanted = [one for one in batch if isinstance(one, suppressions.Wanted)]
            refusals = [one for one in batch if isinstance(one, sheet.Refusal)]
            async with database.transaction(pool) as tx:
                added = await suppressions.add(tx, wanted, source=source)
                await suppressions.audit(
                    tx, added, actor=actor, why=f"import of {source}"
                )
            refused.write(refusals)
            _count(found, added, wanted, refusals)
    finally:
        refused.close()
    if refused.any:
        found.refused_file = sheet.label(beside)
    else:
        _removed(beside)
    return found


def _count(
    found: Imported,
    added: Sequence[suppressions.Added],
    wanted: Sequence[suppressions.Wanted],
    refusals: Sequence[sheet.Refusal],
) -> None:
    created = sum(1 for one in added if one.created)
    found.rows += len(wanted) + len(refusals)
    found.added += created
    found.strengthened += len(added) - created
    found.known += len(wanted) - len(added)
    found.refused += len(refusals)
    found.samples += refusals[: SAMPLES - len(found.samples)]


def _is_file(path: Path) -> bool:
    return path.is_file()


def _created(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


def _removed(path: Path) -> None:
    path.unlink(missing_ok=True)


def _read(
    path: Path, *, scope: Scope, encoding: str
) -> Iterator[suppressions.Wanted | sheet.Refusal]:
    """Yield what each row asks for, or why it is refused."""
    with path.open("rb") as file:
        sheet.check(file.read, file=str(path), encoding=encoding)
        file.seek(0)
        rows = sheet.records(file.readline, file=str(path), encoding=encoding)
        line, first = next(rows, (1, []))
        columns = _columns(first, file=str(path))
        if columns is None:  # no header
            columns = {"address": 0}
            yield _wanted(line, first, columns, scope)
        for line, row in rows:
            yield _wanted(line, row, columns, scope)


def _columns(header: Sequence[str], *, file: str) -> Mapping[str, int] | None:
    """Return where each known column stands, or None where there is no header."""
    slugs = [column.slug(name) for name in header]
    columns = {slug: index for index, slug in enumerate(slugs) if slug in COLUMNS}
    for index, slug in enumerate(slugs):
        if slug in _ADDRESSES:
            return {**columns, "address": index}
    if any("@" in cell for cell in header[:1]):
        return None
    message = "no column with addresses: name it email, or write addresses alone"
    raise errors.Invalid(Problem(file=file, line=1, message=message))


def _wanted(
    line: int, row: Sequence[str], columns: Mapping[str, int], scope: Scope
) -> suppressions.Wanted | sheet.Refusal:
    cells = {
        name: sheet.plain(row[index].strip())
        for name, index in columns.items()
        if index < len(row)
    }
    value = cells.get("address", "")
    try:
        address = suppression.key(value)
        value = cells.get("reason") or scope.reason.value
        reason = _reason(value)
        value = cells.get("topic") or ""
        topic = suppression.topic(value) if value else scope.topic
        value = cells.get("expires_at") or ""
        expires_at = cell.instant(value) if value else ""
    except errors.Invalid as error:
        return sheet.Refusal(line=line, value=value[:200], reason=str(error))
    return suppressions.Wanted(
        address=address,
        reason=reason,
        topic=topic,
        note=cells.get("note") or scope.note,
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )


def _reason(text: str) -> Reason:
    try:
        return Reason(text.strip().lower())
    except ValueError as error:
        message = f"{errors.quote(text)} is no reason: {errors.nearest(text, Reason)}"
        raise errors.Invalid(message) from error
