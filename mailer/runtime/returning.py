"""Listen for what comes back by mail, and empty the folder that it is put in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from mailer import errors
from mailer.mail import inbound
from mailer.pipeline import receiving, recording, returning
from mailer.pipeline.returning import Reader
from mailer.runtime import Workspace, now, running

LOOK = 5.0  # seconds between two looks into a Maildir

log = structlog.get_logger()


def reader(workspace: Workspace, inbox: receiving.Inbox) -> Reader:
    """Return what reads for *workspace* into its spool."""
    chosen = workspace.settings
    return Reader(
        ring=chosen.keys,
        keep=inbox.take,
        now=now,
        domain=chosen.returns.domain,
        addresses=chosen.returns.addresses,
    )


def spool(workspace: Workspace) -> Path:
    """Return the folder of the spools, which `mailer serve` has, too."""
    return workspace.root / ".mailer" / "spool"


async def serve(
    workspace: Workspace,
    *,
    stop: asyncio.Event,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Take mail until *stop*; call *started* with what listens where.

    Raises Conflict when nothing is set up, Unavailable when a port cannot be had.
    """
    chosen = workspace.settings.returns
    if not chosen.listens:
        message = (
            "nothing to listen on: set smtp, lmtp or maildir in [bounces] of "
            "config/settings.toml"
        )
        raise errors.Conflict(message)
    finished = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        with receiving.opened(spool(workspace)) as inbox:
            taker = reader(workspace, inbox)
            async with AsyncExitStack() as doors:
                for protocol, port in chosen.ports:
                    door = inbound.Door(
                        knows=taker.knows,
                        take=_take(taker),
                        host=chosen.domain or "mailer",
                    )
                    at = await doors.enter_async_context(
                        inbound.listening(door, chosen.host, port, protocol=protocol)
                    )
                    started(f"Bounces by {protocol.upper()} on {chosen.host}:{at}")
                loader = recording.Loader(
                    workspace.pool, spool(workspace), patience=chosen.patience
                )
                tasks.create_task(
                    recording.run(
                        workspace.pool, spool(workspace), finished, loader=loader
                    )
                )
                folder = chosen.folder(workspace.root)
                if folder is not None:
                    started(f"Bounces from {folder}")
                    await _empty(taker, folder, stop)
                await stop.wait()
        finished.set()


def _take(taker: Reader) -> inbound.Take:
    async def take(raw: bytes, to: str) -> None:
        await taker.take(raw, to)

    return take


async def _empty(taker: Reader, folder: Path, stop: asyncio.Event) -> None:
    """Read what is put into *folder* until *stop*."""
    while not stop.is_set():
        try:
            await returning.empty(taker, folder)
        except (errors.MailerError, OSError) as error:
            log.warning("bounce.folder", folder=str(folder), error=str(error))
        await running.pause(stop, LOOK)
