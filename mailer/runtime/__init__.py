"""Wire a workspace to its parts: the one place that reads the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from mailer import errors, settings
from mailer.store import database, embedded, migrate

BRIEF, PATIENT = database.SHORT, database.COMMAND_TIMEOUT

log = structlog.get_logger()


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder of files, its settings and its database."""

    root: Path
    settings: settings.Settings
    pool: database.Pool


@asynccontextmanager
async def opened(
    root: Path,
    *,
    size: int = 10,
    needs_database: bool = True,
    patience: float = PATIENT,
) -> AsyncIterator[Workspace]:
    """Open the workspace at *root*: its settings, its server, its schema.

    *patience* is that of `database.opened`.
    What tracks clicks does not need the database: it begins while that is away.
    Raises NotFound when *root* is no workspace, Invalid when its settings are
    wrong, Unavailable when the database is needed and cannot be had.
    """
    chosen = settings.load(root)
    async with (
        embedded.served(chosen.database, root=root) as url,
        database.opened(
            url, size=size, at_once=needs_database, patience=patience
        ) as pool,
    ):
        try:
            await migrate.ensure(pool)
        except (errors.Unavailable, OSError) as error:
            if needs_database:
                raise
            log.warning("the database is away", error=str(error))
        yield Workspace(root=root, settings=chosen, pool=pool)


@asynccontextmanager
async def reached(root: Path) -> AsyncIterator[str]:
    """Yield the address of the database of the workspace at *root*, whatever is in it.

    Raises as `opened` does.
    """
    chosen = settings.load(root)
    async with embedded.served(chosen.database, root=root) as url:
        yield url
