"""The two servers of a machine: one that the world reaches, one that only we do."""

from __future__ import annotations

import asyncio
import errno
import http
import logging
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from mailer import errors
from mailer.core import exchange, provider
from mailer.core.tracking import Ring
from mailer.pipeline import Pool, linking, preferring, receiving, recording
from mailer.settings import Address, Settings
from mailer.web import pages
from mailer.web.front import Ready, hasten
from mailer.web.hooks import Hooks, Relays
from mailer.web.operations import Operations
from mailer.web.preferences import Preferences
from mailer.web.reports import Reports
from mailer.web.signup import Signup
from mailer.web.tracking import Tracking
from mailer.web.troubles import Troubles

BODY_BYTES = 64 * 1024  # the longest body that a stranger may send
KEEPALIVE = 15.0  # seconds; aiohttp's hour lets idle sockets and half headers pile up
LINGER = 0.2  # seconds for the rest of a body that nobody reads
BACKLOG = 1024  # connections that wait to be taken
KEYS = 1.0  # seconds between two looks for new keys
GOODBYE = 5.0  # seconds for requests that are being answered when we stop


class _Strangers(logging.Filter):
    """Keep what is no HTTP out of the log: a stranger could fill the disk with it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record* is about us."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


logging.getLogger("aiohttp.server").addFilter(_Strangers())


def public(
    *parts: Tracking | Hooks | Preferences | Signup, relays: Relays | None = None
) -> web.Application:
    """Return what the world reaches: nothing here shows or changes but by a token."""
    app = web.Application(client_max_size=BODY_BYTES)
    for part in parts:
        app.add_routes(part.routes())
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


async def serve(  # noqa: PLR0913 -- what a process is told
    settings: Settings,
    pool: Pool,
    spool_dir: Path,
    stop: asyncio.Event,
    *,
    now: Callable[[], datetime],
    number: int | None = None,
    keys: Callable[[], Ring] | None = None,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve both apps and load the spool until *stop*; call *started* when they listen.

    Processes with a *number* share the public port; the private port of each is its
    own, counted on from that of number 1.  *keys* reads the keys again, every second.
    Raises Unavailable when a port cannot be had.
    """
    _have_many_sockets()
    own_private = numbered(settings.private, number or 1)
    links = linking.Links(pool, spool_dir / "links.json")
    links.recall()
    known = dict(settings.keys.keys)
    ring = Ring(keys=known, current=settings.keys.current)
    loader = recording.Loader(pool, spool_dir, patience=settings.returns.patience)
    hints = exchange.hints(settings.providers)

    def provider_of(domain: str) -> str:
        return hints.get(domain, provider.OTHER)

    finished = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        with receiving.opened(spool_dir) as inbox:
            tracking = Tracking(
                ring=ring,
                links=links,
                inbox=inbox,
                now=now,
                house=pages.House(
                    name=settings.organization.name,
                    contact=settings.organization.help_,
                    address=settings.organization.address,
                ),
                pool=pool,
                website=settings.organization.website,
            )
            relays = Relays(ring=ring, inbox=inbox, now=now, known=settings.relays)
            hooks = Hooks(ring=ring, inbox=inbox, now=now, actblue=settings.actblue)
            preferences = Preferences(
                tracking=tracking,
                pool=pool,
                house=preferring.House(
                    organization=settings.organization.words,
                    public_url=settings.public.url,
                    ring=settings.keys,
                ),
                topics=settings.topics,
                provider=provider_of,
            )
            signup = Signup(
                tracking=tracking,
                rules=settings.signup,
                provider=provider_of,
                own=settings.public.url,
            )
            operations = Operations(pool=pool, links=links, inbox=inbox, loader=loader)
            reports = Reports(pool=pool, now=now)
            troubles = Troubles(pool=pool, inbox=inbox, loader=loader)
            async with (
                listening(
                    public(tracking, hooks, preferences, signup, relays=relays),
                    settings.public,
                    key="public",
                    front=tracking,
                    is_shared=number is not None,
                ),
                listening(private(operations, reports), own_private, key="private"),
            ):
                tasks.create_task(linking.run(links, finished))
                tasks.create_task(troubles.run(stop))
                if keys is not None:
                    tasks.create_task(_learn_keys(known, keys, stop))
                tasks.create_task(
                    recording.run(pool, spool_dir, finished, loader=loader)
                )
                started()
                await stop.wait()
        finished.set()


def _have_many_sockets() -> None:
    """Take as many open files as we may: idle strangers must not use them up."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        with suppress(OSError, ValueError):  # "unlimited" is more than some allow
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def numbered(private: Address, number: int) -> Address:
    """Return the private address of the process *number* of this machine."""
    if number == 1 or not private.port:
        return private
    return Address(host=private.host, port=private.port + number - 1)


class _Protocol(web.RequestHandler):
    """Tells who speaks no HTTP no more than that; aiohttp would echo what they sent."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return a bare answer, and end the connection."""
        if status >= 500:
            self.log_exception("request failed", exc_info=exc)
        reason = http.HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n"
        return Ready(f"{head}Connection: close\r\n\r\n".encode(), keep_alive=False)


async def _learn_keys(
    known: dict[int, bytes], read: Callable[[], Ring], stop: asyncio.Event
) -> None:
    """Open what newer keys have sealed; what is known is never forgotten."""
    while not stop.is_set():
        with suppress(errors.MailerError, OSError):  # the file is being replaced
            found = await asyncio.to_thread(read)
            known.update({**found.keys, **known})
        try:
            async with asyncio.timeout(KEYS):
                await stop.wait()
        except TimeoutError:
            continue


@asynccontextmanager
async def listening(
    app: web.Application,
    address: Address,
    *,
    key: str,
    front: Tracking | None = None,
    patience: float = KEEPALIVE,
    is_shared: bool = False,
) -> AsyncIterator[None]:
    """Serve *app* at *address*, which stands under [*key*] of the settings.

    With *front*, its links and pixels take the short way.  *patience* is for idle
    connections and for half a request, in seconds.
    """
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=GOODBYE)
    await runner.setup()
    server = runner.server
    assert server is not None, "set up above"
    if front is not None:
        hasten(server, front)
    loop = asyncio.get_running_loop()

    def protocol() -> _Protocol:
        return _Protocol(
            server,
            loop=loop,
            keepalive_timeout=patience,
            lingering_time=LINGER,
            # It would show tokens, addresses and agents.
            access_log=None,  # type: ignore[arg-type]
        )

    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        try:
            listener = await loop.create_server(
                protocol,
                address.host,
                address.port,
                backlog=BACKLOG,
                reuse_port=is_shared or None,
            )
        except OSError as error:
            raise errors.Unavailable(_why_not(error, address, key=key)) from error
        stack.callback(listener.close)
        yield


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
