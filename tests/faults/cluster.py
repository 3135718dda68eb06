"""A PostgreSQL server that one test has for itself, and a wire to it that can hang."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from mailer.store import database, migrate, postmaster, programs

CHUNK = 65536
# The processes crash here, not the machine: what is written need not be synced, but
# what is committed must be written.
SETTINGS = {**postmaster.SETTINGS, "fsync": "off", "shared_buffers": "64MB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A server that may be killed and started again."""

    server: postmaster.Server

    @property
    def socket(self) -> Path:
        """Return where it listens."""
        return self.server.place.data / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        """Return its address."""
        host = quote(str(self.server.place.data))
        return f"postgresql://{postmaster.ROLE}@/{postmaster.DATABASE}?host={host}"

    def restart(self) -> None:
        """Do as ``pg_ctl restart -m immediate``: crash, recover, serve again.

        It blocks the loop: a server dies with the thread that started it.
        """
        self.server.stop(signal.SIGQUIT)
        self.server.start()


@contextmanager
def cluster(
    *, found: Path | None = None, settings: dict[str, str] | None = None
) -> Iterator[Cluster]:
    """Serve an empty database from a folder with a short name."""
    with tempfile.TemporaryDirectory(prefix="mailer-faults-") as folder:
        place = postmaster.Place(Path(folder))
        owner = postmaster.owner(place)
        owner.take(place.folder)
        place.log.touch()
        server = postmaster.Server(
            place=place,
            programs=found or programs.found(),
            owner=owner,
            settings={**SETTINGS, **(settings or {})},
        )
        server.prepare()
        server.start()
        try:
            yield Cluster(server=server)
        finally:
            server.stop()


@asynccontextmanager
async def migrated(one: Cluster) -> AsyncIterator[database.Pool]:
    """Have every migration in the database of *one*, and connections to it."""
    async with database.opened(one.url) as pool:
        await migrate.ensure(pool)
        yield pool


@dataclass(slots=True, kw_only=True)
class Wire:
    """Forwards TCP to a socket, until it hangs: nothing is closed, nothing comes."""

    socket: Path
    port: int = 0
    _flows: asyncio.Event = field(default_factory=asyncio.Event)

    def hang(self) -> None:
        """Forward nothing any more, either way."""
        self._flows.clear()

    def mend(self) -> None:
        """Forward again, first what came meanwhile."""
        self._flows.set()

    @property
    def url(self) -> str:
        """Return the address of the database behind the wire."""
        return (
            f"postgresql://{postmaster.ROLE}@127.0.0.1:{self.port}"
            f"/{postmaster.DATABASE}?sslmode=disable"
        )

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._flows.wait()
        try:
            back, forth = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._forward(reader, forth))
            ways.create_task(self._forward(back, writer))


@asynccontextmanager
async def wired(one: Cluster) -> AsyncIterator[Wire]:
    """Have a wire to *one*."""
    wire = Wire(socket=one.socket)
    wire.mend()
    server = await asyncio.start_server(wire._connected, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.mend()
        server.close()
