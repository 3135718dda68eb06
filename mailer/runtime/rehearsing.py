"""Rehearse a blast: wire the real steps to a database and to providers of its own.

Nothing leaves this machine, by construction: the only sources that the worker is given
are at 127.0.0.1, on the port where the simulated providers listen, and there is no
router that could find another server.  Nothing comes back, either: links are sealed
with keys that end with the rehearsal, so that no click on one of them counts.
The real database is read and never written.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from mailer import errors
from mailer.core import blast, provider, timelapse, tracking
from mailer.core.delivery import BlastId
from mailer.core.forecast import Forecast
from mailer.pipeline import closing, launching, rehearsing, scheduling, sending
from mailer.runtime import Workspace, now
from mailer.runtime.running import pause, setup
from mailer.store import database, migrate, rehearsals

FULL = 1e6  # times as fast as real: what waits at full speed waits no longer
LOOK = 0.25  # seconds between two looks
SECOND_TRY = 15.0  # seconds that are waited for what was put off, and nothing else
STILL = 45.0  # seconds without a message, after which it is over
LONGEST = timedelta(days=30)  # that a rehearsal without an end may play
FREE_BYTES = 500_000_000  # that must stay free
PERSON_BYTES = 3000  # of a copy, its ledger, indexes and journal
PLACE = Path(".mailer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What kind of rehearsal; *speed* None: one that fits."""

    scenario: str = "default"
    speed: float | None = None
    is_full: bool = False  # nothing waits for time


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far a rehearsal is."""

    doing: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """What was read before the curtain rises."""

    copy: rehearsing.Copy
    is_approved: bool
    people: int
    suppressed: int
    forecast: Forecast
    speed: float
    providers: tuple[provider.Provider, ...]  # as their lanes stand
    lasts: timedelta  # from its start to its expires_at


async def rehearse(
    workspace: Workspace,
    name: str,
    *,
    wish: Wish,
    actor: str,
    stop: asyncio.Event,
    tell: Callable[[Stage], None],
) -> rehearsing.Report | None:
    """Run the whole blast *name* against simulated providers; None when told to stop.

    Raises NotFound for the blast or the scenario, Invalid for its files, Conflict when
    nobody would get it or the disk has no room.
    """
    desk = scheduling.Desk(
        pool=workspace.pool,
        root=workspace.root,
        settings=workspace.settings,
        actor=actor,
    )
    tell(Stage(doing="asking who gets it"))
    ready = await _read(desk, name, wish)
    _demand_room(workspace.root, ready.people)
    speed = None if wish.is_full else ready.speed
    tell(Stage(doing="starting a database of its own"))
    async with (
        rehearsals.opened(workspace.root / PLACE) as (folder, url),
        database.opened(url) as scratch,
        rehearsing.playing(wish.scenario, speed=speed, now=now) as play,
    ):
        await migrate.ensure(scratch)
        async with database.transaction(scratch) as tx:
            await rehearsals.hurry(tx, speed=speed or FULL)
        start = now()

        def copied(count: int) -> None:
            tell(Stage(doing="copying people", done=count, total=ready.people))

        found = await rehearsing.copy(
            workspace.pool,
            scratch,
            ready.copy,
            send_at=start,
            expires_at=start + timelapse.life(ready.lasts, speed),
            tell=copied,
        )
        tell(Stage(doing="launching"))
        await launching.launch(scratch, found.name)
        begun = time.monotonic()
        worker = _setup(workspace, ready, port=play.port, speed=speed, folder=folder)
        stands = await _send(scratch, found.id, worker, ready, stop=stop, tell=tell)
        if stop.is_set():
            return None
        seconds = time.monotonic() - begun
        file = workspace.root / PLACE / f"rehearsal-{found.name}.csv"
        failed, failures = await rehearsing.write_failures(scratch, found.id, file)
        compared, replies = await rehearsing.judge(
            scratch,
            found.id,
            speed=speed or 1.0,
            forecast=None if wish.is_full else ready.forecast,
        )
        return rehearsing.Report(
            blast=found.name,
            is_approved=ready.is_approved,
            scenario=wish.scenario,
            speed=speed,
            people=ready.people,
            suppressed=ready.suppressed,
            seconds=seconds,
            providers=compared,
            sizes=play.sizes,
            failed=failed,
            failures=failures,
            failures_file=file if failed else None,
            replies=replies,
            stands=stands,
            forecast=None if wish.is_full else ready.forecast,
        )


async def _read(desk: scheduling.Desk, name: str, wish: Wish) -> _Ready:
    """Read all that a rehearsal needs of the real database, and the blast's files."""
    found, written = await scheduling.peek(desk, name)
    moment = now()
    start = max(written.spec.send_at or moment, moment)
    end = written.expires_at or start + blast.LIFETIME
    lasts = end - start if end > start else blast.LIFETIME
    pool = written.spec.pool
    async with database.connection(desk.pool) as tx:
        paces = await scheduling.paces(tx, desk.settings, pool=pool, now=moment)
        providers = timelapse.providers(desk.settings.providers, paces=paces, speed=1)
        forecaster = scheduling.Forecaster(replace(desk.settings, providers=providers))
        size = await scheduling.audience_of(tx, written.body, topic=found.topic)
        asked = scheduling.Asked(
            id=found.id,
            people=size.owed,
            pool=pool,
            priority=written.spec.priority,
            starts_at=moment,
            expires_at=moment + lasts,
            is_alone=True,
        )
        foreseen = await forecaster.foresee(tx, asked, now=moment)
        speed = wish.speed or timelapse.fitting(foreseen)
    if not size.mailable:
        message = f"blast {found.name} has no recipients: look at its segment"
        raise errors.Conflict(message)
    return _Ready(
        copy=rehearsing.Copy(
            found=found,
            spec=written.spec,
            body=written.body,
            arms=written.arms,
            links=written.links,
        ),
        is_approved=found.approved_hash == written.hash,
        people=size.mailable,
        suppressed=size.suppressed,
        forecast=foreseen,
        speed=speed,
        providers=providers,
        lasts=min(lasts, LONGEST),
    )


