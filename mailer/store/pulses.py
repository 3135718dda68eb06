"""How the blasts move that should be going out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.core import blast
from mailer.core.delivery import BlastId
from mailer.core.pulse import Seen
from mailer.store import database

SQL = database.load("pulses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a blast: its state, what moves, and who is in doubt or expired."""

    state: blast.State
    in_doubt: int
    expired: int
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A lane that is closed for a while; *reason* is what the provider said.

    What is halted waits for a person.
    """

    provider: str
    source: str
    is_halted: bool
    not_before: datetime
    reason: str


async def look(tx: database.Connection, names: Sequence[str] = ()) -> list[Look]:
    """Look at the blasts that are under way, and at those of these *names*."""
    found = []
    for row in await tx.rows(SQL["seen"], names=list(names)):
        rest = {**row}
        state = blast.State(rest.pop("state"))
        counts = {name: rest.pop(name) for name in ("in_doubt", "expired")}
        found.append(Look(state=state, seen=Seen(**rest), **counts))
    return found


async def closed(tx: database.Connection, name: str) -> list[Closed]:
    """Return the closed lanes that have work of a blast."""
    return [Closed(**row) for row in await tx.rows(SQL["closed"], name=name)]


async def excuse(
    tx: database.Connection, id: BlastId, *, failed: int, results: int
) -> None:
    """Remember how much had failed when a blast was paused for that."""
    await tx.run(SQL["excuse"], blast=id, failed=failed, results=results)
