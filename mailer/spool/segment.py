"""Segments and records: where they lie, how they look, and whose they are."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from mailer import errors

MAX_RECORD = 1 << 20  # bytes; bounds what a torn length can make a reader ask for

HEADER = struct.Struct(">II")

_NAME = re.compile(r"(\d{10})\.spool")
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


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold *folder*, which is made when missing, against every other process.

    Raises Conflict when a living process holds it.
    """
    file = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except (FileExistsError, FileNotFoundError) as error:  # by who had adopted it
        raise errors.Conflict(f"{folder}: removed by another process") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(lock), file.stat())
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
        with suppress(OSError):  # somebody has come for it meanwhile: their turn
            folder.rmdir()


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the segments of *folder* by number."""
    found = [
        (int(match[1]), entry)
        for entry in folder.iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return sorted(found)


def path(folder: Path, number: int) -> Path:
    """Return where the segment of a number lies."""
    return folder / f"{number:010d}.spool"


def framed(payload: bytes) -> bytes:
    """Return the record of *payload*."""
    length = len(payload).to_bytes(4, "big")
    return length + crc32(payload, crc32(length)).to_bytes(4, "big") + payload


def end(data: bytes, at: int) -> int | None:
    """Return the end of the record at *at*, or None where there is no whole one."""
    start = at + HEADER.size
    if start > len(data):
        return None
    length, check = HEADER.unpack_from(data, at)
    stop = start + int(length)
    if not 0 < length <= MAX_RECORD or stop > len(data):
        return None
    payload = memoryview(data)[start:stop]
    return stop if crc32(payload, crc32(data[at : at + 4])) == check else None
