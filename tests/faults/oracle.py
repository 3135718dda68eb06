"""The provider that knows: what it took is on the disk before it answers.

It is `mailer sink` in a process of its own that nobody kills.  What it hears comes
here through a pipe, so that a test can act at the very step that it waits for.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import program
from tests.program import Program

PATIENCE = 30.0  # seconds for what takes one or two where the machine is not busy
QUICK = """
[provider.other]
latency = "10ms"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message that was taken."""

    at: datetime
    provider: str
    recipient: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a conversation."""

    at: datetime
    client: int
    step: str
    recipient: str | None = None
    reply: str = ""
    then: str | None = None
    trouble: str | None = None
    has_quit: bool = False
    is_encrypted: bool = False

    @property
    def is_yes(self) -> bool:
        """Tell whether the client was let on."""
        return self.reply[:1] in {"2", "3"}


def _step(line: dict[str, Any]) -> Step:
    return Step(
        at=datetime.fromisoformat(line["at"]),
        client=line["client"],
        step=line["step"],
        recipient=line.get("recipient"),
        reply=line.get("reply", ""),
        then=line.get("then"),
        trouble=line.get("trouble"),
        has_quit=line.get("quit", False),
        is_encrypted=line.get("tls", False),
    )


@dataclass(slots=True)
class Ear(asyncio.Protocol):
    """Hears each step as it happens, and wakes who waits for it."""

    steps: list[Step] = field(default_factory=list)
    _text: bytearray = field(default_factory=bytearray)
    _waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(
        default_factory=list
    )

    def data_received(self, data: bytes) -> None:
        self._text += data
        *lines, rest = bytes(self._text).split(b"\n")
        self._text[:] = rest
        for line in lines:
            self.steps.append(_step(json.loads(line)))
            self._tell()

    def _tell(self) -> None:
        for is_so, waiter in self._waiting:
            if not waiter.done() and is_so():
                waiter.set_result(None)

    async def reached(self, is_so: Callable[[], bool], *, within: float) -> None:
        if not is_so():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((is_so, waiter))
            async with asyncio.timeout(within):
                await waiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """The provider's own book, and its ear."""

    port: int
    record: Path
    ear: Ear

    @property
    def steps(self) -> list[Step]:
        """Return what was heard so far."""
        return self.ear.steps

    def arrived(self) -> list[Arrival]:
        """Return all that was taken, in order."""
        return [
            Arrival(
                at=datetime.fromisoformat(line["at"]),
                provider=line["provider"],
                recipient=line["recipient"],
                message_id=line["message_id"],
            )
            for line in map(json.loads, self.record.read_text().splitlines())
        ]

    def heard(self, step: str, *, of: str | None = None) -> list[Step]:
        """Return each *step* so far, of one recipient or of all."""
        return [
            one
            for one in self.steps
            if one.step == step and (of is None or one.recipient == of)
        ]

    async def hears(
        self, step: str, count: int = 1, *, more: bool = False, within: float = PATIENCE
    ) -> Step:
        """Wait for the *count*-th *step*, from now on if *more*; return it."""
        wanted = count + (len(self.heard(step)) if more else 0)
        await self.ear.reached(lambda: len(self.heard(step)) >= wanted, within=within)
        return self.heard(step)[wanted - 1]

    def most_open(self) -> int:
        """Return how many connections were open at once, at most."""
        return _most(self.steps)


def _most(steps: Iterable[Step]) -> int:
    most, is_open = 0, set[int]()
    for one in steps:
        if one.step == "left":
            is_open.discard(one.client)
        else:
            is_open.add(one.client)
        most = max(most, len(is_open))
    return most


def fastest(arrivals: Iterable[Arrival]) -> int:
    """Return how many messages were taken in the busiest second of the clock."""
    seconds = Counter(one.at.replace(microsecond=0) for one in arrivals)
    return max(seconds.values(), default=0)


@asynccontextmanager
async def oracle(
    folder: Path, scenario: str = QUICK, *, host: str = "127.0.0.1"
) -> AsyncIterator[Oracle]:
    """Have a simulated provider beside the test, in its own process.

    *folder* is its own, and there.
    """
    play, record = folder / "scenario.toml", folder / "arrived.jsonl"
    play.write_text(scenario)
    record.touch()
    async with _ear(folder / "transcript") as ear:
        outside = Program(root=folder / "nowhere", environment=program.environment())
        words = ["--host", host, "--port", 0, "--scenario", play, "--record", record]
        words += ["--transcript", folder / "transcript"]
        async with outside.running("sink", *words) as sink:
            port = await sink.says(r"Listening on .*:(\d+)")
            yield Oracle(port=int(port), record=record, ear=ear)


@asynccontextmanager
async def _ear(path: Path) -> AsyncIterator[Ear]:
    """Listen at a pipe; it is opened before anybody speaks into it."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    # While we hold an end for writing, one that stops speaking does not end it.
    kept = os.open(path, os.O_WRONLY)
    loop = asyncio.get_running_loop()
    transport, ear = await loop.connect_read_pipe(
        Ear, os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        yield ear
    finally:
        os.close(kept)
        transport.close()
