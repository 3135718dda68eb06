"""Memory of a worker with few recipients and with millions: 120 MB at most, and flat.

The smallest blast is sent whole.  A larger one has its whole ledger and all chunks, of
which those at its start, its middle and its end are due, the others hours later.
Chunks have their full size from 40,000 recipients on: there the comparison begins.

    python bench/memory.py --sizes 10000 40000 2000000 --messages 10000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from mailer.pipeline import launching
from mailer.store import database, embedded
from rig import given, mailing, people, receiver, worker
from rig.given import Figures, Given

LIMIT = 120.0  # MB
FLAT = 1.1  # times the memory for the blast before the largest
SIZES = (10_000, launching.CHUNK * launching.PARTS, 2_000_000)

# So many messages each are due now: from the start, the middle, the end.
LATER = """
UPDATE chunk SET start_at = mailer_now() + interval '12 hours'
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
    options.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options.add_argument(
        "--messages", type=int, default=10_000, help="of start, middle and end each"
    )
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--signed", action="store_true", help="with RSA of 2048 bits")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if min(*asked.sizes, asked.messages, asked.connections) < 1:
        options.error("numbers begin at 1")
    if len(asked.sizes) < 2 or asked.sizes != sorted(asked.sizes):
        options.error("--sizes wants two or more, the smallest first")
    given.begun()
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    is_reached = found["peak_mb"] <= LIMIT and found["ratio"] <= FLAT
    sys.exit(0 if is_reached else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Send the smallest blast, then parts of the larger ones."""
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
        runs = asyncio.run(each(run, asked))
    peaks = [one["peak_mb"] for one in runs]
    return {
        "ratio": peaks[-1] / peaks[-2],
        "target": FLAT,
        "peak_mb": max(peaks),
        "limit_mb": LIMIT,
        "is_signed": asked.signed,
        "connections": asked.connections,
        "runs": runs,
        "load": given.load(),
    }


async def each(run: Given, asked: argparse.Namespace) -> list[Figures]:
    """Send to few people, then add others and send to some of them, and again."""
    found = []
    async with database.opened(run.url) as pool:
        await people.made(pool, Path(run.folder), asked.sizes[0])
        for size in asked.sizes:
            await people.more(pool, size)
            name = f"to {size}"
            await mailing.launched(pool, name)
            if size > 3 * asked.messages:
                async with database.connection(pool) as tx:
                    await tx.raw.execute(LATER, asked.messages, size)
                    await tx.raw.execute("VACUUM (ANALYZE) chunk")
            found.append(await sent(pool, run, name))
    return found


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
        "parts": "all" if ended == rows else "from start, middle and end",
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
    lines = [
        f"{found['connections']} connections, "
        f"{'signed' if found['is_signed'] else 'not signed'}; the whole ledger stands"
    ]
    for one in found["runs"]:
        grew = ", ".join(f"{mb:.0f} after {at}" for at, mb in one["after_mb"].items())
        lines.append(
            f"{one['rows']:10,} recipients  {one['peak_mb']:6.1f} MB ({grew})   "
            f"{one['chunks']:,} chunks; sent {one['parts']}: {one['sent']:,}, "
            f"{one['cpu']:.0f} µs of CPU a message"
        )
    lines.append(
        f"ratio  {found['ratio']:.2f} of the last two, target {found['target']:.1f};   "
        f"peak {found['peak_mb']:.0f} MB, limit {found['limit_mb']:.0f};   "
        f"load {found['load']}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
