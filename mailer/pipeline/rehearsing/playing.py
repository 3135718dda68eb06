"""The providers of a rehearsal: on this machine, on a port that nobody else knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from mailer import settings
from mailer.core import timelapse
from mailer.mail import paced, place, scenario, simulation, sink, trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Simulated providers that receive, and what they have seen."""

    port: int
    _providers: simulation.Simulation
    _scales: paced.Paced

    @property
    def counts(self) -> tuple[place.Count, ...]:
        """Return what each provider saw."""
        return self._providers.counts

    @property
    def sizes(self) -> paced.Sizes | None:
        """Return how large the messages were; None without one."""
        return self._scales.sizes


@asynccontextmanager
async def playing(
    name: str, *, speed: float | None, now: Callable[[], datetime]
) -> AsyncIterator[Play]:
    """Play the scenario *name*, hurried; None: without anything that takes time.

    Raises NotFound and Invalid for the scenario.
    """
    play = settings.read(scenario.path(name), scenario.Scenario)
    if speed is None:
        play = scenario.unhurried(play)
    clock = asyncio.get_running_loop().time
    pace = speed or 1.0

    def time() -> float:
        return clock() * pace

    keeping = simulation.Keeping()  # of what arrives, nothing
    with simulation.Simulation(play, keeping, now=now, time=time) as providers:
        host: sink.Host = providers
        if play.trouble:
            host = trouble.Troubled(host, play.trouble, time=time)
        scales = paced.Paced(host, speed=pace)
        async with sink.serving(scales, address=timelapse.LOOPBACK, port=0) as port:
            yield Play(port=port, _providers=providers, _scales=scales)
