"""Play the mailbox providers: whole blasts can be run without reaching anybody."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailer import errors, settings
from mailer.mail import (
    certificate,
    place,
    scenario,
    simulation,
    sink,
    transcript,
    trouble,
)

Count = place.Count
Keeping = simulation.Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the play is given, and what."""

    scenario: str = "default"  # a shipped one, or a file
    host: str = "127.0.0.1"
    port: int = 2525
    keeping: Keeping = field(default_factory=Keeping)
    transcript: Path | None = None  # a JSON line for each step


async def simulate(
    stage: Stage,
    *,
    now: Callable[[], datetime],
    ready: Callable[[int], None],
    stop: asyncio.Event,
) -> tuple[Count, ...]:
    """Receive mail until *stop*, and return what each provider saw.

    *ready* is told the port.  Raises NotFound and Invalid for the scenario,
    Unavailable when the port is taken.
    """
    play = settings.read(scenario.path(stage.scenario), scenario.Scenario)
    context = _encryption(play.tls, now=now) if play.tls is not None else None
    with simulation.Simulation(play, stage.keeping, now=now) as providers:
        with _host(stage, play, providers, now=now) as host:
            try:
                async with sink.serving(
                    host, address=stage.host, port=stage.port, tls=context
                ) as port:
                    ready(port)
                    await stop.wait()
            except OSError as error:
                message = f"{stage.host}:{stage.port}: {error.strerror or error}"
                raise errors.Unavailable(message) from error
        return providers.counts


@contextmanager
def _host(
    stage: Stage,
    play: scenario.Scenario,
    providers: simulation.Simulation,
    *,
    now: Callable[[], datetime],
) -> Iterator[sink.Host]:
    """Yield *providers*, in their troubles, overheard where that is wanted."""
    time = asyncio.get_running_loop().time
    host: sink.Host = providers
    if play.trouble:
        host = trouble.Troubled(host, play.trouble, time=time)
    with ExitStack() as stack:
        if stage.transcript is not None:
            host = stack.enter_context(
                transcript.Transcript(host, stage.transcript, now=now)
            )
        yield host


def _encryption(tls: scenario.Tls, *, now: Callable[[], datetime]) -> ssl.SSLContext:
    try:
        return certificate.context(tls.certificate, now=now())
    except OSError as error:  # ssl.SSLError is one
        message = f"{tls.certificate}: {error.strerror or error}"
        raise errors.NotFound(message) from error
