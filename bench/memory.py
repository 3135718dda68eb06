"""Memory of a worker at 10,000 and at 2,000,000 recipients: 120 MB at most, and flat.

The small blast is sent whole.  The large one has its whole ledger and all chunks, of
which those at its start, its middle and its end are due, the others hours later.

    python bench/memory.py --large 2000000 --messages 10000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from mailer.store import database, embedded
from rig import given, mailing, people, receiver, worker
from rig.given import Figures, Given

LIMIT = 120.0  # MB
FLAT = 1.1  # times the memory for the small blast

# Three runs of so many messages are due now: from the start, the middle, the end.
LATER = """
UPDATE chunk SET start_at = start_at + interval '12 hours'
WHERE blast_id = (SELECT max(id) FROM blast) AND NOT (
    last_seq <= $1
    OR first_seq BETWEEN $2 / 2 - $1 / 2 AND $2 / 2 + $1 / 2
    OR first_seq > $2 - $1
)
"""
STANDS = """
SELECT count(*), count(*) FILTER (WHERE state = 'sent'),
       (SELECT count(*) FROM chunk WHERE blast_id = $1)
FROM delivery WHERE blast_id = $1
"""


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--small", type=int, default=10_000)
    options.add_argument("--large", type=int, default=2_000_000)
    options.add_argument(
        "--messages", type=int, default=10_000, help="of start, middle and end each"
    )
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--signed", action="store_true", help="with RSA of 2048 bits")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if min(asked.small, asked.messages, asked.connections) < 1:
        options.error("numbers begin at 1")
    if asked.large < max(asked.small, 3 * asked.messages):
        options.error("--large is too small for the others")
    given.begun()
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    is_reached = found["peak_mb"] <= LIMIT and found["ratio"] <= FLAT
    sys.exit(0 if is_reached else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Send the small blast, then parts of the large one."""
    with (
        given.folder() as folder,
        receiver.sink() as port,
        embedded.using(folder / "db", linger=0, temporary=True) as url,
    ):
        run = Given(
            url=url,
            folder=str(folder),
            port=port,
            is_signed=asked.signed,
            connections=asked.connections,
        )
        small, large = asyncio.run(both(run, asked))
    return {
        "ratio": large["peak_mb"] / small["peak_mb"],
        "target": FLAT,
        "peak_mb": max(small["peak_mb"], large["peak_mb"]),
        "limit_mb": LIMIT,
        "small": small,
        "large": large,
        "load": given.load(),
    }


async def both(run: Given, asked: argparse.Namespace) -> tuple[Figures, Figures]:
    """Send to few people, then add the others and send to some of them."""
    async with database.opened(run.url) as pool:
        await people.made(pool, Path(run.folder), asked.small)
        await mailing.launched(pool, "small")
        small = await sent(pool, run, "small")
        await people.more(pool, asked.large)
        await mailing.launched(pool, "large")
        async with database.connection(pool) as tx:
            await tx.raw.execute(LATER, asked.messages, asked.large)
            await tx.raw.execute("VACUUM (ANALYZE) chunk")
        return small, await sent(pool, run, "large")


async def sent(pool: database.Pool, run: Given, name: str) -> Figures:
    """Let a worker send what is due; return its memory, and what stands then."""
    found = await worker.worked(run, name)
    async with database.connection(pool) as tx:
        blast = await tx.raw.fetchval("SELECT id FROM blast WHERE name = $1", name)
        rows, ended, chunks = await tx.raw.fetchrow(STANDS, blast)
    return {
        "rows": rows,
        "chunks": chunks,
        "sent": ended,
        "peak_mb": found.rss_mb,
        "after_mb": {
            part: then(found, ended * share)
            for part, share in (("a tenth", 0.1), ("a half", 0.5), ("all", 1.0))
        },
        "cpu": found.cpu,
        "messages_per_second": found.messages_per_second,
    }


def then(found: worker.Sent, messages: float) -> float:
    """Return the memory when so many messages had been sent."""
    return next(
        (mb for count, mb in found.memory if count >= messages), found.memory[-1][1]
    )


def told(found: Figures) -> str:
    """Say it to a person."""
    lines = []
    for name in ("small", "large"):
        one = found[name]
        grew = ", ".join(f"{mb:.0f} after {at}" for at, mb in one["after_mb"].items())
        lines.append(
            f"{name}  {one['rows']:10,} recipients in {one['chunks']:,} chunks, "
            f"{one['sent']:,} sent: peak {one['peak_mb']:.1f} MB ({grew}); "
            f"{one['cpu']:.0f} µs of CPU a message"
        )
    lines.append(
        f"ratio  {found['ratio']:.2f} of the peaks, target {found['target']:.1f}; "
        f"peak {found['peak_mb']:.0f} MB, limit {found['limit_mb']:.0f}; "
        f"load {found['load']}\n"
        "Of the large blast, start, middle and end were due; all its rows stand."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
