"""Append-only files that survive a crash: events before their answer, and journals.

A spool is a folder of numbered segments; a record is ``length u32 | CRC32 u32 |
payload``, the checksum covering the length too.  One writer owns a folder, by flock,
for as long as it lives; a folder whose lock is free is what a dead process left behind.
What `write` returned from survives ``kill -9``; what `sync` returned from, a power cut.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zlib import crc32

from mailer import errors

SEGMENT_BYTES = 8 << 20
SEGMENT_AGE = 5.0  # seconds; a segment that is read is unlinked soon
GROUP = 0.05  # seconds; what is not durable at once is synced at most so much later
MAX_RECORD = 1 << 20  # bytes; bounds what a torn length can make a reader ask for

_HEADER = struct.Struct(">II")
_SEGMENT = re.compile(r"(\d{10})\.spool")
_LOCK = "lock"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two records."""

    segment: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What was written, and the place after it."""

    payload: bytes
    end: Position


# ── Owning ──────────────────────────────────────────────────────────────────


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold *folder*, which is made when missing, against every other process.

    Raises Conflict when a living process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(lock), path.stat())
        except (BlockingIOError, FileNotFoundError):
            same = False  # taken, or removed by who had adopted it
        if not same:
            raise errors.Conflict(f"{folder}: in use by another process")
        yield
    finally:
        os.close(lock)


def leftovers(root: Path) -> list[Path]:
    """Return the spools under *root* that no living process owns."""
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if (folder / _LOCK).exists():
            with suppress(errors.Conflict, OSError), owned(folder):
                found.append(folder)
    return found


def remove(folder: Path) -> None:
    """Remove a spool that is owned and read to its end; damaged segments keep it."""
    if not any(entry.name != _LOCK for entry in folder.iterdir()):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the segments of *folder* by number."""
    found = [
        (int(match[1]), entry)
        for entry in folder.iterdir()
        if (match := _SEGMENT.fullmatch(entry.name))
    ]
    return sorted(found)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:010d}.spool"


# ── Writing ─────────────────────────────────────────────────────────────────


@contextmanager
def writing(
    folder: Path, *, size: int = SEGMENT_BYTES, age: float = SEGMENT_AGE
) -> Iterator[Writer]:
    """Own *folder* and write there, after whatever it holds already.

    Raises Conflict when a living process writes there.
    """
    with owned(folder):
        writer = Writer(folder, size=size, age=age)
        try:
            yield writer
        finally:
            writer.close()


class Writer:
    """The one that appends to a spool.

    After a failed write or sync it refuses everything until `reopen`: a page that
    failed to reach the disk is not believed again.
    """

    def __init__(self, folder: Path, *, size: int, age: float) -> None:
        self.folder = folder
        self.failure: OSError | None = None
        self._size_limit, self._age_limit = size, age
        last = segments(folder)
        self._number = last[-1][0] if last else 0
        self._fd: int | None = None
        self._opened = 0.0
        self._size = 0
        self._old: list[int] = []  # segments that are full but not yet synced
        self._is_new = False  # the folder has an entry that is not yet synced
        self._written = 0  # bytes ever
        self._synced = 0
        self._epoch = 0  # one more at each failure
        self._running: asyncio.Future[OSError | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    def write(self, payload: bytes) -> None:
        """Hand *payload* to the system.  Raises Unavailable when it was not taken."""
        if self.failure is not None:
            raise self._unavailable(self.failure)
        if not 0 < len(payload) <= MAX_RECORD:
            raise errors.Invalid(f"{self.folder}: a record of {len(payload)} bytes")
        length = len(payload).to_bytes(4, "big")
        data = length + crc32(payload, crc32(length)).to_bytes(4, "big") + payload
        try:
            fd = self._segment(len(data))
            done = os.write(fd, data)
            while done < len(data):  # a full disk takes a part, then says so
                done += os.write(fd, data[done:])
        except OSError as error:
            self._fail(error)
            raise self._unavailable(error) from error
        self._size += len(data)
        self._written += len(data)

    async def sync(self) -> None:
        """Wait until all that was written is on the disk; waits are shared.

        Raises Unavailable when that cannot be known.
        """
        target, epoch = self._written, self._epoch
        while True:
            if self.failure is not None or self._epoch != epoch:
                raise self._unavailable(self.failure)
            if self._synced >= target:
                return
            if self._running is None:
                self._begin()
            await asyncio.shield(self._running)  # type: ignore[arg-type]  # begun

    async def append(self, payload: bytes, *, durable: bool) -> None:
        """Write, and wait for the disk when *durable*; else it is synced soon."""
        self.write(payload)
        if durable:
            await self.sync()
        else:
            self.soon()

    def soon(self) -> None:
        """See to it that what was written is synced within `GROUP`."""
        if self._timer is None and self._running is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GROUP, self._begin)

    def reopen(self) -> None:
        """Begin a new segment after a failure; what was not synced stays in doubt.

        Raises Unavailable when it fails again.
        """
        self.failure = None
        self._retire()
        try:
            self._segment(0)
        except OSError as error:
            self._fail(error)
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Sync and let go.  What could not be synced was never said to be durable."""
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=True)
        self._retire()
        with suppress(OSError):
            _sync(self._old, None, self.folder if self._is_new else None)

    def _segment(self, more: int) -> int:
        """Return where to write: this segment, or a new one when it is full or old."""
        if self._fd is not None:
            is_full = self._size > 0 and self._size + more > self._size_limit
            is_old = time.monotonic() - self._opened > self._age_limit
            if not is_full and not (is_old and self._size > 0):
                return self._fd
            self._retire()
        path = _path(self.folder, self._number + 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._fd = os.open(path, flags, 0o600)
        self._number += 1
        self._size = 0
        self._opened = time.monotonic()
        self._is_new = True
        return self._fd

    def _retire(self) -> None:
        if self._fd is not None:
            self._old.append(self._fd)
            self._fd = None

    def _begin(self) -> None:
        """Start syncing everything written so far, unless that is going on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None or self.failure is not None:
            return
        old, self._old = self._old, []
        folder = self.folder if self._is_new else None
        self._is_new = False
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._thread, _sync, old, self._fd, folder)
        finish = partial(self._finish, self._written, self._epoch)
        self._running.add_done_callback(finish)

    def _finish(
        self, upto: int, epoch: int, running: asyncio.Future[OSError | None]
    ) -> None:
        self._running = None
        error = running.result()
        if error is not None:
            self._fail(error)
        elif epoch == self._epoch:
            self._synced = upto
            if self._written > upto:
                self.soon()

    def _fail(self, error: OSError) -> None:
        self.failure = error
        self._epoch += 1
        self._synced = self._written  # nobody waits for these any more
        if self._fd is not None:
            with suppress(OSError):  # the half of a record that fitted
                os.ftruncate(self._fd, self._size)

    def _unavailable(self, error: OSError | None) -> errors.Unavailable:
        reason = error.strerror if error is not None else "a write failed"
        return errors.Unavailable(f"{self.folder}: cannot be written: {reason}")


