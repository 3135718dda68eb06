"""Wire a workspace to its parts: the one place that reads the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailer import settings
from mailer.pipeline import sending
from mailer.store import database, embedded, migrate


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
async def opened(root: Path, *, size: int = 10) -> AsyncIterator[Workspace]:
    """Open the workspace at *root*: its settings, its server, its schema.

    Raises NotFound when *root* is no workspace, Invalid when its settings are
    wrong, Unavailable when the database cannot be had.
    """
    chosen = settings.load(root)
    async with (
        embedded.served(chosen.database, root=root) as url,
        database.opened(url, size=size) as pool,
    ):
        await migrate.ensure(pool)
        yield Workspace(root=root, settings=chosen, pool=pool)


def setup(workspace: Workspace) -> sending.Setup:
    """Return what a worker of *workspace* is started with."""
    chosen = workspace.settings
    return sending.Setup(
        house=sending.House(
            organization=chosen.organization.words,
            public_url=chosen.public.url,
            ring=chosen.keys,
        ),
        sources=chosen.sources,
        providers=chosen.providers,
        rules=chosen.bounces,
        retry=chosen.retry,
        fingerprint=chosen.fingerprint,
        journals=workspace.root / ".mailer" / "journal",
    )
