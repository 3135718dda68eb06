"""Look at what goes out: raise alarms, end those whose cause is gone, pause a blast."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from mailer import errors
from mailer.core import blast, pulse
from mailer.core.alarm import Alarm, Kind
from mailer.core.breaker import Limits
from mailer.core.pulse import Pulse
from mailer.pipeline.alarming import tripping
from mailer.store import alarms, blasts, database, processes, pulses
from mailer.store.pulses import Look

ACTOR = "scheduler"

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Observer:
    """Looks again and again; remembers since when a blast stands still."""

    pool: database.Pool
    stalled: timedelta
    failed: float  # share, from 0 to 1
    fingerprint: str  # of our settings and keys
    limits: Limits = field(default_factory=Limits)  # of bounces, complaints, …
    _pulses: dict[str, Pulse] = field(default_factory=dict)

    async def look(self) -> None:
        """Look once.  Raises Unavailable when the database is away."""
        async with database.connection(self.pool) as tx:
            known = await alarms.open_(tx)
            looks = await pulses.look(tx, _names(known))
            alive = await processes.alive(tx)
        workers = [one for one in alive if one.kind == "worker"]
        self._pulses = {
            look.seen.name: pulse.beat(self._pulses.get(look.seen.name), look.seen)
            for look in looks
        }
        for look in looks:
            await self._stalled(look, known, workers=len(workers))
            await self._failing(look, known)
            await self._in_doubt(look, known)
            await self._wanted(look, known)
            await self._missed(look, known)
        await tripping.trip(self.pool, self.limits)
        strange = {one.host for one in workers if one.fingerprint != self.fingerprint}
        await self._settings(strange, known)
        async with database.transaction(self.pool) as tx:
            await alarms.lapse(tx)

    async def _stalled(self, look: Look, known: list[Alarm], *, workers: int) -> None:
        seen, subject = look.seen, f"blast {look.seen.name}"
        now = self._pulses[seen.name]
        if look.state in blast.ENDED:
            left = f"; {seen.left:,} were not sent" if seen.left else ""
            await self._clear(Kind.STALLED, subject, known, f"it is {look.state}{left}")
        elif pulse.is_stalled(now, seen, limit=self.stalled):
            async with database.transaction(self.pool) as tx:
                closed = [_said(one) for one in await pulses.closed(tx, seen.name)]
                text = pulse.stalled(now, seen, workers=workers, closed=closed)
                if _open(Kind.STALLED, subject, known) != text:
                    await alarms.sustain(tx, Kind.STALLED, subject, text)
        elif look.state is blast.State.PAUSED:
            await self._clear(Kind.STALLED, subject, known, "a person paused it")
        elif now.since == seen.at:
            await self._clear(Kind.STALLED, subject, known, "it goes on")

    async def _failing(self, look: Look, known: list[Alarm]) -> None:
        seen, subject = look.seen, f"blast {look.seen.name}"
        if look.state in blast.RUNNING and pulse.is_failing(seen, share=self.failed):
            await self._pause(look)
        elif look.state is not blast.State.PAUSED:
            word = "" if look.state in blast.ENDED else " again"
            why = f"it is {look.state}{word}"
            await self._clear(Kind.FAILING, subject, known, why)

    async def _pause(self, look: Look) -> None:
        seen = look.seen
        text = pulse.failing(seen)
        try:
            async with database.transaction(self.pool) as tx:
                found = await blasts.get(tx, seen.name)
                await blasts.move(
                    tx, found, blast.Move.PAUSE, actor=ACTOR, why=text.rstrip(".")
                )
                await pulses.excuse(
                    tx, found.id, failed=seen.failed, results=seen.results
                )
                await alarms.raise_(tx, Kind.FAILING, f"blast {seen.name}", text)
        except errors.Conflict:
            return  # a person, or another machine, was faster
        log.warning("blast.paused", blast=seen.name, why=text)

    async def _in_doubt(self, look: Look, known: list[Alarm]) -> None:
        if not look.in_doubt:
            subject = f"blast {look.seen.name}"
            await self._clear(
                Kind.IN_DOUBT, subject, known, "none is in doubt any more"
            )

    async def _wanted(self, look: Look, known: list[Alarm]) -> None:
        if look.state is not blast.State.PAUSED:
            word = "" if look.state in blast.ENDED else " again"
            subject = f"blast {look.seen.name}"
            await self._clear(
                Kind.UNWANTED, subject, known, f"it is {look.state}{word}"
            )

    async def _missed(self, look: Look, known: list[Alarm]) -> None:
        """Count again whom an expired blast missed: what was in DATA has its end."""
        subject, recipients = f"blast {look.seen.name}", look.seen.recipients
        told = _open(Kind.MISSED, subject, known)
        missed = look.expired + look.seen.left
        if told is None or not recipients:
            return
        text = pulse.missed(missed, recipients)
        if not missed:
            await self._clear(Kind.MISSED, subject, known, "all were sent to after all")
        elif told != text:
            async with database.transaction(self.pool) as tx:
                await alarms.sustain(tx, Kind.MISSED, subject, text)

    async def _settings(self, strange: set[str], known: list[Alarm]) -> None:
        for host in sorted(strange):
            text = "Its worker was started with other files in config/ or other keys."
            if _open(Kind.SETTINGS, host, known) != text:
                async with database.transaction(self.pool) as tx:
                    await alarms.sustain(tx, Kind.SETTINGS, host, text)
        for one in known:
            if one.kind is Kind.SETTINGS and one.subject not in strange:
                await self._clear(
                    Kind.SETTINGS, one.subject, known, "its workers have ours, or ended"
                )

    async def _clear(
        self, kind: Kind, subject: str, known: list[Alarm], why: str
    ) -> None:
        if _open(kind, subject, known) is not None:
            async with database.transaction(self.pool) as tx:
                await alarms.clear(tx, kind, subject, why=why)


def _names(known: list[Alarm]) -> list[str]:
    """Return the blasts that alarms are about, which may have ended."""
    return [
        one.subject.removeprefix("blast ")
        for one in known
        if one.subject.startswith("blast ")
    ]


def _open(kind: Kind, subject: str, known: list[Alarm]) -> str | None:
    """Return what the open alarm says, or None."""
    for one in known:
        if (one.kind, one.subject) == (kind, subject):
            return one.detail
    return None


def _said(one: pulses.Closed) -> str:
    """Say until when a lane is closed, and why."""
    if one.is_halted:
        return f"{one.provider}/{one.source} until it is released ({one.reason})"
    return f"{one.provider} until {one.not_before:%H:%M} UTC ({one.reason})"
