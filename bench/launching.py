"""Launch of a blast against a bare INSERT of the same rows: at least half as fast.

The launch goes from segment to released chunks: suppressions, variants, ledger,
chunks, rollup.  The bare statement is ``INSERT … SELECT … ORDER BY`` of the rows that
a launch has written, from an unsorted copy of them, into the same table with the same
indexes.  They take turns; before each the ledger is emptied, and a checkpoint made.

    python bench/launching.py --rows 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from mailer.pipeline import launching
from mailer.store import database, embedded
from rig import given, mailing, people
from rig.given import Figures

TARGET = 0.5

PARTS = {  # what is in the statements of a part, and in no other
    "ledger": "INTO delivery",
    "chunks": "INTO chunk",
    "rollup": "INTO rollup",
    "commit": "COMMIT",
}

SUPPRESSED = """
INSERT INTO suppression (address, reason, source)
SELECT address, 'unsubscribe', 'bench' FROM subscriber WHERE id % $1 = 0 ORDER BY id
"""
COLUMNS = """
seq, subscriber_id, occasion, provider, round, variant, state, attempts, settled_at,
reply
"""
COPY = f"""
CREATE TABLE bench_row AS SELECT {COLUMNS} FROM delivery ORDER BY subscriber_id
"""
BARE = f"""
INSERT INTO delivery (blast_id, {COLUMNS})
SELECT (SELECT id FROM blast WHERE name = 'bare'), {COLUMNS} FROM bench_row ORDER BY seq
"""
SAME = """
SELECT count(*) = $1 FROM delivery d
JOIN bench_row USING (seq, subscriber_id, provider, round)
"""


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--variants", type=int, default=4)
    options.add_argument(
        "--suppress", type=int, default=50, metavar="N", help="everyone whose id is N x"
    )
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if min(asked.rows, asked.rounds, asked.variants, asked.suppress) < 1:
        options.error("numbers begin at 1")
    given.begun()
    with (
        given.folder() as folder,
        embedded.using(folder / "db", linger=0, temporary=True) as url,
    ):
        found = asyncio.run(measure(url, folder, asked))
    given.shown(found, told(found), as_json=asked.json)
    sys.exit(0 if found["ratio"] >= TARGET else 1)


async def measure(url: str, folder: Path, asked: argparse.Namespace) -> Figures:
    """Launch once for the rows; then the bare statement and the launch in turns."""
    async with database.opened(url) as pool:
        await people.made(pool, folder, asked.rows, by_provider=True)
        async with database.connection(pool) as tx:
            await tx.raw.execute(SUPPRESSED, asked.suppress)
            await tx.raw.execute("VACUUM (ANALYZE) suppression, change")
        await mailing.scheduled(pool, "bare", variants=asked.variants)
        first, _, _ = await launched(pool, url, "first", variants=asked.variants)
        async with database.connection(pool) as tx:
            await tx.raw.execute(COPY)
        bare, whole, parts = [], [], defaultdict(list)
        for number in range(asked.rounds):
            bare.append(await inserted(pool, rows=first.rows))
            name = f"round {number}"
            again, seconds, spent = await launched(
                pool, url, name, variants=asked.variants
            )
            assert again == launching.Launched(
                name=name, rows=first.rows, owed=first.owed, chunks=first.chunks
            )
            whole.append(seconds)
            for part, took in spent.items():
                parts[part].append(took)
    return {
        "rows": first.rows,
        "owed": first.owed,
        "chunks": first.chunks,
        "variants": asked.variants,
        "rounds": asked.rounds,
        "ratio": median(bare) / median(whole),
        "target": TARGET,
        "bare_seconds": median(bare),
        "launch_seconds": median(whole),
        "launch_rows_per_second": first.rows / median(whole),
        "parts": {part: median(took) for part, took in parts.items()},
        "all_bare_seconds": bare,
        "all_launch_seconds": whole,
        "load": given.load(),
    }


async def launched(
    pool: database.Pool, url: str, name: str, *, variants: int
) -> tuple[launching.Launched, float, dict[str, float]]:
    """Launch a blast into an empty ledger; return what it took, by statement too."""
    await mailing.scheduled(pool, name, variants=variants)
    await emptied(pool)
    spent: dict[str, float] = {}

    def note(record: Any) -> None:
        for part, mark in PARTS.items():
            if mark in record.query:
                spent[part] = spent.get(part, 0.0) + record.elapsed

    async with database.opened(url, size=1) as one:
        async with database.connection(one) as tx:
            tx.raw.add_query_logger(note)  # of the one connection that there is
        begun = time.perf_counter()
        found = await launching.launch(one, name)
        seconds = time.perf_counter() - begun
    return found, seconds, spent


async def inserted(pool: database.Pool, *, rows: int) -> float:
    """Insert the same rows; return the seconds that it took."""
    await emptied(pool)
    begun = time.perf_counter()
    async with database.transaction(pool) as tx:
        await tx.raw.execute(BARE)
    seconds = time.perf_counter() - begun
    async with database.connection(pool) as tx:
        assert await tx.raw.fetchval(SAME, rows), "these are not the same rows"
    return seconds


async def emptied(pool: database.Pool) -> None:
    """Empty the ledger, and leave nothing to write from before."""
    async with database.connection(pool) as tx:
        await tx.raw.execute("TRUNCATE delivery, chunk, rollup")
        await tx.raw.execute("CHECKPOINT")


def told(found: Figures) -> str:
    """Say it to a person."""
    parts = ", ".join(f"{part} {took:.2f}" for part, took in found["parts"].items())
    rows = found["rows"]
    return (
        f"{rows:,} rows, {found['owed']:,} of them owed in {found['chunks']:,} chunks; "
        f"{found['variants']} variants, {found['rounds']} rounds\n"
        f"bare INSERT {found['bare_seconds']:7.2f} s"
        f"  {rows / found['bare_seconds']:9,.0f} rows/s\n"
        f"launch      {found['launch_seconds']:7.2f} s"
        f"  {found['launch_rows_per_second']:9,.0f} rows/s   {parts}\n"
        f"ratio       {found['ratio']:7.2f}    target {found['target']:.2f}   "
        f"load {found['load']}"
    )


if __name__ == "__main__":
    main()
