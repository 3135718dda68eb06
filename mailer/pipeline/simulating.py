"""Play the mailbox providers: whole blasts can be run without reaching anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from mailer import errors, settings
from mailer.mail import scenario, simulation, sink

Count = simulation.Count
Keeping = simulation.Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the play is given, and what."""

    scenario: str = "default"  # a shipped one, or a file
    host: str = "127.0.0.1"
    port: int = 2525
    keeping: Keeping = field(default_factory=Keeping)


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
    with simulation.Simulation(play, stage.keeping, now=now) as host:
        try:
            async with sink.serving(host, address=stage.host, port=stage.port) as port:
                ready(port)
                await stop.wait()
        except OSError as error:
            message = f"{stage.host}:{stage.port}: {error.strerror or error}"
            raise errors.Unavailable(message) from error
        return host.counts
