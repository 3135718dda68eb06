"""Where the links of blasts lead."""

from __future__ import annotations

from mailer.store import database

SQL = database.load("links")

Tables = dict[int, dict[int, str]]  # blast -> link -> address


async def every(tx: database.Connection) -> Tables:
    """Return the links of every blast there ever was."""
    return _tables(await tx.rows(SQL["all"]))


async def live(tx: database.Connection) -> Tables:
    """Return the links of blasts that have not ended, or only just."""
    return _tables(await tx.rows(SQL["live"]))


async def of(tx: database.Connection, blast: int) -> Tables:
    """Return the links of *blast*."""
    return _tables(await tx.rows(SQL["of"], blast=blast))


async def correct(
    tx: database.Connection, blast: int, *, index: int, url: str
) -> str | None:
    """Lead a link to *url*, and return where it led; None when there is none."""
    before: str | None = await tx.value(
        SQL["correct"], blast=blast, index=index, url=url
    )
    return before


def _tables(rows: list[database.Row]) -> Tables:
    found: Tables = {}
    for row in rows:
        found.setdefault(row["blast_id"], {})[row["index"]] = row["url"]
    return found
