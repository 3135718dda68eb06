"""A way to the database that a test can close, or make swallow everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass
class Gate:
    """Passes bytes between programs and a PostgreSQL server."""

    url: str = ""
    is_open: bool = True  # new connections are taken
    _passing: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def close(self) -> None:
        """Refuse everybody, and cut off whoever is there."""
        self.is_open = False
        for one in self._writers:
            one.transport.abort()

    def open(self) -> None:
        """Let everybody through again."""
        self.is_open = True
        self._passing.set()

    def mute(self) -> None:
        """Swallow what is said, without a word: a network that drops packets."""
        self._passing.clear()

    async def pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Copy one direction until its end."""
        self._writers.add(writer)
        try:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    await self._passing.wait()
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
            self._writers.discard(writer)


@asynccontextmanager
async def before(url: str) -> AsyncIterator[Gate]:
    """Have a gate before the server of *url*."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    port = parts.port or 5432
    gate = Gate()
    gate.open()

    async def client(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not gate.is_open:
            writer.transport.abort()
            return
        there = (
            asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            if host.startswith("/")
            else asyncio.open_connection(host, port)
        )
        back, forth = await there
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as both:
                both.create_task(gate.pass_on(reader, forth))
                both.create_task(gate.pass_on(back, writer))

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    mine = server.sockets[0].getsockname()[1]
    user = f"{parts.username}@" if parts.username else ""
    gate.url = f"postgresql://{user}127.0.0.1:{mine}{parts.path}"
    async with server:
        yield gate
        gate.open()
        gate.close()
