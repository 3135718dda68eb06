"""Run what one machine needs: scheduler, web, workers; restart what dies."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from mailer import errors
from mailer.core.alarm import Kind
from mailer.mail import route
from mailer.pipeline import (
    alarming,
    closing,
    forgetting,
    launching,
    resending,
    sending,
)
from mailer.runtime import Workspace
from mailer.settings import dns

MINUTE = 60.0  # seconds between two looks for what is sent again after an hour
TICK = 0.5  # seconds between two looks at what is due
STEADY = 60.0  # seconds; a child that lives so long does not die again and again
OFTEN = 3  # shorter lives in a row need a person
YOUNG = 5.0  # seconds; a child that dies earlier is restarted ever later
PATIENCE = 45.0  # seconds that a child is given to end after SIGTERM

log = structlog.get_logger()


@asynccontextmanager
async def stopping() -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGTERM and Ctrl-C set; the second one ends us at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        if stop.is_set():
            os._exit(1)  # the journal and the spool hold what was not settled
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def demand_free(host: str, port: int, *, key: str, name: str = "port") -> None:
    """Raise Unavailable when *port* is taken: once, not from a child each time."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        message = (
            f"{host}:{port}: {error.strerror}: does mailer run already?  "
            f"Else set [{key}] {name} in config/settings.toml"
        )
        raise errors.Unavailable(message) from error


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait *seconds*, or less when told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def work(workspace: Workspace, *, stop: asyncio.Event) -> None:
    """Send what is owed, as one worker, until *stop*."""
    await sending.work(workspace.pool, setup(workspace), stop=stop)


async def schedule(workspace: Workspace, *, stop: asyncio.Event) -> None:
    """Launch what is due and end what is over, until *stop*."""
    resent_at = time.monotonic()
    while not stop.is_set():
        try:
            await launching.launch_due(workspace.pool)
            await closing.close_due(workspace.pool)
            if time.monotonic() >= resent_at + MINUTE:
                resent_at = time.monotonic()
                await resending.resend_due(workspace.pool)
                await forgetting.purge(workspace.pool, keep=workspace.settings.keep)
        except errors.Unavailable as error:
            log.warning("scheduler.away", error=str(error))
        await pause(stop, TICK)


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Keeps children running: each is this program with other arguments."""

    workspace: Workspace
    stop: asyncio.Event
    tell: Callable[[str], None]
    steady: float = STEADY
    _quick: dict[str, int] = field(default_factory=dict)
    _short: dict[str, int] = field(default_factory=dict)  # lives in a row

    async def keep(self, name: str, arguments: Sequence[str]) -> None:
        """Run a child until *stop*, and again whenever it dies."""
        while not self.stop.is_set():
            started = time.monotonic()
            code = await self._once(name, arguments)
            if self.stop.is_set():
                return
            is_young = time.monotonic() - started < YOUNG
            self._quick[name] = self._quick.get(name, 0) + 1 if is_young else 0
            wait = min(30.0, 2.0 ** self._quick[name] - 1)
            self._short[name] = self._short.get(name, 0) + 1
            if self._short[name] >= OFTEN:
                often = f"{self._short[name]} times, the last time with exit status"
                await alarming.raise_(
                    self.workspace.pool,
                    Kind.CRASHING,
                    _named(name),
                    f"It ended {often} {code}.",
                )
            self.tell(f"{name} ended with {code}; it starts again in {wait:.0f} s")
            await pause(self.stop, wait)

    async def _praise(self, name: str) -> None:
        """End the alarm of a child that lives for a while."""
        await asyncio.sleep(self.steady)
        self._short[name] = 0
        await alarming.clear(
            self.workspace.pool, Kind.CRASHING, _named(name), why="it runs again"
        )

    async def _once(self, name: str, arguments: Sequence[str]) -> int:
        """Run a child to its end; SIGTERM it when told to stop, kill it if it hangs."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mailer",
            "--leashed",
            "-C",
            str(self.workspace.root),
            *arguments,
            stdin=asyncio.subprocess.PIPE,  # ends with us, and so does the child
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(child.wait())
            told = group.create_task(self.stop.wait())
            steady = group.create_task(self._praise(name))
            await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
            steady.cancel()
            if not ended.done():
                child.send_signal(signal.SIGTERM)
                try:
                    async with asyncio.timeout(PATIENCE):
                        await asyncio.shield(ended)
                except TimeoutError:
                    child.kill()
            told.cancel()
        return await child.wait()


def _named(child: str) -> str:
    """Return what an alarm calls a child of this machine."""
    return f"{child} of {platform.node()}"


def setup(workspace: Workspace) -> sending.Setup:
    """Return what a worker of *workspace* is started with."""
    chosen = workspace.settings
    sources = sending.here(chosen.sources)
    return sending.Setup(
        house=sending.House(
            organization=chosen.organization.words,
            public_url=chosen.public.url,
            ring=chosen.keys,
            signers=chosen.signers,
            bounce_domain=chosen.returns.domain,
            has_metadata=chosen.returns.metadata,
            tracking={name: one.tracking for name, one in chosen.topics.items()},
        ),
        sources=sources,
        providers=chosen.providers,
        rules=chosen.bounces,
        retry=chosen.retry,
        caps=chosen.caps,
        fingerprint=chosen.fingerprint,
        journals=workspace.root / ".mailer" / "journal",
        router=route.routing(
            sources,
            servers=[dns.server(one) for one in chosen.dns.servers],
            inside=chosen.dns.inside,
        ),
    )
