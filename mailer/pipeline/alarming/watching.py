"""Whether the database answers, asked without waiting for it: told from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from mailer import errors
from mailer.core import outage
from mailer.core.alarm import Alarm, Event, Kind
from mailer.core.outage import Outage
from mailer.pipeline.alarming.telling import Caller, Told, speak
from mailer.store import alarms, database

log = structlog.get_logger()


@dataclass(slots=True)
class Watcher:
    """Knows when the database last answered, and whom it told that it does not."""

    pool: database.Pool
    caller: Caller
    host: str
    now: Callable[[], datetime]
    _known: Outage = field(init=False)
    _seen_at: datetime = field(init=False)
    _error: str = ""

    def __post_init__(self) -> None:
        self._seen_at = self.now()
        self._known = Outage(seen_at=self._seen_at)

    async def ask(self) -> bool:
        """Ask the database for the time; tell whether it answered.

        This may hang as long as the database does: `tell` does not wait for it.
        """
        try:
            async with database.connection(self.pool) as tx:
                await alarms.clock(tx)
        except (errors.Unavailable, OSError, TimeoutError) as error:
            self._error = str(error) or type(error).__name__
            return False
        self._seen_at = self.now()
        self._error = ""
        return True

    async def tell(self) -> list[Told]:
        """Tell everybody at once if the database is away, or is back after that.

        Repeated as other alarms are, but nobody can take it: there is no row.
        """
        now = self.now()
        known, event = outage.step(
            self._known,
            seen_at=self._seen_at,
            repeat=self.caller.settings.alarms.repeat,
            now=now,
        )
        self._known = known
        if event is None:
            return []
        about = self._alarm(event, known, now=now)
        log.warning("database.outage", what=event.value, since=str(known.seen_at))
        told = await speak(self.caller, about, event, id=self._id(known), now=now)
        for one in told:
            if one.error is not None:
                log.warning("notice.unsent", to=one.channel, error=one.error)
        if event is Event.CLEARED:
            await self._record(about)
        elif told and all(one.error for one in told):
            repeat = self.caller.settings.alarms.repeat
            self._known = outage.unheard(known, repeat=repeat)
        return told

    def _id(self, known: Outage) -> str:
        """Return the name of this notice: nobody else's, and short."""
        text = f"{self.host} {known.key}".encode()
        return f"away-{hashlib.sha256(text).hexdigest()[:12]}"

    def _alarm(self, event: Event, known: Outage, *, now: datetime) -> Alarm:
        back = known.back_at if event is Event.CLEARED else None
        minutes = int(((back or now) - known.seen_at).total_seconds() // 60)
        return Alarm(
            id=0,
            kind=Kind.DATABASE,
            subject=self.host,
            detail=self._error or "It does not answer.",
            count=1,
            first_at=known.seen_at,
            last_at=now,
            cleared_at=back,
            cleared_why=f"the database answers again, after {minutes} minutes",
        )

    async def _record(self, about: Alarm) -> None:
        """Leave a row of what is over: nobody needs to be told of it."""
        since = f"{about.first_at:%Y-%m-%d %H:%M} UTC"
        try:
            async with database.transaction(self.pool) as tx:
                await alarms.raise_(
                    tx, Kind.DATABASE, self.host, f"Away since {since}."
                )
                await alarms.clear(
                    tx, Kind.DATABASE, self.host, why=about.cleared_why or ""
                )
        except errors.Unavailable as error:
            log.warning("outage.unrecorded", error=str(error))
