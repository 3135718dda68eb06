"""Import of CSV against a bare COPY of the same rows: at least a third as fast.

Both write the same people, and what they gave, into empty tables with all their
indexes, on an embedded server with its ordinary settings.  The COPY is given its
bytes ready made; the import begins at the CSV file.

    python bench/importing.py --rows 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit

from mailer.core import fiction
from mailer.pipeline import importing
from mailer.store import database, embedded, migrate

TARGET = 1 / 3
NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)

PERSON = """
id address email domain provider first_name last_name street city state zip country
time_zone language attributes signed_up_at
"""
GIFTS = """
subscriber_id imported_count imported_sum imported_highest imported_latest
imported_latest_at recurring
"""
TABLES = {"subscriber": PERSON.split(), "giving": GIFTS.split()}


def main() -> None:
    """Measure, or be the process that is measured."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--json", action="store_true")
    options.add_argument("--import", dest="imported", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.imported:
        url, file = given.imported
        print(json.dumps(asyncio.run(imported(url, Path(file)))))
        return
    found = measure(rows=given.rows, rounds=given.rounds)
    print(json.dumps(found, indent=2) if given.json else told(found))
    sys.exit(0 if found["ratio"] >= TARGET else 1)


def measure(*, rows: int, rounds: int) -> dict[str, float]:
    """Copy and import in turns, each into a database of its own."""
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user where we are root
        file = folder / "people.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            out.writelines(fiction.lines(rows, seed=1, now=NOW))
        with embedded.using(folder, linger=0, temporary=True) as url:
            asyncio.run(execute(url, "CREATE DATABASE bench_empty"))
            asyncio.run(migrated(other(url, "bench_empty")))
            copies, imports = [], []
            for _ in range(rounds):
                asyncio.run(fresh(url, "bench_import"))
                imports.append(child(other(url, "bench_import"), file))
                asyncio.run(dumped(other(url, "bench_import"), folder))
                asyncio.run(fresh(url, "bench_copy"))
                copies.append(asyncio.run(copied(other(url, "bench_copy"), folder)))
    copy = median(copies)
    whole = median(run["seconds"] for run in imports)
    return {
        "rows": rows,
        "ratio": copy / whole,
        "target": TARGET,
        "copy_seconds": copy,
        "copy_rows_per_second": rows / copy,
        "import_seconds": whole,
        "import_rows_per_second": rows / whole,
        "import_cpu_seconds": median(run["cpu"] for run in imports),
        "reading_seconds": median(run["reading"] for run in imports),
        "peak_rss_mb": max(run["rss_mb"] for run in imports),
        "first_rss_mb": max(run["first_rss_mb"] for run in imports),
    }


def told(found: dict[str, float]) -> str:
    """Say it to a person."""
    return (
        f"{found['rows']:,} rows\n"
        f"bare COPY  {found['copy_seconds']:7.2f} s"
        f"  {found['copy_rows_per_second']:9,.0f} rows/s\n"
        f"import     {found['import_seconds']:7.2f} s"
        f"  {found['import_rows_per_second']:9,.0f} rows/s"
        f"  (reading alone {found['reading_seconds']:.2f} s, "
        f"CPU {found['import_cpu_seconds']:.2f} s)\n"
        f"ratio      {found['ratio']:7.2f}    target {found['target']:.2f}\n"
        f"peak RSS   {found['peak_rss_mb']:7.0f} MB"
        f"  ({found['first_rss_mb']:.0f} MB after the first batch)"
    )


def child(url: str, file: Path) -> dict[str, float]:
    """Import in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "--import", url, str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def imported(url: str, file: Path) -> dict[str, float]:
    """Import *file*, then read it once more without a database."""
    memory: list[float] = []
    async with database.opened(url) as pool:
        begun, cpu = time.perf_counter(), time.process_time()
        await importing.import_csv(
            pool, file, actor="bench", progress=lambda _: memory.append(rss())
        )
        seconds = time.perf_counter() - begun
        used = time.process_time() - cpu
    peak = rss()
    begun = time.perf_counter()
    for _ in importing.read(file, importing.Options()):
        pass
    return {
        "seconds": seconds,
        "cpu": used,
        "reading": time.perf_counter() - begun,
        "rss_mb": peak,
        "first_rss_mb": memory[0],
    }


def rss() -> float:
    """Return the most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def dumped(url: str, folder: Path) -> None:
    """Write what was imported as COPY wants it, in the order of the file."""
    async with database.opened(url) as pool, database.connection(pool) as tx:
        for table, columns in TABLES.items():
            query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]}"
            await tx.raw.copy_from_query(query, output=str(folder / table))


async def copied(url: str, folder: Path) -> float:
    """Copy the same rows, and return the seconds that it took."""
    async with database.opened(url) as pool, database.transaction(pool) as tx:
        begun = time.perf_counter()
        for table, columns in TABLES.items():
            await tx.raw.copy_to_table(
                table, source=pieces(folder / table), columns=columns
            )
    return time.perf_counter() - begun


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """Yield a file in pieces as large as those of the import."""
    with path.open("rb") as file:
        while piece := file.read(1 << 18):
            yield piece


def other(url: str, name: str) -> str:
    """Return the address of another database of the same server."""
    scheme, place, _, query, fragment = urlsplit(url)
    return urlunsplit((scheme, place, f"/{name}", query, fragment))


async def fresh(url: str, name: str) -> None:
    """Make an empty database, with nothing left to write from before."""
    await execute(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await execute(url, f"CREATE DATABASE {name} TEMPLATE bench_empty")
    await execute(url, "CHECKPOINT")


async def migrated(url: str) -> None:
    async with database.opened(url, size=1) as pool:
        await migrate.ensure(pool)


async def execute(url: str, statement: str) -> None:
    async with database.opened(url, size=1) as pool, database.connection(pool) as tx:
        await tx.raw.execute(statement)


if __name__ == "__main__":
    main()
