"""What a worker needs a person for, beyond its blasts: its disk, its release."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from mailer.core.alarm import Kind
from mailer.store import alarms, database

STEADY = 10.0  # seconds without a fault, until the journal is said to work again

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Complaints:
    """Raises and ends the alarms of this machine's workers.

    Telling must stop nothing: without a database it is left out.
    """

    pool: database.Pool
    host: str = field(default_factory=platform.node)
    clock: Callable[[], float] = time.monotonic
    _failed_at: float | None = None
    _is_told: bool = False

    async def begun(self) -> None:
        """End what an earlier worker of this machine could not end."""
        await self._clear(Kind.OUTDATED, "a worker of this release has begun")
        await self._clear(Kind.JOURNAL, "a new journal was begun")

    async def journal(self, failure: OSError | None) -> None:
        """Tell of a journal that fails, once; and that it works, after a while."""
        if failure is not None:
            self._failed_at = self.clock()
            if not self._is_told:
                reason = failure.strerror or str(failure) or type(failure).__name__
                self._is_told = await self._raise(Kind.JOURNAL, f"It said: {reason}.")
        elif self._failed_at is not None and self.clock() - self._failed_at > STEADY:
            self._failed_at, self._is_told = None, False
            await self._clear(Kind.JOURNAL, "it is written again")

    async def outdated(self) -> None:
        """Tell that this release is too old for the database."""
        await self._raise(Kind.OUTDATED, "Its workers have stopped sending.")

    async def _raise(self, kind: Kind, detail: str) -> bool:
        try:
            async with database.transaction(self.pool) as tx:
                await alarms.raise_(tx, kind, self.host, detail)
        except Exception as error:  # noqa: BLE001 -- telling must stop nothing
            log.warning("alarm.unraised", kind=kind.value, error=str(error))
            return False
        return True

    async def _clear(self, kind: Kind, why: str) -> None:
        try:
            async with database.transaction(self.pool) as tx:
                await alarms.clear(tx, kind, self.host, why=why)
        except Exception as error:  # noqa: BLE001 -- telling must stop nothing
            log.warning("alarm.uncleared", kind=kind.value, error=str(error))
