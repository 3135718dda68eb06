"""One real PostgreSQL for a run of the tests, and a fresh database for each test."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from mailer.settings.workspace import make
from mailer.store import backups, database, embedded, migrate
from tests import sink as sinks
from tests import tools

# Modules of the tests whose asserts should say what they saw; before anyone
# imports them.
pytest.register_assert_rewrite(
    "tests.journeys.letters", "tests.journeys.tracker", "tests.program"
)

# Nothing of a test has to survive a power cut.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}


FAULTS, JOURNEYS = (Path(__file__).parent / name for name in ("faults", "journeys"))
LAW = 240  # seconds for a law: its examples, on a machine that does other things too


def pytest_report_header() -> list[str]:
    """Say which of the system's tools are there."""
    return [
        f"{tool.marker}: {tool.find() or f'left out ({tool.cure})'}"
        for tool in tools.TOOLS
    ]


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out the tests whose tools are missing; the header says which.

    Those that start whole programs run one after the other, on one core: they look
    at the time, and would hold each other up.

    Laws get more time: what pytest-timeout raises inside one, hypothesis takes for
    a counterexample, and it shrinks that for minutes.
    """
    for item in items:
        if item.path.is_relative_to(FAULTS) or item.path.is_relative_to(JOURNEYS):
            item.add_marker(pytest.mark.xdist_group("programs"))
        function = getattr(item, "obj", None)
        has_its_own = item.get_closest_marker("timeout") is not None
        if getattr(function, "is_hypothesis_test", False) and not has_its_own:
            item.add_marker(pytest.mark.timeout(LAW))
    missing = {tool.marker for tool in tools.TOOLS if tool.find() is None}
    out = [
        item for item in items if any(item.get_closest_marker(name) for name in missing)
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The address of a server for this run: MAILER_TEST_SERVER, else one of our own."""
    given = os.environ.get("MAILER_TEST_SERVER")
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="mailer-tests-"))
    with embedded.using(folder, settings=SETTINGS, linger=0, temporary=True) as url:
        yield url


@pytest.fixture(scope="session")
def database_template(database_server: str) -> Iterator[str]:
    """The name of a database that has every migration and no rows."""
    name = f"mailer_template_{uuid4().hex[:12]}"

    async def made() -> None:
        await _execute(database_server, f"CREATE DATABASE {name}")
        async with database.opened(
            backups.named(database_server, name), size=1
        ) as pool:
            await migrate.ensure(pool)

    asyncio.run(made())
    yield name
    asyncio.run(_execute(database_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def database_url(
    database_server: str, database_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """The address of a migrated database that only this test has."""
    mark = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    name = f"mailer_test_{mark}_{uuid4().hex[:8]}"
    await _execute(
        database_server,
        f"CREATE DATABASE {name} TEMPLATE {database_template} STRATEGY file_copy",
    )
    yield backups.named(database_server, name)
    for left in (name, f"{name}_before_restore"):
        drop = f"DROP DATABASE IF EXISTS {left} WITH (FORCE)"
        await _execute(database_server, drop)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[database.Pool]:
    """Connections to a migrated database that only this test has."""
    async with database.opened(database_url) as pool:
        yield pool


@pytest.fixture
async def sink() -> AsyncIterator[sinks.Sink]:
    """A provider that the test scripts, over real SMTP."""
    async with sinks.serving() as served:
        yield served


@pytest.fixture
def workspace(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder as `mailer init` makes it; commands in it use this test's database."""
    monkeypatch.setenv("MAILER_DATABASE_URL", database_url)
    folder = tmp_path / "workspace"
    make(folder)
    return folder


async def _execute(url: str, statement: str) -> None:
    """Run one statement outside of any transaction."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
