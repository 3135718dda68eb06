"""Look after what is sent, wake people and ask them: beside the scheduler."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable

import structlog

from mailer import errors
from mailer.pipeline import alarming, confirming
from mailer.runtime import Workspace, now
from mailer.settings import Settings

DOMAINS = 600.0  # seconds between two looks at domains whose time is over
LOOK = 1.0  # seconds between two looks at the blasts, and at who must be told
ASK = 2.0  # seconds between two questions whether the database is there

log = structlog.get_logger()


def caller(settings: Settings) -> alarming.Caller:
    """Return what reaches people as *settings* say."""
    from mailer.web import posting  # aiohttp: 0.2 s, not for every command

    return alarming.Caller(settings=settings, post=posting.post)


async def wake(workspace: Workspace, *, stop: asyncio.Event) -> None:
    """Raise alarms and tell people of them, until *stop*."""
    chosen = workspace.settings
    speaker = caller(chosen)
    observer = alarming.Observer(
        pool=workspace.pool,
        stalled=chosen.alarms.stalled,
        failed=chosen.alarms.share,
        fingerprint=chosen.fingerprint,
        limits=chosen.breaker.limits,
    )
    watcher = alarming.Watcher(workspace.pool, speaker, host=platform.node(), now=now)

    async def deliver() -> None:
        await alarming.deliver(workspace.pool, speaker, now=now())

    async def refresh() -> None:
        from mailer.pipeline import resolving  # dnspython: 0.1 s

        await resolving.refresh(workspace.pool, chosen)

    async def question() -> None:
        await confirming.deliver(workspace.pool, chosen, now=now())

    async with asyncio.TaskGroup() as tasks:
        questions = tasks.create_task(_again(question, LOOK, stop))
        tasks.create_task(_again(observer.look, LOOK, stop))
        tasks.create_task(_again(deliver, LOOK, stop))
        tasks.create_task(_again(watcher.tell, LOOK, stop))
        asking = tasks.create_task(_again(watcher.ask, ASK, stop))
        refreshing = tasks.create_task(_later(refresh, DOMAINS, stop))
        await stop.wait()
        asking.cancel()  # it may wait for a database that is away
        refreshing.cancel()  # … or for a DNS
        questions.cancel()  # … or for a mail server; they are sent at the next start


async def _later(
    step: Callable[[], Awaitable[object]], seconds: float, stop: asyncio.Event
) -> None:
    """Do *step* again and again, the first time after *seconds*."""
    await asyncio.sleep(seconds)
    await _again(step, seconds, stop)


async def _again(
    step: Callable[[], Awaitable[object]], seconds: float, stop: asyncio.Event
) -> None:
    """Do *step* again and again; alarms that do not work must not stop the sending."""
    while not stop.is_set():
        try:
            await step()
        except (errors.Unavailable, OSError, TimeoutError) as error:
            log.warning("alarms.away", error=str(error))
        except Exception as error:
            log.exception("alarms.failed", kind=type(error).__name__)
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            continue
