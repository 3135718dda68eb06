"""The program as people use it: its commands, and its processes that stay."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LINKS = "https://links.example.test"  # what the world sees of the public address
PATIENCE = 30.0  # seconds for what should take one or two
LANE = 'rate = "unlimited"\nconnections = {connections}\nmessages = 1000'
FAST = """
[retry]
schedule = ["1s"]
"""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listened on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a process that must not see the tester's workspace."""
    ours = {key: value for key, value in os.environ.items() if key[:7] != "MAILER_"}
    return {**ours, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Return the one line that it said about what went wrong."""
        assert self.out == "", self.out
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that stays until it is told to stop."""

    process: asyncio.subprocess.Process
    log: Path

    async def end(self) -> int:
        """Ask it to stop, as a service manager does, and return its exit status."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def says(self, pattern: str) -> str:
        """Wait until it has said what matches, and return its group, or all."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = re.search(pattern, self.log.read_text("utf-8"))
                if found is not None:
                    return found[found.re.groups and 1]
                assert self.process.returncode is None, self.log.read_text("utf-8")
                await asyncio.to_thread(self.log.stat)

    async def kill(self) -> None:
        """End it without a word, wherever it is."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`mailer` on one workspace and one database."""

    root: Path
    environment: Mapping[str, str]
    public: int = 0
    private: int = 0
    launcher: tuple[str, ...] = ("-m", "mailer")
    runner: tuple[str, ...] = ()  # what runs all of it, on another machine say
    _count: list[int] = field(default_factory=lambda: [0])

    async def run(self, *arguments: object, actor: str = "ada") -> Done:
        """Run one command to its end."""
        process = await asyncio.create_subprocess_exec(
            *self._words("--as", actor, *arguments),
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Done(status=process.returncode, out=out.decode(), err=err.decode())

    async def say(self, *arguments: object, actor: str = "ada") -> str:
        """Run a command that must succeed, and return what it said."""
        done = await self.run(*arguments, actor=actor)
        assert done.status == 0, f"{arguments}: {done.out}{done.err}"
        return done.out

    async def tell(self, *arguments: object, actor: str = "ada") -> Any:
        """Run a command that must succeed with --json, and return what it told."""
        return json.loads(await self.say(*arguments, "--json", actor=actor))

    async def start(self, *arguments: object) -> Running:
        """Begin a process that stays; what it says goes into a file."""
        self._count[0] += 1
        log = self.root.parent / f"{self._count[0]:02}-{arguments[0]}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *self._words(*arguments),
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        return Running(process=process, log=log)

    @asynccontextmanager
    async def running(self, *arguments: object) -> AsyncIterator[Running]:
        """Have a process beside the test, and end it afterwards."""
        running = await self.start(*arguments)
        try:
            yield running
        finally:
            if running.process.returncode is None:
                await running.end()

    def _words(self, *arguments: object) -> list[str]:
        words = [*self.runner, sys.executable, *self.launcher, "-C", str(self.root)]
        return [*words, *(str(one) for one in arguments)]

    def read(self, path: str | Path) -> str:
        """Return what a file holds; relative to the workspace."""
        return (self.root / path).read_text("utf-8")

    def write(self, path: str, text: str) -> None:
        """Write a file of the workspace."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, "utf-8")

    def edit(self, path: str, before: str, after: str) -> None:
        """Change a file of the workspace as a person would."""
        text = (self.root / path).read_text("utf-8")
        assert before in text, f"{path}: no {before!r}"
        self.write(path, text.replace(before, after))


async def made(
    root: Path, *, database: str, sink: int, connections: int = 4
) -> Program:
    """Make a workspace whose relay is the *sink*, with ports of its own."""
    public, private = free_ports(2)
    program = Program(
        root=root,
        environment=environment(
            MAILER_DATABASE_URL=database,
            MAILER_ACTBLUE_USER="blue",
            MAILER_ACTBLUE_PASSWORD="p:ss wörd",
        ),
        public=public,
        private=private,
    )
    await program.say("init", root)
    settings = "config/settings.toml"
    program.edit(settings, 'url = "http://127.0.0.1:8080"', f'url = "{LINKS}"')
    program.edit(settings, "8080", str(public))
    program.edit(settings, "8081", str(private))
    program.edit(settings, "port = 2525", f"port = {sink}")
    program.edit(settings, '"opportunistic" ', '"none"          ')
    program.edit(settings, '# pool = "default"', LANE.format(connections=connections))
    program.edit(settings, "[retry]", FAST)
    return program
