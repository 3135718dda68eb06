"""What the server of links needs a person for: its spool, and the way from there."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass, field

from mailer.core.alarm import Kind
from mailer.pipeline import Pool, alarming
from mailer.pipeline.receiving import Inbox
from mailer.pipeline.recording import Loader

LOOK = 2.0  # seconds between two looks
BEHIND = 60.0  # seconds: until then an unsubscribe may wait for the database


@dataclass(slots=True, kw_only=True)
class Troubles:
    """Raises and ends the alarms of this process; each is told once."""

    pool: Pool
    inbox: Inbox
    loader: Loader
    host: str = field(default_factory=platform.node)
    _open: dict[Kind, bool] = field(default_factory=dict)
    _damage: tuple[int, int] = (0, 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until *stop*."""
        while not stop.is_set():
            await self.look()
            try:
                async with asyncio.timeout(LOOK):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once."""
        dropped = sum(self.inbox.dropped.values())
        await self._state(
            Kind.SPOOL,
            not self.inbox.is_writable,
            f"{dropped:,} events could not be written since `mailer serve` began.",
            "it is written again",
        )
        behind = self.loader.behind
        await self._state(
            Kind.BEHIND,
            behind > BEHIND,
            f"They wait for {behind:.0f} seconds; {self.loader.pending:,} bytes.",
            "all that came in is read",
        )
        damage = (self.loader.damaged, self.loader.rejected + self.loader.unreadable)
        if damage > self._damage and await alarming.raise_(
            self.pool,
            Kind.DAMAGED,
            self.host,
            f"{damage[0]} damaged places, {damage[1]} records refused or unreadable.",
        ):
            self._damage = damage

    async def _state(self, kind: Kind, is_so: bool, detail: str, why: str) -> None:
        """Raise an alarm when something begins, and end it when that ends.

        What an earlier process left open is ended too: nothing is known at first.
        """
        if self._open.get(kind) == is_so:
            return
        if is_so:
            done = await alarming.raise_(self.pool, kind, self.host, detail)
        else:
            done = await alarming.clear(self.pool, kind, self.host, why=why)
        if done:
            self._open[kind] = is_so
