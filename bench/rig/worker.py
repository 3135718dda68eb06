"""Workers that send what was launched, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from mailer.core import signature
from mailer.core.bounce import Rules
from mailer.core.provider import Provider, Rate, Source, Tls
from mailer.pipeline import sending
from mailer.runtime import running
from mailer.store import blasts, database, processes
from rig import given
from rig.given import MICRO, Figures, Given

LOOK = 0.1  # seconds between two looks at how far they are
PATIENCE = 30.0  # seconds without a message after which we give up
START = 30.0  # seconds that workers may take until they look for work

RELEASE = "UPDATE round SET released_at = mailer_now() WHERE released_at IS NULL"
# Also what was put off, but for what is due in many hours.
IS_LEFT = """
SELECT EXISTS (SELECT FROM chunk WHERE blast_id = $1 AND state <> 'done'
                                   AND start_at <= mailer_now() + interval '2 hours')
"""
SENT = "SELECT COALESCE(sum(sent), 0)::bigint FROM rollup WHERE blast_id = $1"
ENDED = """
SELECT count(*), extract(epoch FROM max(settled_at) - min(settled_at))::float
FROM delivery WHERE blast_id = $1 AND state = 'sent'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What workers did together; CPU in microseconds a message."""

    messages: int
    cpu: float
    system_cpu: float
    messages_per_second: float
    rss_mb: float  # the most that one of them ever had
    shares: Sequence[float]  # of the CPU, by worker
    memory: Sequence[tuple[int, float]]  # messages sent, MB of the largest worker then


async def worked(
    asked: Given, name: str = "bench", *, workers: int = 1, profile: Path | None = None
) -> Sent:
    """Let *workers* send a blast that `mailing.launched` holds back, and stop them."""
    children = [
        await asyncio.create_subprocess_exec(
            *given.command("worker", asked), stdout=subprocess.PIPE
        )
        for _ in range(workers)
    ]
    watcher = None if profile is None else watching(children[0].pid, profile)
    memory: list[tuple[int, float]] = []
    is_left = True
    async with database.opened(asked.url, size=1) as pool:
        async with database.connection(pool) as tx:
            blast = (await blasts.get(tx, name)).id
            await released(tx, workers)
        while all(child.returncode is None for child in children):
            async with database.connection(pool) as tx:
                sent = await tx.raw.fetchval(SENT, blast)
                is_left = await tx.raw.fetchval(IS_LEFT, blast)
            memory.append((sent, max(resident(child.pid) for child in children)))
            if not is_left or stands(memory):
                break
            await asyncio.sleep(LOOK)
        for child in children:
            with suppress(ProcessLookupError):
                child.terminate()
        said = [json.loads((await child.communicate())[0]) for child in children]
        if watcher is not None:
            watcher.wait()  # it writes what it saw
        async with database.connection(pool) as tx:
            sent, seconds = await tx.raw.fetchrow(ENDED, blast)
    if is_left or not sent:
        sys.exit(f"the workers sent {sent} messages, and then no more")
    cpu = sum(one["cpu"] for one in said)
    return Sent(
        messages=sent,
        cpu=cpu / sent * MICRO,
        system_cpu=sum(one["system"] for one in said) / sent * MICRO,
        messages_per_second=sent / max(seconds, 1e-6),
        rss_mb=max(one["rss_mb"] for one in said),
        shares=[one["cpu"] / cpu for one in said],
        memory=memory,
    )


def stands(memory: Sequence[tuple[int, float]]) -> bool:
    """Tell whether nothing was sent for long."""
    looks = int(PATIENCE / LOOK)
    return len(memory) > looks and memory[-looks][0] == memory[-1][0]


async def released(tx: database.Connection, workers: int) -> None:
    """Release what is held back once all workers look for work: none comes first."""
    async with asyncio.timeout(START):
        while len(await processes.alive(tx)) < workers:  # noqa: ASYNC110 -- of others
            await asyncio.sleep(LOOK)
    await tx.raw.execute(RELEASE)


def resident(pid: int, what: str = "VmRSS") -> float:
    """Return the memory of a process (0: this one) in MB; by VmHWM the most it had.

    Not `getrusage`: there a child starts with the most that its parent had.
    """
    with suppress(OSError):
        for line in (
            Path(f"/proc/{pid or 'self'}/status").read_text("ascii").splitlines()
        ):
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def watching(pid: int, profile: Path) -> subprocess.Popen[bytes]:
    """Have py-spy look on: a flame graph, or stacks where the name is no .svg."""
    kind = "flamegraph" if profile.suffix == ".svg" else "raw"
    asked = ["--gil", "--rate", "200", "--format", kind, "--output", str(profile)]
    py_spy = given.tool("py-spy", "pip install py-spy")
    return subprocess.Popen(
        [py_spy, "record", "--pid", str(pid), *asked],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


# ── In the worker's process ─────────────────────────────────────────────────


def worker(asked: Given) -> Figures:
    """Be a worker until SIGTERM; return the CPU that it used since it began."""
    import uvloop  # as `mailer work` does

    setup = sending.Setup(
        house=sending.House(
            organization=given.ORGANIZATION,
            public_url=given.PUBLIC,
            ring=given.RING,
            signers=signers(asked),
        ),
        sources=(
            Source(
                name="sink",
                host="127.0.0.1",
                port=asked.port,
                tls=Tls.NONE,
                connections=asked.connections,
                messages=1000,
                rate=Rate.parse(asked.rate),
            ),
        ),
        providers=(Provider(name="other"),),
        rules=Rules(rules=()),
        retry=(timedelta(minutes=5),),
        fingerprint="bench",
        journals=Path(asked.folder) / "journal",
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(asked.url, setup))
    after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "cpu": after.ru_utime - before.ru_utime + system,
        "system": system,
        "rss_mb": resident(0, "VmHWM") or after.ru_maxrss / 1024,
    }


async def _work(url: str, setup: sending.Setup) -> None:
    async with running.stopping() as stop, database.opened(url) as pool:
        await sending.work(pool, setup, stop=stop)


def signers(asked: Given) -> tuple[signature.Key, ...]:
    """Return the keys that sign in this run."""
    if not asked.is_signed:
        return ()
    one = signature.Key(
        name="bench", domain="example.org", selector="bench", private=private(asked)
    )
    return (one,)


def private(asked: Given) -> rsa.RSAPrivateKey:
    """Return the key that was made for this run."""
    key = signature.private((Path(asked.folder) / "key").read_bytes())
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
