"""The whole: both servers and the loader, until told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from mailer import errors, settings
from mailer.core.alarm import Kind
from mailer.core.tracking import Purpose
from mailer.settings import Address, Settings, workspace
from mailer.store import alarms, database
from mailer.web import app
from tests import given
from tests.web.conftest import NOON, NOWHERE, RING, path

LEAVE = path("u", Purpose.UNSUBSCRIBE)
CLICK = path("c", Purpose.CLICK)

BLAST = """
    INSERT INTO blast (name, topic, file, hash) VALUES ('first', 'news', 'f', 'h');
    INSERT INTO link (blast_id, index, variant, url)
    VALUES (1, 3, 1, 'https://example.org/a');
    INSERT INTO subscriber (id, address, email, domain, provider, signed_up_at)
    OVERRIDING SYSTEM VALUE
    VALUES (7, 'ada@example.org', 'ada@example.org', 'example.org', 'x', now());
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    workspace.make(tmp_path / "w")
    return dataclasses.replace(
        settings.load(tmp_path / "w", environment={}),
        public=Address(port=free_port()),
        private=Address(port=free_port()),
        keys=RING,
    )


@asynccontextmanager
async def serving(
    chosen: Settings, pool: database.Pool, folder: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """Run everything until the block ends."""
    stop, started = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            app.serve(chosen, pool, folder, stop, now=lambda: NOON, started=started.set)
        )
        await started.wait()
        try:
            async with aiohttp.ClientSession() as session:
                yield session
        finally:
            stop.set()


async def metrics(session: aiohttp.ClientSession, chosen: Settings) -> dict[str, float]:
    async with session.get(chosen.private.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {
        name: float(number)
        for name, _, number in (
            line.rpartition(" ") for line in lines if not line.startswith("#")
        )
    }


async def test_what_comes_in_is_in_the_database_soon(
    chosen: Settings, db: database.Pool, tmp_path: Path
) -> None:
    async with database.connection(db) as connection:
        await connection.raw.execute(BLAST)

    async with serving(chosen, db, tmp_path / "spool") as session:
        await session.get(chosen.public.url + CLICK, allow_redirects=False)
        await session.post(chosen.public.url + LEAVE)
        async with asyncio.timeout(10):
            while (await metrics(session, chosen))["mailer_events_loaded_total"] < 2:
                pass

    assert await given.rows(db, "SELECT address, topic, source FROM suppression") == [
        ("ada@example.org", "news", "blast first")
    ]
    assert list((tmp_path / "spool").glob("*/*/*.spool")) == []


async def test_the_last_events_are_loaded_before_the_end(
    chosen: Settings, db: database.Pool, tmp_path: Path
) -> None:
    async with serving(chosen, db, tmp_path / "spool") as session:
        await session.post(chosen.public.url + LEAVE)

    assert await given.rows(db, "SELECT kind::text FROM event") == [("unsubscribe",)]


async def test_operations_tell_how_it_goes(
    chosen: Settings, db: database.Pool, tmp_path: Path
) -> None:
    async with database.connection(db) as connection:
        await connection.raw.execute(BLAST)

    async with serving(chosen, db, tmp_path / "spool") as session:
        await session.get(chosen.public.url + CLICK, allow_redirects=False)
        health = await session.get(chosen.private.url + "/healthz")
        ready = await session.get(chosen.private.url + "/readyz")
        said = await ready.json()
        shown = await metrics(session, chosen)
        on_public = await session.get(chosen.public.url + "/metrics")

    assert (health.status, ready.status, on_public.status) == (200, 200, 404)
    assert (said["ready"], said["database"]) == (True, "ok")
    assert shown['mailer_blasts{state="draft"}'] == 1
    assert shown["mailer_database_up"] == 1
    received = 'mailer_events_received_total{kind="click",label="human"}'
    assert shown[received] == 1


async def test_without_a_database_it_starts_and_is_ready(
    chosen: Settings, tmp_path: Path
) -> None:
    async with (
        database.opened(NOWHERE, at_once=False) as away,
        serving(chosen, away, tmp_path / "spool") as session,
    ):
        leave = await session.post(chosen.public.url + LEAVE)
        ready = await session.get(chosen.private.url + "/readyz")
        said = await ready.json()

    assert (leave.status, ready.status, said["database"]) == (200, 200, "down")
    assert len(list((tmp_path / "spool" / "urgent").glob("*/*.spool"))) == 1


async def test_reports_are_for_us_and_not_for_the_world(
    chosen: Settings, db: database.Pool, tmp_path: Path
) -> None:
    async with serving(chosen, db, tmp_path / "spool") as session:
        ours = await session.get(chosen.private.url + "/reports")
        theirs = await session.get(chosen.public.url + "/reports")

    assert (ours.status, theirs.status) == (200, 404)


@pytest.mark.parametrize("key", ["public", "private"])
async def test_a_port_that_is_taken_says_where_to_choose_another(
    key: str, chosen: Settings, db: database.Pool, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = {key: Address(port=port)}

        with pytest.RaisesGroup(errors.Unavailable) as failure:
            await app.serve(
                dataclasses.replace(chosen, **wanted),  # type: ignore[arg-type]
                db,
                tmp_path / "spool",
                asyncio.Event(),
                now=lambda: NOON,
            )

    assert str(failure.value.exceptions[0]) == (
        f"127.0.0.1:{port} is taken: set [{key}] port in config/settings.toml"
    )


async def test_open_alarms_are_counted_and_the_others_are_zero(
    chosen: Settings, db: database.Pool, tmp_path: Path
) -> None:
    async with database.transaction(db) as tx:
        for subject in ("lane google/relay", "lane yahoo/relay"):
            await alarms.raise_(tx, Kind.LANE, subject, "550")

    async with serving(chosen, db, tmp_path / "spool") as session:
        found = await metrics(session, chosen)

    assert found['mailer_alarms_open{kind="lane_held",severity="critical"}'] == 2
    assert found['mailer_alarms_open{kind="settings_differ",severity="warning"}'] == 0
