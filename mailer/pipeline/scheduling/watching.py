"""How far a blast is, provider by provider; and who is where, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer.core import blast
from mailer.core.alarm import Alarm
from mailer.core.delivery import State
from mailer.core.forecast import Forecast
from mailer.pipeline.scheduling.forecasting import Asked, Forecaster
from mailer.pipeline.scheduling.moving import Desk
from mailer.store import alarms, blasts, chunks, database, deliveries, lanes

COUNTED: tuple[str, ...] = (
    "recipients",
    "left",
    "sent",
    "bounced",
    "in_doubt",
    "suppressed",
)
COUNTED += ("held_out", "expired", "cancelled", "failed")
SMOOTH = 0.2  # share of the last look in the workers' measured speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One look at a blast that goes out."""

    at: datetime
    blast: blasts.Blast
    progress: Sequence[deliveries.Progress]
    lanes: Sequence[lanes.Lane]
    next_start: datetime | None
    alarms: Sequence[Alarm]  # open ones, of whatever they are
    forecast: Forecast | None = None  # of what is left, while it goes out

    @property
    def recipients(self) -> int:
        """Return how many people the blast is for."""
        return sum(one.recipients for one in self.progress)

    @property
    def sent(self) -> int:
        """Return how many messages were accepted."""
        return sum(one.sent for one in self.progress)

    @property
    def left(self) -> int:
        """Return how many are still owed a message."""
        return sum(one.left for one in self.progress)


@dataclass(slots=True)
class Watcher:
    """Looks at one blast again and again."""

    desk: Desk
    name: str
    _forecaster: Forecaster = field(init=False)
    _last: tuple[datetime, int] | None = None  # when, and how many were tried
    _rate: float | None = None  # messages a second, smoothed
    _sources: str | None = None  # the blast's pool

    def __post_init__(self) -> None:
        self._forecaster = Forecaster(self.desk.settings)

    async def look(self) -> Watched:
        """Look once."""
        async with database.connection(self.desk.pool) as tx:
            found = await blasts.get(tx, self.name)
            progress = await deliveries.progress(tx, found.id)
            at = await blasts.clock(tx)
            return Watched(
                at=at,
                blast=found,
                progress=progress,
                lanes=await lanes.everything(tx),
                next_start=await chunks.next_start(tx, found.id),
                alarms=await alarms.open_(tx),
                forecast=await self._foresee(tx, found, progress, at=at),
            )

    async def _foresee(
        self,
        tx: database.Connection,
        found: blasts.Blast,
        progress: Sequence[deliveries.Progress],
        *,
        at: datetime,
    ) -> Forecast | None:
        """Say when what is left will be done; None for what does not go out."""
        left = {one.provider: one.left for one in progress if one.left > 0}
        if found.state not in blast.RUNNING or not left:
            return None
        assert found.approved_hash is not None, "the schema keeps it from here on"
        assert found.expires_at is not None
        self._measure(at, sum(one.sent + one.bounced for one in progress))
        if self._sources is None:
            body = await blasts.content(tx, found.approved_hash)
            self._sources = str(body["pool"])
        asked = Asked(
            id=found.id,
            people=left,
            pool=self._sources,
            priority=found.priority,
            starts_at=at,
            expires_at=found.expires_at,
            bursts=0.0,
        )
        return await self._forecaster.foresee(tx, asked, now=at, measured=self._rate)

    def _measure(self, at: datetime, tried: int) -> None:
        """Learn how fast the workers are from two looks and what was sent between."""
        if self._last is not None and at > self._last[0]:
            rate = (tried - self._last[1]) / (at - self._last[0]).total_seconds()
            if rate > 0:
                self._rate = (
                    rate
                    if self._rate is None
                    else (SMOOTH * rate + (1 - SMOOTH) * self._rate)
                )
        self._last = at, tried


async def watch(desk: Desk, name: str) -> Watched:
    """Look at a blast once."""
    return await Watcher(desk, name).look()


async def count(desk: Desk, name: str) -> dict[str, int]:
    """Return how many recipients a blast has, and how many of them are where."""
    async with database.connection(desk.pool) as tx:
        found = await blasts.get(tx, name)
        progress = await deliveries.progress(tx, found.id)
    return {key: sum(getattr(one, key) for one in progress) for key in COUNTED}


async def listed(
    desk: Desk, name: str, *, states: Sequence[State], limit: int
) -> list[deliveries.Listed]:
    """Name the recipients of a blast that are in one of *states*."""
    async with database.connection(desk.pool) as tx:
        found = await blasts.get(tx, name)
        return await deliveries.listed(tx, found.id, states=states, limit=limit)
