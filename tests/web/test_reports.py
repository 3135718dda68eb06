"""The private port shows the same report as the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mailer.store import database
from mailer.web.reports import Reports
from tests import samples

NOON = samples.LAUNCH + timedelta(hours=6)
TWO = [("a", "Hours <b>left</b>"), ("b", "Some scary numbers")]
CELLS = [
    samples.cell(
        1, recipients=900, sent=900, clicks=30, donors=9, gifts=9, money=Decimal(200)
    ),
    samples.cell(
        2, recipients=900, sent=900, clicks=20, donors=5, gifts=5, money=Decimal(90)
    ),
]

# What the report needs, and a server that nobody asks for one does not.
HEAVY = ("numpy", "scipy", "altair", "vl_convert")

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(db: database.Pool) -> AsyncIterator[Client]:
    await samples.insert(db, samples.given(TWO, CELLS), CELLS)
    app = web.Application()
    app.add_routes(Reports(pool=db, now=lambda: NOON).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_the_list_leads_to_the_report(client: Client) -> None:
    answer = await client.get("/reports")

    assert answer.status == 200
    assert '<a href="reports/eoq">eoq</a>' in await answer.text()


async def test_a_report_is_a_page_that_may_run_nothing(client: Client) -> None:
    answer = await client.get("/reports/eoq")

    text = await answer.text()
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Hours &lt;b&gt;left&lt;/b&gt;" in text
    assert "<svg " in text


async def test_the_rows_of_a_report_can_be_had(client: Client) -> None:
    answer = await client.get("/reports/eoq.csv")

    assert answer.content_type == "text/csv"
    assert (await answer.text()).startswith("blast,as_of,")


def test_a_server_that_nobody_asks_loads_no_numbers_and_no_charts() -> None:
    code = (
        f"import sys, mailer.web.app; print([m for m in {HEAVY} if m in sys.modules])"
    )

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == "[]"


async def test_a_blast_that_is_not_there_is_404(client: Client) -> None:
    answer = await client.get("/reports/nobody")

    assert answer.status == 404
    assert "nobody" in await answer.text()
