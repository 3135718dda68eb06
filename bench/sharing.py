"""CPU per message of two worker processes against one: at most 1.1 times.

The same blast goes out several times, in one run: by one worker, by two that share
it, by one again, and so on.  Nothing is released before all workers look for work.
What the machine itself adds is measured, too: composing, in one process and in two at
once that share nothing but the machine.

    python bench/sharing.py --messages 20000 --workers 2
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean

from mailer.store import database, embedded
from rig import given, mailing, people, receiver, worker
from rig.given import Figures, Given

TARGET = 1.1


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument(
        "--connections", type=int, default=10, help="of all workers together"
    )
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--signed", action="store_true", help="with RSA of 2048 bits")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if min(asked.messages, asked.rounds) < 1:
        options.error("numbers begin at 1")
    if not 2 <= asked.workers <= asked.connections:
        options.error("--workers wants 2 or more, and a connection for each")
    given.begun()
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    sys.exit(0 if found["ratio"] <= TARGET else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Send by one, by all, by one again."""
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
            messages=asked.messages,
        )
        runs, apart = asyncio.run(rounds(run, asked))
    for sent in runs:
        if sent.messages != asked.messages:
            sys.exit(f"only {sent.messages} of {asked.messages} messages were sent")
    return figures(runs, apart, asked)


async def rounds(
    run: Given, asked: argparse.Namespace
) -> tuple[list[worker.Sent], float]:
    """Launch the same blast for one worker, for all of them, for one, and again."""
    found = []
    async with database.opened(run.url) as pool:
        await people.made(pool, Path(run.folder), run.messages)
        _, hash = await mailing.launched(pool, "composed")
        apart = alone(replace(run, hash=hash), workers=asked.workers)
        for number, count in enumerate([1, *(asked.workers, 1) * asked.rounds], 1):
            async with database.connection(pool) as tx:
                await tx.raw.execute("TRUNCATE delivery, chunk, rollup")
            name = f"round {number}"
            await mailing.launched(pool, name)
            found.append(await worker.worked(run, name, workers=count))
    return found, apart


def alone(run: Given, *, workers: int) -> float:
    """Return how much dearer composing is while others compose."""
    one = given.measured("floor", run)["compose"]
    each = [said["compose"] for said in given.together("floor", run, count=workers)]
    return float(mean(each) / one)


def figures(
    runs: Sequence[worker.Sent], apart: float, asked: argparse.Namespace
) -> Figures:
    """Set several workers beside one; microseconds of CPU per message."""
    one = mean(sent.cpu for sent in runs[::2])
    together = mean(sent.cpu for sent in runs[1::2])
    return {
        "messages": asked.messages,
        "is_signed": asked.signed,
        "workers": asked.workers,
        "connections": asked.connections,
        "ratio": together / one,
        "target": TARGET,
        "one": one,
        "together": together,
        "apart": apart,
        "runs": [
            {name: value for name, value in asdict(sent).items() if name != "memory"}
            for sent in runs
        ],
        "load": given.load(),
    }


def told(found: Figures) -> str:
    """Say it to a person."""
    lines = [
        f"{found['messages']:,} messages over {found['connections']} connections, "
        f"{'signed' if found['is_signed'] else 'not signed'}; CPU in µs per message"
    ]
    for run in found["runs"]:
        shares = ", ".join(f"{share:.0%}" for share in run["shares"])
        lines.append(
            f"{len(run['shares'])} at once  {run['cpu']:7.0f}   "
            f"{run['system_cpu']:.0f} of it in the system, "
            f"{run['messages_per_second']:,.0f} messages/s, "
            f"peak memory {run['rss_mb']:.0f} MB, shares {shares}"
        )
    lines.append(
        f"ratio      {found['ratio']:7.2f}   {found['together']:.0f} over "
        f"{found['one']:.0f}, target {found['target']:.1f}   "
        f"load {found['load']}\n"
        f"machine    {found['apart']:7.2f}   composing in {found['workers']} processes "
        "at once, over composing in one"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
