"""The public app over real HTTP, its spool, and what was written there."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from mailer import spool
from mailer.core import event, tracking
from mailer.core.event import Event
from mailer.core.tracking import Purpose, Ring, Token
from mailer.pipeline import linking, receiving
from mailer.settings import Credentials
from mailer.store import database
from mailer.web import app, front, pages
from mailer.web.hooks import Hooks
from mailer.web.preferences import Preferences
from mailer.web.signup import Signup
from mailer.web.tracking import Tracking

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
RING = Ring(keys={1: bytes(range(32)), 2: bytes(range(1, 33))}, current=1)
ADA = Token(blast=1, subscriber=7, link=3)

# Nobody answers there: what follows works without a database.
NOWHERE = "postgresql://127.0.0.1:1/none"

LINKS = {
    "1": {
        "3": "https://example.org/%7e?u=http%3A%2F%2Fy%2f&a=..%2F[1]#x",
        "4": "https://example.org/d?who={v0}&refcode2={refcode2}",
        "5": "javascript:alert(1)",
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """A running public app, to be asked, and what it has written down."""

    client: TestClient[aiohttp.web.Request, aiohttp.web.Application]
    inbox: receiving.Inbox
    links: linking.Links
    folder: Path

    async def ask(self, method: str, path: str, **more: Any) -> aiohttp.ClientResponse:
        """Return the answer, redirects not followed."""
        url = URL(path, encoded=True)
        return await self.client.request(
            method,
            url,
            allow_redirects=False,
            **more,
        )

    def events(self) -> list[Event]:
        """Return what is in the spool, in both queues."""
        folders = itertools.chain.from_iterable(
            (self.folder / queue.value).iterdir() for queue in event.Queue
        )
        return [
            event.decode(record.payload)
            for folder in folders
            for record in spool.read(folder)
        ]


def path(letter: str, purpose: Purpose, token: Token = ADA) -> str:
    return f"/{letter}/{tracking.seal(RING, purpose, token)}"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[receiving.Inbox]:
    with receiving.opened(tmp_path / "spool") as opened:
        yield opened


@pytest.fixture
async def tracker(inbox: receiving.Inbox, tmp_path: Path) -> AsyncIterator[Tracker]:
    folder = tmp_path / "spool"
    file = folder / "links.json"
    file.write_text(json.dumps(LINKS))
    async with database.opened(NOWHERE, at_once=False) as away:
        links = linking.Links(away, file)
        links.recall()
        async with serving(inbox, links, folder) as running:
            yield running


def parts(
    inbox: receiving.Inbox, links: linking.Links, pool: database.Pool | None = None
) -> tuple[Tracking, Hooks]:
    """Return what the public app is made of."""
    tracking_app = Tracking(
        ring=RING,
        links=links,
        inbox=inbox,
        now=lambda: NOON,
        house=pages.House(name="Example <for> Congress", contact="help@example.org"),
        pool=pool,
    )
    hooks = Hooks(
        ring=RING,
        inbox=inbox,
        now=lambda: NOON,
        actblue=Credentials(user="blue", password="p:ss wörd"),
    )
    return tracking_app, hooks


@asynccontextmanager
async def serving(
    inbox: receiving.Inbox, links: linking.Links, folder: Path
) -> AsyncIterator[Tracker]:
    tracking_app, hooks = parts(inbox, links)
    async with serving_parts(inbox, tracking_app, hooks, folder=folder) as running:
        yield running


@asynccontextmanager
async def serving_parts(
    inbox: receiving.Inbox,
    tracking: Tracking,
    *more: Hooks | Preferences | Signup,
    folder: Path,
) -> AsyncIterator[Tracker]:
    """Serve these parts as the public app."""
    server = TestServer(app.public(tracking, *more), access_log=None)
    async with TestClient(server, cookie_jar=aiohttp.DummyCookieJar()) as client:
        assert server.runner is not None
        assert server.runner.server is not None
        front.hasten(server.runner.server, tracking)
        yield Tracker(client=client, inbox=inbox, links=tracking.links, folder=folder)
