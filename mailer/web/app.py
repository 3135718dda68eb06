"""The two servers of a machine: one that the world reaches, one that only we do."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from mailer import errors
from mailer.pipeline import Pool, linking, receiving, recording
from mailer.settings import Address, Settings
from mailer.web.hooks import Hooks, Relays
from mailer.web.operations import Operations
from mailer.web.reports import Reports
from mailer.web.tracking import Tracking
from mailer.web.troubles import Troubles

BODY_BYTES = 64 * 1024  # the longest body that a stranger may send
KEEPALIVE = 15.0  # seconds; aiohttp's hour lets idle sockets and half headers pile up
GOODBYE = 5.0  # seconds for requests that are being answered when we stop


class _Strangers(logging.Filter):
    """Keep what is no HTTP out of the log: a stranger could fill the disk with it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record* is about us."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


logging.getLogger("aiohttp.server").addFilter(_Strangers())


def public(
    tracking: Tracking, hooks: Hooks, relays: Relays | None = None
) -> web.Application:
    """Return what the world reaches: nothing here shows or changes but by a token."""
    app = web.Application(client_max_size=BODY_BYTES)
    app.add_routes([*tracking.routes(), *hooks.routes()])
    if relays is not None:
        app.add_subapp("/hooks/relay", relays.app())
    app.on_response_prepare.append(_without_server)
    return app


def private(operations: Operations, reports: Reports) -> web.Application:
    """Return what only we reach."""
    app = web.Application(client_max_size=BODY_BYTES)
    app.add_routes([*operations.routes(), *reports.routes()])
    app.on_response_prepare.append(_without_server)
    return app


async def _without_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)


async def serve(
    settings: Settings,
    pool: Pool,
    spool_dir: Path,
    stop: asyncio.Event,
    *,
    now: Callable[[], datetime],
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve both apps and load the spool until *stop*; call *started* when they listen.

    Raises Unavailable when a port cannot be had.
    """
    links = linking.Links(pool, spool_dir / "links.json")
    links.recall()
    loader = recording.Loader(pool, spool_dir, patience=settings.returns.patience)
    finished = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        with receiving.opened(spool_dir) as inbox:
            tracking = Tracking(
                ring=settings.keys,
                links=links,
                inbox=inbox,
                now=now,
                organization=settings.organization.name,
                contact=settings.organization.help_,
                website=settings.organization.website,
            )
            hooks = Hooks(
                ring=settings.keys, inbox=inbox, now=now, actblue=settings.actblue
            )
            relays = Relays(
                ring=settings.keys, inbox=inbox, now=now, known=settings.relays
            )
            operations = Operations(pool=pool, links=links, inbox=inbox, loader=loader)
            reports = Reports(pool=pool, now=now)
            troubles = Troubles(pool=pool, inbox=inbox, loader=loader)
            async with (
                listening(
                    public(tracking, hooks, relays), settings.public, key="public"
                ),
                listening(
                    private(operations, reports), settings.private, key="private"
                ),
            ):
                tasks.create_task(linking.run(links, finished))
                tasks.create_task(troubles.run(stop))
                tasks.create_task(
                    recording.run(pool, spool_dir, finished, loader=loader)
                )
                started()
                await stop.wait()
        finished.set()


@asynccontextmanager
async def listening(
    app: web.Application, address: Address, *, key: str
) -> AsyncIterator[None]:
    """Serve *app* at *address*, which stands under [*key*] of the settings."""
    runner = web.AppRunner(
        app,
        access_log=None,  # aiohttp's shows tokens, addresses and agents
        handle_signals=False,
        keepalive_timeout=KEEPALIVE,
        shutdown_timeout=GOODBYE,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise errors.Unavailable(_why_not(error, address, key=key)) from error
        yield
    finally:
        await runner.cleanup()


def _why_not(error: OSError, address: Address, *, key: str) -> str:
    place = f"{address.host}:{address.port}"
    cure = f"set [{key}] port in config/settings.toml"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{place} is taken: {cure}"
        case errno.EACCES:
            return f"{place} is not for us, ports below 1024 are root's: {cure}"
        case _:
            cure = f"see [{key}] in config/settings.toml"
            return f"{place} cannot be had ({error.strerror}): {cure}"
