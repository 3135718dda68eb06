"""Pause a blast that too many people, or their providers, do not want."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from mailer import errors
from mailer.core import blast, breaker
from mailer.core.alarm import Kind
from mailer.core.breaker import Excess, Limits
from mailer.store import alarms, blasts, breakers, database
from mailer.store.breakers import Taken

ACTOR = "scheduler"
SHOWN = 5  # shares that a reason names

log = structlog.get_logger()


async def trip(pool: database.Pool, limits: Limits) -> list[str]:
    """Pause every blast that is over a limit; return their names.

    A person who resumes it lets pass what had come back by then, and no more.
    """
    async with database.connection(pool) as tx:
        looks = await breakers.look(tx)
    tripped = []
    for taken in looks:
        over = breaker.excesses(taken.counts, taken.excused, limits)
        if over and await _pause(pool, taken, over):
            tripped.append(taken.name)
    return tripped


async def _pause(pool: database.Pool, taken: Taken, over: Sequence[Excess]) -> bool:
    text = "; ".join(str(one) for one in over[:SHOWN])
    try:
        async with database.transaction(pool) as tx:
            found = await blasts.get(tx, taken.name)
            await blasts.move(tx, found, blast.Move.PAUSE, actor=ACTOR, why=text)
            await breakers.excuse(tx, found.id, over)
            await alarms.raise_(tx, Kind.UNWANTED, f"blast {taken.name}", f"{text}.")
    except errors.Conflict:
        return False  # a person, or another machine, was faster
    log.warning("blast.paused", blast=taken.name, why=text)
    return True
