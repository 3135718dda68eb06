"""How a worker begins: its settings, its lanes, its name and its journal."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from mailer import errors, spool
from mailer.core import bounce, provider
from mailer.mail.route import Router
from mailer.pipeline.sending import journal as diary
from mailer.pipeline.sending.content import House
from mailer.store import database, journals, lanes, processes

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


def known_provider(
    known: tuple[provider.Provider, ...], name: str
) -> provider.Provider:
    """Return the provider of that name, with usual limits when nobody knows it."""
    for one in known:
        if one.name == name:
            return one
    return provider.Provider(name=name)


async def prepare(tx: database.Connection, setup: Setup) -> None:
    """Have a lane for each provider and source."""
    names = [one.name for one in setup.providers]
    if provider.OTHER not in names:
        names.append(provider.OTHER)
    for source in sorted(setup.sources, key=lambda one: one.name):
        for name in sorted(names):
            lane = provider.lane(known_provider(setup.providers, name), source)
            await lanes.ensure(tx, lane)


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
