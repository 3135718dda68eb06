"""How a worker begins: its settings, its lanes, its name and its journal."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from mailer import errors, spool
from mailer.core import bounce, cap, lane, provider
from mailer.mail.route import Router
from mailer.pipeline.sending import journal as diary
from mailer.pipeline.sending.content import House
from mailer.store import caps, database, journals, lanes, processes

SEGMENT = 3600.0  # seconds that a segment of the journal is written: kept for a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker is started with."""

    house: House
    sources: tuple[provider.Source, ...]
    providers: tuple[provider.Provider, ...]
    rules: bounce.Rules
    retry: tuple[timedelta, ...]
    fingerprint: str
    journals: Path
    router: Router | None = None  # of sources that send directly
    caps: tuple[cap.Cap, ...] = ()  # limits that lanes share
    connections: int = 100  # of one process, all lanes together
    patience: float = 30.0  # seconds that others wait behind an answer that is missing
    speed: float = 1.0  # of the clock that lanes live by: more in a time-lapse


def known_provider(
    known: tuple[provider.Provider, ...], name: str
) -> provider.Provider:
    """Return the provider of that name, with usual limits when nobody knows it."""
    for one in known:
        if one.name == name:
            return one
    return provider.Provider(name=name)


async def prepare(tx: database.Connection, setup: Setup) -> None:
    """Have a lane for each provider and source, within what the settings say now.

    What was learned of a provider stays; a lane that was at its start takes the new.
    """
    names = {one.name for one in setup.providers} | {provider.OTHER}
    known = {(one.provider, one.source): one for one in await lanes.everything(tx)}
    for source in sorted(setup.sources, key=lambda one: one.name):
        for name in sorted(names):
            limits = lane.limits(known_provider(setup.providers, name), source)
            found = known.get((name, source.name))
            if found is None or not found.is_as_said(limits, source):
                await _fit(tx, name, source, limits)
    await caps.keep(tx, setup.caps)
    await lanes.forget(tx)


async def _fit(
    tx: database.Connection, name: str, source: provider.Source, limits: lane.Limits
) -> None:
    await lanes.add(
        tx,
        provider=name,
        source=source.name,
        pool=source.pool,
        connections=limits.connections,
    )
    locked = await lanes.lock(tx, provider=name, source=source.name)
    assert locked is not None
    begun = lane.begun(limits, locked.now)
    if locked.limits is None:  # it is new, or of a release that did not learn
        state = replace(begun, not_before=locked.state.not_before)
    elif locked.is_untouched:
        state = begun
    else:
        state = lane.fitted(locked.state, limits)
    await lanes.allow(
        tx, locked, pool=source.pool, limits=limits, is_warming=source.warmup
    )
    await lanes.save(tx, locked, state)


def capped(
    shared: Sequence[cap.Cap], of: provider.Lane, senders: Collection[str]
) -> tuple[str, ...]:
    """Return which domains of From a lane shares limits by."""
    domains = {one.domain for one in shared if one.holds(of) and one.domain}
    return tuple(sorted(domains.intersection(one.lower() for one in senders)))


async def enter(
    tx: database.Connection, setup: Setup, *, owner: str
) -> journals.Standing:
    """Say who we are, and that we begin; return where our journal stands."""
    await prepare(tx, setup)
    await processes.enter(
        tx,
        owner,
        kind="worker",
        host=platform.node(),
        boot=diary.boot() or "unknown",
        pid=os.getpid(),
        fingerprint=setup.fingerprint,
    )
    return await journals.begin(tx, owner)


@contextmanager
def journal(root: Path) -> Iterator[tuple[str, spool.Writer]]:
    """Begin a journal under a name of our own, and yield both."""
    with ExitStack() as stack:
        while True:
            owner = f"worker-{uuid4().hex[:12]}"
            # One that looks for the dead may take it before we do.
            with suppress(errors.Conflict):
                writer = stack.enter_context(spool.writing(root / owner, age=SEGMENT))
                break
        yield owner, writer
