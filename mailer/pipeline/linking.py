"""Know where links lead, also while the database is away.

The tables are in memory, and in a file that is replaced whole: a tracker that starts
without a database still redirects.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from mailer import errors
from mailer.core import tracking
from mailer.store import database, links

REFRESH = 1.0  # seconds; a blast is launched, or a wrong address was corrected
WHOLE = 300.0  # seconds; a link of an old blast was corrected
PATIENCE = 1.0  # seconds that a click waits for the database to know its link

_log = structlog.get_logger(__name__)


class Links:
    """Where every link of every blast leads."""

    def __init__(self, pool: database.Pool, file: Path) -> None:
        self._pool = pool
        self._file = file
        self._tables: links.Tables = {}
        self._is_saved = True

    @property
    def count(self) -> int:
        """Return how many links are known."""
        return sum(len(table) for table in self._tables.values())

    def find(self, blast: int, index: int) -> str | None:
        """Return where a link leads, as far as memory knows."""
        table = self._tables.get(blast)
        return None if table is None else table.get(index)

    def of(self, blast: int) -> Mapping[int, str]:
        """Return where the links of *blast* lead, as far as memory knows."""
        return self._tables.get(blast, {})

    async def look_up(self, blast: int, index: int) -> str | None:
        """Return where a link leads, asking the database when memory does not know."""
        try:
            async with (
                asyncio.timeout(PATIENCE),
                database.connection(self._pool) as tx,
            ):
                self._learn(await links.of(tx, blast))
        except (errors.Unavailable, TimeoutError):
            _log.warning("link unknown and no database to ask", blast=blast)
        return self.find(blast, index)

    async def refresh(self, *, whole: bool) -> None:
        """Read the tables that may have changed, or all.  Raises Unavailable."""
        async with database.connection(self._pool) as tx:
            self._learn(await (links.every(tx) if whole else links.live(tx)))

    def recall(self) -> None:
        """Read the file, if there is one: what was known before this start."""
        try:
            saved = json.loads(self._file.read_bytes())
            tables = {
                int(blast): {int(index): str(url) for index, url in table.items()}
                for blast, table in saved.items()
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError) as error:
            _log.warning("links file unreadable", error=type(error).__name__)
            return
        self._learn(tables)
        self._is_saved = True

    def save(self) -> None:
        """Replace the file, if anything has changed."""
        if self._is_saved:
            return
        self._is_saved = True
        draft = self._file.with_suffix(f".{os.getpid()}")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w") as file:
            json.dump(self._tables, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)

    def _learn(self, found: links.Tables) -> None:
        """Take over what is new, and only addresses that a redirect may hold."""
        for blast, table in found.items():
            known = self._tables.get(blast, {})
            if table == known:
                continue
            safe = {
                index: url for index, url in table.items() if tracking.may_lead_to(url)
            }
            for index in table.keys() - safe.keys():
                _log.error("link refused", blast=blast, link=index)
            if safe != known:
                self._tables[blast] = safe
                self._is_saved = False


async def run(known: Links, stop: asyncio.Event) -> None:
    """Keep *known* as the database has it until *stop*."""
    next_whole = 0.0
    while not stop.is_set():
        whole = time.monotonic() >= next_whole
        try:
            await known.refresh(whole=whole)
            if whole:
                next_whole = time.monotonic() + WHOLE
            await asyncio.to_thread(known.save)
        except (errors.Unavailable, OSError) as error:
            _log.warning("links not refreshed", error=type(error).__name__)
        try:
            async with asyncio.timeout(REFRESH):
                await stop.wait()
        except TimeoutError:
            continue
