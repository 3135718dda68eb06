"""Folders and files that another server leaves mail in: Maildir, mbox, one message.

A message is taken away only when whoever read it says that it is kept: what is read
twice is one event, what is lost is lost.
"""

from __future__ import annotations

import mailbox
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mailer import errors

SIZE = 2 * 1024 * 1024  # bytes of a message that are read; the reader takes 1 MB

_FOLDERS = ("new", "cur")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message, and how it is taken away."""

    name: str
    raw: bytes
    remove: Callable[[], None]


@contextmanager
def opened(path: Path) -> Iterator[Iterator[Found]]:
    """Yield the messages at *path*, one at a time; mbox files are locked meanwhile.

    Raises NotFound, Unavailable when an mbox is locked, Invalid when *path* is a
    folder and no Maildir.
    """
    if path.is_dir():
        if not all((path / name).is_dir() for name in _FOLDERS):
            message = f"{path}: no Maildir: it has no folders new and cur"
            raise errors.Invalid(message)
        yield _maildir(path)
    elif not path.is_file():
        raise errors.NotFound(f"{path}: there is no such file or folder")
    elif _begins(path).startswith(b"From "):
        yield from _mbox(path)
    else:
        yield iter([Found(name=path.name, raw=_read(path), remove=lambda: None)])


def _maildir(path: Path) -> Iterator[Found]:
    """Yield what stands in new and cur; what vanishes meanwhile is another's."""
    for folder in _FOLDERS:
        for file in sorted((path / folder).iterdir()):
            if file.name.startswith("."):
                continue
            try:
                raw = _read(file)
            except FileNotFoundError:
                continue
            yield Found(
                name=file.name,
                raw=raw,
                remove=partial(file.unlink, missing_ok=True),
            )


def _mbox(path: Path) -> Iterator[Iterator[Found]]:
    """Yield the messages of a locked mbox, and write it anew without those removed."""
    box = mailbox.mbox(path, create=False)
    try:
        box.lock()
    except mailbox.ExternalClashError as error:
        box.close()
        raise errors.Unavailable(f"{path}: locked by another program") from error
    gone: list[str] = []
    try:
        yield (
            Found(
                name=f"{path.name} {key}",
                raw=box.get_bytes(key)[:SIZE],
                remove=partial(gone.append, key),
            )
            for key in list(box.iterkeys())
        )
        for key in gone:
            box.discard(key)
        box.flush()
    finally:
        box.unlock()
        box.close()


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(5)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SIZE)
