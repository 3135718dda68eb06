"""Journals that are settled: kept for a day, in case the database forgets.

A file beside the segments says in which life of the database it was settled, and as
how many batches.  Ages are told by the clock of the file system alone.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from mailer import spool
from mailer.store.journals import Standing

DAY = 24 * 3600.0  # seconds

_MARK = "settled.json"


def read(folder: Path) -> Standing | None:
    """Return what a settled journal was settled in; None: it is not settled."""
    try:
        said = json.loads((folder / _MARK).read_text("ascii"))
        return Standing(identity=UUID(said["identity"]), settled=int(said["settled"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # torn by a crash: it is settled once more


def keep(folder: Path, standing: Standing) -> None:
    """Say that the journal in *folder* is settled."""
    said = {"identity": str(standing.identity), "settled": standing.settled}
    (folder / _MARK).write_text(json.dumps(said), "ascii")


def remove(folder: Path, _standing: Standing | None = None) -> None:
    """Remove a journal that is settled, or has nothing in it."""
    (folder / _MARK).unlink(missing_ok=True)
    for _number, path in spool.segments(folder):
        path.unlink()
    spool.remove(folder)


def remove_old(folder: Path) -> None:
    """Remove a journal that was settled more than a day ago."""
    if _age(folder, folder / _MARK) > DAY:
        remove(folder)


def trim(folder: Path) -> None:
    """Remove the segments of a living worker that were full more than a day ago.

    All that is in them is settled: no reply takes so long.
    """
    for _number, path in spool.segments(folder)[:-1]:
        if _age(folder, path) > DAY:
            path.unlink()


def _age(folder: Path, file: Path) -> float:
    """Return how many seconds ago *file* was written."""
    touched = folder / "now"
    touched.touch()
    now = touched.stat().st_mtime
    touched.unlink()
    with suppress(FileNotFoundError):
        return now - file.stat().st_mtime
    return 0.0
