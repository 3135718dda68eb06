"""Reports in a browser, on the private port: as `mailer report --html` writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from aiohttp import web

from mailer import errors
from mailer.pipeline import Pool

# Numbers and charts take a second and 100 MB: a server that nobody asks for a report
# goes without them, and the first who asks does not stop the clicks of everybody.
if TYPE_CHECKING:
    from mailer.pipeline.reporting.figures import Report

# A page of ours runs no script and asks nobody for anything.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The handlers of the reports."""

    pool: Pool
    now: Callable[[], datetime]
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)  # seconds of CPU a page

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses of the list, the pages and the rows."""
        return [
            web.get("/reports", self.index),
            web.get("/reports/{blast}.csv", self.tidy),
            web.get("/reports/{blast}", self.page),
        ]

    async def index(self, _request: web.Request) -> web.Response:
        """Show which blasts there are reports of."""
        page = await _loaded("page")
        reporting = await _loaded()
        found = await reporting.listed(self.pool)
        return _html(page.index(found))

    async def page(self, request: web.Request) -> web.Response:
        """Show the report of a blast."""
        page = await _loaded("page")
        found = await self._report(request)
        async with self.drawing:
            return _html(await asyncio.to_thread(page.render, found))

    async def tidy(self, request: web.Request) -> web.Response:
        """Return the rows of a report as CSV."""
        rows = await _loaded("rows")
        found = await self._report(request)
        name = f"{found.head.blast}.csv"
        return web.Response(
            text=rows.csv(found),
            content_type="text/csv",
            charset="utf-8",
            headers={
                **HEADERS,
                "Content-Disposition": f'attachment; filename="{name}"',
            },
        )

    async def _report(self, request: web.Request) -> Report:
        name = request.match_info["blast"]
        reporting = await _loaded()
        try:
            found: Report = await reporting.report(self.pool, name, now=self.now())
        except errors.NotFound as error:
            raise web.HTTPNotFound(text=f"{error}\n", headers=HEADERS) from error
        except errors.Unavailable as error:
            raise web.HTTPServiceUnavailable(
                text=f"{error}\n", headers=HEADERS
            ) from error
        return found


async def _loaded(name: str = "") -> ModuleType:
    """Import the step, or a module of it, off the loop."""
    place = f"mailer.pipeline.reporting.{name}".rstrip(".")
    return await asyncio.to_thread(import_module, place)


def _html(text: str) -> web.Response:
    return web.Response(
        text=text, content_type="text/html", charset="utf-8", headers=HEADERS
    )