def _sync(old: list[int], fd: int | None, folder: Path | None) -> OSError | None:
    """Flush segments, close the *old* ones, and the folder's entries if it is given."""
    failure = None
    try:
        for one in old if fd is None else [*old, fd]:
            os.fdatasync(one)
        if folder is not None:
            entry = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(entry)
            finally:
                os.close(entry)
    except OSError as error:
        failure = error
    for one in old:
        with suppress(OSError):
            os.close(one)
    return failure


# ── Reading ─────────────────────────────────────────────────────────────────


def read(folder: Path) -> Iterator[Record]:
    """Yield every whole record of a spool that nobody writes any more, in order."""
    tail = Tail(folder, is_finished=True)
    while found := tail.read(1000):
        yield from found


class Tail:
    """A reader that remembers its place, in a spool that may still grow.

    `torn` counts segments whose end was lost, `damaged` those with a fault before
    their end; records after such a fault are still found.
    """

    def __init__(self, folder: Path, *, is_finished: bool = False) -> None:
        self.folder = folder
        self.is_finished = is_finished  # nobody writes: an unfinished end is torn
        self.position = Position()
        self.torn = 0
        self.damaged = 0
        self._kept: set[int] = set()

    def read(self, limit: int) -> list[Record]:
        """Return up to *limit* more records; none when there is nothing new."""
        found: list[Record] = []
        while len(found) < limit:
            numbers = [
                number
                for number, _ in segments(self.folder)
                if number >= self.position.segment
            ]
            if not numbers:
                break
            if numbers[0] > self.position.segment:
                self.position = Position(numbers[0])
            # A segment is complete once a later one exists: seen before it is read.
            is_complete = self.is_finished or len(numbers) > 1
            if not self._take(found, limit, is_complete=is_complete):
                break
        return found

    def forget(self) -> None:
        """Unlink the segments that were read to their end: call it after the commit.

        Damaged ones are kept under another name, for a person to look at.
        """
        for number, path in segments(self.folder):
            if number >= self.position.segment:
                break
            if number in self._kept:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink()

    def _take(self, found: list[Record], limit: int, *, is_complete: bool) -> bool:
        """Read on in the current segment; tell whether it is finished."""
        number = self.position.segment
        with _path(self.folder, number).open("rb") as file:
            file.seek(self.position.offset)
            data = file.read()
        at = 0
        while len(found) < limit:
            end = _end(data, at)
            if end is None:
                if not is_complete:
                    break
                if at == len(data):
                    self.position = Position(number + 1)
                    return True
                at = self._skip(data, at)
                continue
            place = Position(number, self.position.offset + end)
            found.append(Record(data[at + _HEADER.size : end], place))
            at = end
        self.position = Position(number, self.position.offset + at)
        return False

    def _skip(self, data: bytes, at: int) -> int:
        """Count the fault at *at*, and return where the next whole record begins."""
        for start in range(at + 1, len(data) - _HEADER.size):
            if _end(data, start) is not None:
                self.damaged += 1
                self._kept.add(self.position.segment)
                return start
        self.torn += 1
        return len(data)


def _end(data: bytes, at: int) -> int | None:
    """Return the end of the record at *at*, or None where there is no whole one."""
    start = at + _HEADER.size
    if start > len(data):
        return None
    length, check = _HEADER.unpack_from(data, at)
    end = start + int(length)
    if not 0 < length <= MAX_RECORD or end > len(data):
        return None
    payload = memoryview(data)[start:end]
    return end if crc32(payload, crc32(data[at : at + 4])) == check else None
