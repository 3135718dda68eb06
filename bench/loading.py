"""The loader of the spool against a bare COPY of the same events; then all again.

Opens and clicks of a blast lie in a spool; the loader takes them in (events, who is
engaged, counters, labels by what came together), the COPY only fills a copy of the
table of events with its indexes.  Then the same records are loaded once more: nothing
may change.

    python bench/loading.py --events 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailer import spool
from mailer.core import event, tracking
from mailer.core.event import Kind, Queue
from mailer.core.tracking import Token, Visit
from mailer.pipeline import recording
from mailer.store import database, embedded, migrate

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{}.0.0.0 Safari/537.36"
BLAST = """
INSERT INTO blast (name, topic, file, hash) VALUES ('bench', 'news', 'f', 'h');
INSERT INTO variant (blast_id, position, name, subject) VALUES (1, 1, 'a', 's');
INSERT INTO round (blast_id, number) VALUES (1, 1);
INSERT INTO delivery (blast_id, seq, subscriber_id, provider, round, variant, state,
                      settled_at)
SELECT 1, n, n, 'google', 1, 1, 'sent', '2026-10-01 11:00Z'
FROM generate_series(1, {people}) n;
CREATE TABLE copied (LIKE event INCLUDING ALL);
"""
COLUMNS = """id, at, kind, blast_id, subscriber_id, variant, provider, link, label,
reasons, rules, agent, ip, body"""


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user where we are root
        with embedded.using(folder, linger=0, temporary=True) as url:
            found = asyncio.run(measure(url, folder, given.events))
    print(json.dumps(found, indent=2) if given.json else told(found))
    sys.exit(0 if found["changed"] == 0 else 1)


async def measure(url: str, folder: Path, count: int) -> dict[str, float]:
    """Load, copy, and load again."""
    async with database.opened(url) as pool:
        await migrate.ensure(pool)
        await run(pool, BLAST.format(people=max(1, count // 4)))
        loading, loaded = await load(pool, folder / "first", count)
        before = await standing(pool)
        copying = await copy(pool, folder / "events")
        again, news = await load(pool, folder / "second", count)
        after = await standing(pool)
    return {
        "events": count,
        "loaded": loaded,
        "loaded_per_second": count / loading,
        "copied_per_second": count / copying,
        "ratio": copying / loading,
        "again_per_second": count / again,
        "changed": news + (before != after),
    }


def told(found: dict[str, float]) -> str:
    """Say it to a person."""
    return (
        f"{found['events']:,} events, {found['loaded']:,} of them loaded\n"
        f"loader     {found['loaded_per_second']:9,.0f} events/s\n"
        f"bare COPY  {found['copied_per_second']:9,.0f} events/s"
        f"  (ratio {found['ratio']:.2f})\n"
        f"again      {found['again_per_second']:9,.0f} events/s, "
        f"{found['changed']:.0f} changes"
    )


def records(count: int) -> Iterator[bytes]:
    """Yield what the endpoint writes for *count* visits, the same each time."""
    dice = random.Random(1)
    for number in range(count):
        agent = AGENT.format(100 + dice.randrange(40))
        label, reasons = tracking.label(Visit(agent=agent))
        network = f"10.{dice.randrange(256)}.{dice.randrange(256)}.0"
        person = 1 + dice.randrange(max(1, count // 4))
        token = Token(blast=1, subscriber=person, link=dice.randrange(5))
        yield event.visit(
            Kind.CLICK if dice.random() < 0.2 else Kind.OPEN,
            token,
            at=NOON + timedelta(milliseconds=5 * number),
            random=dice.randbytes(10),
            who=event.seen(label, reasons, agent, network),
        )


async def load(pool: database.Pool, root: Path, count: int) -> tuple[float, int]:
    """Fill a spool and have it loaded; return the seconds, and how many were new."""
    with spool.writing(root / Queue.BULK / "bench") as writer:
        for record in records(count):
            writer.write(record)
    begun = time.perf_counter()
    new = await recording.drain(pool, root)
    return time.perf_counter() - begun, new


async def copy(pool: database.Pool, file: Path) -> float:
    """Copy the same rows, and return the seconds."""
    async with database.transaction(pool) as tx:
        query = f"SELECT {COLUMNS} FROM event ORDER BY id"
        await tx.raw.copy_from_query(query, output=str(file))
        begun = time.perf_counter()
        columns = [name.strip() for name in COLUMNS.split(",")]
        await tx.raw.copy_to_table("copied", source=str(file), columns=columns)
        return time.perf_counter() - begun


async def standing(pool: database.Pool) -> list[tuple[object, ...]]:
    """Return all that events count, in one number for each table."""
    found = []
    async with database.connection(pool) as tx:
        for table in ("event", "engagement", "rollup"):
            row = await tx.raw.fetchrow(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t"
            )
            found.append(tuple(row))
    return found


async def run(pool: database.Pool, statements: str) -> None:
    async with database.connection(pool) as tx:
        await tx.raw.execute(statements)


if __name__ == "__main__":
    main()
