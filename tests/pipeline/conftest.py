"""A worker in the test's own loop, and a sink for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailer import settings
from mailer.core.bounce import Rules
from mailer.core.provider import Provider, Rate, Source
from mailer.core.tracking import Ring
from mailer.pipeline import sending
from mailer.store import database
from tests import sink as sinks
from tests.sink import Sink

RING = Ring(keys={1: bytes(range(32))}, current=1)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A provider that the test can script."""
    async with sinks.serving() as served:
        yield served


@dataclass(frozen=True)
class Workshop:
    """Runs workers on a database, each with a journal of its own."""

    db: database.Pool
    setup: sending.Setup

    @asynccontextmanager
    async def working(self, count: int = 1) -> AsyncIterator[None]:
        """Have *count* workers at work inside the block; drained after it."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as workers:
            for _ in range(count):
                workers.create_task(sending.work(self.db, self.setup, stop=stop))
            try:
                yield
            finally:
                stop.set()

    def with_source(self, **changes: object) -> Workshop:
        """Return one whose source is changed."""
        source = replace(self.setup.sources[0], **changes)  # type: ignore[arg-type]  # as given
        return Workshop(self.db, replace(self.setup, sources=(source,)))


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    """Ask the database again and again.  TimeoutError when it stays no for 10 s."""
    async with asyncio.timeout(10):
        while not await question():
            pass


@pytest.fixture
def workshop(db: database.Pool, sink: Sink, tmp_path: Path) -> Workshop:
    """Workers whose only source is the sink, unlimited."""
    source: Source = replace(sink.source, rate=Rate.parse("unlimited"), connections=4)
    shipped = settings.read(settings.shipped(settings.BOUNCES), settings.Bounces)
    setup = sending.Setup(
        house=sending.House(
            organization={"organization": "Example for Congress"},
            public_url="https://track.test",
            ring=RING,
        ),
        sources=(source,),
        providers=(Provider(name="google", messages=50),),
        rules=Rules(rules=tuple(shipped.rule.values())),
        retry=(timedelta(seconds=0),),
        fingerprint="test",
        journals=tmp_path / "journal",
    )
    return Workshop(db, setup)