def _demand_room(root: Path, people: int) -> None:
    wanted = people * PERSON_BYTES + FREE_BYTES
    free = shutil.disk_usage(root).free
    if free < wanted:
        message = (
            f"{root}: {free / 1e9:.1f} GB free, and a rehearsal with {people:,} people "
            f"wants {wanted / 1e9:.1f} GB for a while"
        )
        raise errors.Conflict(message)


def _setup(
    workspace: Workspace, ready: _Ready, *, port: int, speed: float | None, folder: Path
) -> sending.Setup:
    """Return a worker's setup that reaches the simulated providers and nobody else."""
    chosen = workspace.settings
    pool = ready.copy.spec.pool
    house = setup(workspace).house
    return sending.Setup(
        house=replace(
            house,
            ring=tracking.Ring(keys={1: secrets.token_bytes(32)}, current=1),
        ),
        sources=tuple(
            timelapse.source(one, port=port, speed=speed)
            for one in chosen.sources
            if one.pool == pool
        ),
        providers=timelapse.providers(ready.providers, paces={}, speed=speed),
        rules=chosen.bounces,
        retry=tuple(timelapse.wait(one, speed) for one in chosen.retry),
        fingerprint="rehearsal",
        journals=folder / "journal",
        router=None,
        speed=speed or 1.0,
    )


async def _send(
    scratch: database.Pool,
    id: BlastId,
    worker: sending.Setup,
    ready: _Ready,
    *,
    stop: asyncio.Event,
    tell: Callable[[Stage], None],
) -> str | None:
    """Have a worker send until all is tried; return why it stood still, if it did."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as parts:
        parts.create_task(sending.work(scratch, worker, stop=over))
        try:
            return await _follow(scratch, id, ready, stop=stop, tell=tell)
        finally:
            over.set()


async def _follow(
    scratch: database.Pool,
    id: BlastId,
    ready: _Ready,
    *,
    stop: asyncio.Event,
    tell: Callable[[Stage], None],
) -> str | None:
    last, since = -1, time.monotonic()
    while not stop.is_set():
        await closing.close_due(scratch)
        seen = await rehearsing.look(scratch, id)
        tell(Stage(doing="sending", done=seen.tried, total=ready.people))
        if seen.is_over:
            return None
        if seen.tried != last:
            last, since = seen.tried, time.monotonic()
        still = time.monotonic() - since
        if seen.is_waiting and still > SECOND_TRY:
            return None
        if still > STILL:
            return await _why(scratch)
        await pause(stop, LOOK)
    return None


async def _why(scratch: database.Pool) -> str:
    async with database.connection(scratch) as tx:
        closed = await rehearsals.closed(tx)
    lanes = "; ".join(f"{one.provider} is closed: {one.reason}" for one in closed)
    return f"nothing went out for {STILL:.0f} s" + (f": {lanes}" if lanes else "")
