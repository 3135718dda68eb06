"""The PostgreSQL server of a workspace that has none of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mailer import errors


@asynccontextmanager
async def served(url: str | None, *, root: Path) -> AsyncIterator[str]:
    """Yield the address of the database: *url*, else the workspace's own server.

    Raises Unavailable when there is none.
    """
    if url is None:
        message = f"{root}: set MAILER_DATABASE_URL"
        raise errors.Unavailable(message)
    yield url
