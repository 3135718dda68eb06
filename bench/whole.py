"""A blast sent whole by some workers: what smtp-sink counted equals the ledger.

Postfix's smtp-sink counts each message that it took, and tells the recipient of each.
Right is: as many messages, as many recipients, as many different ones, and as many
rows that are sent, as there are people.

    python bench/whole.py --messages 1000000 --workers 2
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from mailer.store import database, embedded
from rig import floor, given, mailing, people, receiver, worker
from rig.given import Figures, Given

LETTERS = {
    "note": "a few KB, one link",
    "letter": "about 30 KB, five links, as in sending.py",
}


def main() -> None:
    """Send, and count."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument(
        "--connections", type=int, default=10, help="of all workers together"
    )
    options.add_argument("--letter", choices=LETTERS, default="note", help=str(LETTERS))
    options.add_argument("--signed", action="store_true", help="with RSA of 2048 bits")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if min(asked.messages, asked.workers, asked.connections) < 1:
        options.error("numbers begin at 1")
    given.begun()
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    sys.exit(0 if found["is_equal"] else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Send to a receiver that counts, and set its count beside the ledger."""
    with given.folder() as folder:
        counter = receiver.Counter(folder)
        with embedded.using(folder / "db", linger=0, temporary=True) as url:
            with counter.running() as port:
                run = Given(
                    url=url,
                    folder=str(folder),
                    port=port,
                    is_signed=asked.signed,
                    connections=asked.connections,
                    messages=asked.messages,
                )
                run = replace(run, hash=asyncio.run(prepared(run, asked.letter)))
                size = floor.size(run)
                sent = asyncio.run(worker.worked(run, workers=asked.workers))
            states = asyncio.run(ledger(url))
        counted = counter.counted()
    is_equal = (
        {asked.messages}
        == {counted.accepted, counted.recipients, counted.distinct, states["sent"]}
        == {states.total()}
    )
    return {
        "messages": asked.messages,
        "is_equal": is_equal,
        "accepted": counted.accepted,
        "recipients": counted.recipients,
        "distinct_recipients": counted.distinct,
        "ledger": dict(states),
        "bytes": size,
        "letter": asked.letter,
        "is_signed": asked.signed,
        "workers": asked.workers,
        "connections": asked.connections,
        "messages_per_second": sent.messages_per_second,
        "seconds": sent.messages / sent.messages_per_second,
        "cpu": sent.cpu,
        "system_cpu": sent.system_cpu,
        "shares": sent.shares,
        "rss_mb": sent.rss_mb,
        "load": given.load(),
    }


async def prepared(run: Given, letter: str) -> str:
    """Launch a blast to everybody; return the hash of its content."""
    async with database.opened(run.url) as pool:
        await people.made(pool, Path(run.folder), run.messages)
        _, hash = await mailing.launched(pool, letter=letter)
    return hash


async def ledger(url: str) -> Counter[str]:
    """Count the rows of the ledger by state."""
    async with database.opened(url, size=1) as pool, database.connection(pool) as tx:
        rows = await tx.raw.fetch(
            "SELECT state::text, count(*) FROM delivery GROUP BY state ORDER BY state"
        )
    return Counter(dict(rows))


def told(found: Figures) -> str:
    """Say it to a person."""
    rows = ", ".join(f"{count:,} {state}" for state, count in found["ledger"].items())
    shares = ", ".join(f"{share:.0%}" for share in found["shares"])
    return (
        f"{found['messages']:,} messages of {found['bytes']:,.0f} bytes, "
        f"{'signed' if found['is_signed'] else 'not signed'}, by {found['workers']} "
        f"workers over {found['connections']} connections\n"
        f"smtp-sink  {found['accepted']:,} accepted, for {found['recipients']:,} "
        f"recipients, {found['distinct_recipients']:,} of them different\n"
        f"ledger     {rows}: {'equal' if found['is_equal'] else 'NOT EQUAL'}\n"
        f"time       {found['seconds']:,.1f} s, {found['messages_per_second']:,.0f} "
        f"messages/s; {found['cpu']:.0f} µs of CPU a message "
        f"({found['system_cpu']:.0f} in the system), shares {shares}\n"
        f"memory     {found['rss_mb']:.0f} MB at most; load {found['load']}"
    )


if __name__ == "__main__":
    main()
