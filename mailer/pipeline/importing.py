"""Bring a file of people into the database.

A thread reads, normalises and encodes one batch ahead of the database; each batch is
a transaction.  An import that was interrupted is simply repeated: it ends in the same
state.  It never lifts a suppression.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, Self, TextIO

from mailer import errors
from mailer.core import column, duplicate, sheet
from mailer.store import blasts, database, subscribers

BATCH = 20_000  # rows of a transaction: a second of work, a few megabytes
SAMPLES = 10  # refused rows that the result shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a file is to be read."""

    encoding: str = "utf-8"
    columns: Mapping[str, str] = field(default_factory=dict)  # header → field
    hints: Mapping[str, str] = field(default_factory=dict)  # domain → provider
    dry_run: bool = False
    batch: int = BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an import is."""

    rows: int
    bytes_read: int
    bytes_all: int


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of the rows: each is counted once."""

    file: str
    dry_run: bool
    columns: Mapping[str, str]  # header → what it was taken for
    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0  # rows about somebody whom an earlier row named
    refused: int = 0
    refused_file: str | None = None
    samples: list[sheet.Refusal] = field(default_factory=list)


class Merge(Protocol):
    """Merge a batch, for good or in a rehearsal."""

    def __call__(
        self, *, columns: tuple[str, ...], data: bytes
    ) -> Awaitable[subscribers.Merged]:
        """Return what it changed."""


async def import_csv(
    pool: database.Pool,
    path: Path,
    *,
    actor: str,
    options: Options | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Imported:
    """Import *path*, and write the refused rows beside it.

    A dry run counts the same and changes nothing, neither rows nor files.
    Raises Invalid where the file is no CSV, is not in its encoding, or has no column
    of addresses; batches before a broken row stay imported.
    """
    options = options or Options()
    with _Source(path, options) as source, ThreadPoolExecutor(1) as reader:
        found = source.result
        batches = source.batches()
        async with _merging(pool, dry_run=options.dry_run) as merge:
            ahead = reader.submit(next, batches, None)
            while batch := await asyncio.wrap_future(ahead):
                ahead = reader.submit(next, batches, None)
                await _merge(merge, batch, found, columns=source.plan.names)
                source.refuse(batch.refusals)
                progress(
                    Progress(
                        rows=found.rows,
                        bytes_read=batch.bytes_read,
                        bytes_all=source.size,
                    )
                )
        source.finish()
    if not options.dry_run:
        await _audit(pool, found, actor=actor)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Some rows, read and encoded."""

    rows: int
    fresh: bytes
    fresh_people: int
    again: bytes  # people whom an earlier batch named
    duplicates: int
    refusals: tuple[sheet.Refusal, ...]
    bytes_read: int


async def _merge(
    merge: Merge, batch: _Batch, found: Imported, *, columns: tuple[str, ...]
) -> None:
    """Merge one batch and count what it did."""
    merged = await merge(columns=columns, data=batch.fresh)
    if batch.again:
        await merge(columns=columns, data=batch.again)
    found.rows += batch.rows
    found.created += merged.created
    found.updated += merged.updated
    found.unchanged += batch.fresh_people - merged.created - merged.updated
    found.duplicates += batch.duplicates
    found.refused += len(batch.refusals)
    found.samples += batch.refusals[: SAMPLES - len(found.samples)]


@asynccontextmanager
async def _merging(pool: database.Pool, *, dry_run: bool) -> AsyncIterator[Merge]:
    """Yield what merges a batch: in its own transaction, or on copies."""

    async def commit(*, columns: tuple[str, ...], data: bytes) -> subscribers.Merged:
        async with database.transaction(pool) as tx:
            return await subscribers.merge(tx, columns=columns, data=data)

    if not dry_run:
        yield commit
        return
    async with database.transaction(pool) as tx, subscribers.rehearsed(tx):
        yield partial(subscribers.rehearse, tx)


async def _audit(pool: database.Pool, found: Imported, *, actor: str) -> None:
    async with database.transaction(pool) as tx:
        await blasts.audit(
            tx,
            actor=actor,
            object="subscribers",
            action="import",
            after=f"{found.created} created, {found.updated} updated, "
            f"{found.unchanged} unchanged, {found.duplicates} duplicates, "
            f"{found.refused} refused of {found.rows} rows of {Path(found.file).name}",
        )


def read(path: Path, options: Options) -> Iterator[int]:
    """Read a file as an import does, without a database; yield rows batch by batch."""
    with _Source(path, options) as source:
        for batch in source.batches():
            yield batch.rows


class _Source:
    """An open file of people, its columns understood, and its refused rows."""

    def __init__(self, path: Path, options: Options) -> None:
        if not path.is_file():
            raise errors.NotFound(f"{path}: no such file")
        self._options = options
        self._name = sheet.label(path)
        self._refused_path = path.with_name(f"{path.stem}.refused.csv")
        self._refused = sheet.Refusals(self._refused_file)
        self._file: BinaryIO = path.open("rb", buffering=1 << 20)
        self.size = path.stat().st_size
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def _begin(self) -> None:
        encoding = self._options.encoding
        sheet.check(self._file.read, file=self._name, encoding=encoding)
        self._file.seek(0)
        self._records = sheet.records(
            self._file.readline, file=self._name, encoding=encoding
        )
        line, header = next(self._records, (1, []))
        self.plan = column.plan(
            header, overrides=self._options.columns, file=self._name, line=line
        )
        self.result = Imported(
            file=self._name,
            dry_run=self._options.dry_run,
            columns=self.plan.meanings,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._refused.close()

    def _refused_file(self) -> TextIO:
        return self._refused_path.open("w", encoding="utf-8", newline="")

    def batches(self) -> Iterator[_Batch]:
        """Yield the rows, read and encoded, in pieces that fit memory."""
        seen = duplicate.Seen()
        people: dict[str, list[str]] = {}
        refusals: list[sheet.Refusal] = []
        rows = 0
        for line, row in self._records:
            rows += 1
            try:
                cells = column.person(self.plan, row, self._options.hints)
            except column.Refused as refused:
                refusals.append(
                    sheet.Refusal(line=line, value=refused.value, reason=refused.reason)
                )
            else:
                older = people.get(cells[0])
                if older is not None:
                    cells = column.merge(self.plan, older, cells)
                people[cells[0]] = cells
            if rows == self._options.batch:
                yield self._batch(rows, people, refusals, seen)
                people, refusals, rows = {}, [], 0
        if rows:
            yield self._batch(rows, people, refusals, seen)

    def _batch(
        self,
        rows: int,
        people: dict[str, list[str]],
        refusals: list[sheet.Refusal],
        seen: duplicate.Seen,
    ) -> _Batch:
        known = seen.add(list(people))
        again = sum(known)
        pairs = list(zip(people.values(), known, strict=True))
        return _Batch(
            rows=rows,
            fresh=subscribers.encode(cells for cells, before in pairs if not before),
            fresh_people=len(people) - again,
            again=subscribers.encode(cells for cells, before in pairs if before),
            duplicates=rows - len(refusals) - len(people) + again,
            refusals=tuple(refusals),
            bytes_read=self._file.tell(),
        )

    def refuse(self, refusals: tuple[sheet.Refusal, ...]) -> None:
        """Write refused rows beside the input."""
        if not self._options.dry_run:
            self._refused.write(refusals)

    def finish(self) -> None:
        """Name the refused rows, or take those of an earlier try away."""
        if self._refused.any:
            self.result.refused_file = sheet.label(self._refused_path)
        elif not self._options.dry_run:
            self._refused_path.unlink(missing_ok=True)
