"""The tracking endpoint, durable, against an aiohttp handler that returns a constant.

Both answer the same visitors, who ask over connections that stay open: a click each,
with its own token and the headers of a browser.  Ours opens the token, looks up where
it leads, says who came and has all of it in the spool before it answers; the other
returns a constant 302.  They take turns; CPU is that of the serving processes.

    python bench/tracking.py --clicks 60000 --processes 2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import uvloop
from aiohttp import web

from mailer import spool
from mailer.core import event, tracking
from mailer.core.tracking import Purpose, Ring, Token
from mailer.pipeline import linking, receiving
from mailer.settings import Address
from mailer.store import database
from mailer.web import app, pages
from mailer.web.hooks import Hooks
from mailer.web.tracking import Tracking
from rig import visitors

TARGET = 0.8
RING = Ring(keys={1: bytes(range(32))}, current=1)
GOAL = "https://example.org/donate?amount=25&refcode=b1"
NOWHERE = "postgresql://127.0.0.1:1/none"  # clicks need no database
TOKENS = 5000
WARM = 3000  # clicks before anything is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What serving cost."""

    per_second: float
    cpu: float  # seconds for each click


def main() -> None:
    """Measure, or be a process that is measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clicks", type=int, default=60_000)
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--connections", type=int, default=128)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true")
    options.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        kind, folder = given.serve
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(SERVERS[kind](Path(folder)))
        return
    found = measure(given)
    print(json.dumps(found, indent=2) if given.json else told(found))
    sys.exit(0 if found["ratio"] >= TARGET else 1)


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Let both answer in turns; every click must be in the spool."""
    runs: dict[str, list[Run]] = {kind: [] for kind in SERVERS}
    for _ in range(given.rounds):
        for kind, known in runs.items():
            with tempfile.TemporaryDirectory(prefix="mailer-bench-") as folder:
                known.append(run(kind, Path(folder), given))
                if kind == "ours":
                    demand(Path(folder), given.clicks + WARM)
    bare, ours = runs["bare"], runs["ours"]
    return {
        "clicks": given.clicks,
        "processes": given.processes,
        "ratio": median(one.cpu for one in bare) / median(one.cpu for one in ours),
        "target": TARGET,
        "bare_us": 1e6 * median(one.cpu for one in bare),
        "ours_us": 1e6 * median(one.cpu for one in ours),
        "bare_per_second": median(one.per_second for one in bare),
        "ours_per_second": median(one.per_second for one in ours),
        "throughput": median(one.per_second for one in ours)
        / median(one.per_second for one in bare),
    }


def told(found: dict[str, float]) -> str:
    """Say it to a person."""
    return (
        f"{found['clicks']:,} clicks, {found['processes']} processes\n"
        f"bare handler {found['bare_us']:6.0f} µs CPU  "
        f"{found['bare_per_second']:8,.0f} clicks/s\n"
        f"endpoint     {found['ours_us']:6.0f} µs CPU  "
        f"{found['ours_per_second']:8,.0f} clicks/s"
        f"  ({found['throughput']:.2f} by the clock)\n"
        f"ratio        {found['ratio']:6.2f}    target {found['target']:.2f}"
    )


def run(kind: str, folder: Path, given: argparse.Namespace) -> Run:
    """Have processes of a *kind* answer all clicks."""
    paths = [
        "/c/" + tracking.seal(RING, Purpose.CLICK, Token(blast=1, subscriber=n, link=3))
        for n in range(TOKENS)
    ]
    asked = visitors.requests(paths)
    with (
        reserved() as port,
        serving(kind, folder, port, given.processes) as pids,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        visit = visitors.visit(port, asked, count=WARM, connections=given.connections)
        runner.run(visit)
        before = sum(map(cpu, pids))
        seconds = runner.run(
            visitors.visit(
                port, asked, count=given.clicks, connections=given.connections
            )
        )
        used = sum(map(cpu, pids)) - before
    return Run(per_second=given.clicks / seconds, cpu=used / given.clicks)


@contextmanager
def reserved() -> Iterator[int]:
    """Yield a free port that only processes of ours can share."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))  # and never listens
        yield held.getsockname()[1]


@contextmanager
def serving(kind: str, folder: Path, port: int, count: int) -> Iterator[list[int]]:
    """Run *count* processes on *port*, and yield their numbers."""
    command = [sys.executable, __file__, "--serve", kind, str(folder)]
    environment = {**os.environ, "PORT": str(port)}
    with ExitStack() as stack:
        children = []
        for _ in range(count):
            child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment
            )
            stack.callback(child.communicate)  # ends its input, and so the child
            children.append(child)
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        yield [child.pid for child in children]


def cpu(pid: int) -> float:
    """Return the seconds of CPU of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def demand(folder: Path, count: int) -> None:
    """Exit when a click is missing in what was written down."""
    found = {
        event.decode(record.payload).id
        for one in (folder / event.Queue.BULK).iterdir()
        for record in spool.read(one)
    }
    if len(found) != count:
        sys.exit(f"{count} clicks were answered, {len(found)} are in the spool")


# ── What is measured ────────────────────────────────────────────────────────


async def bare(_folder: Path) -> None:
    """Answer with a constant."""

    async def constant(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": GOAL})

    application = web.Application()
    application.router.add_get("/c/{token}", constant)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    port = int(os.environ["PORT"])
    await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
    await ended()
    await runner.cleanup()


async def ours(folder: Path) -> None:
    """Answer as `mailer serve` does."""

    def now() -> datetime:
        return datetime.now(UTC)

    file = folder / f"links.{os.getpid()}.json"
    file.write_text(json.dumps({"1": {"3": GOAL}}))
    async with database.opened(NOWHERE, at_once=False) as away:
        links = linking.Links(away, file)
        links.recall()
        with receiving.opened(folder) as inbox:
            given = Tracking(
                ring=RING,
                links=links,
                inbox=inbox,
                now=now,
                house=pages.House(name="Example"),
            )
            hooks = Hooks(ring=RING, inbox=inbox, now=now, actblue=None)
            async with app.listening(
                app.public(given, hooks),
                Address(port=int(os.environ["PORT"])),
                key="public",
                front=given,
                is_shared=True,
            ):
                await ended()


async def ended() -> None:
    """Say that all is ready, and wait until the input ends."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


SERVERS = {"bare": bare, "ours": ours}


if __name__ == "__main__":
    main()
