"""CPU per message of a limited lane over an unlimited one: at most 1.05 times.

The same blast goes out several times, in one run, by one worker: over a lane without
a limit, over one whose limit is far above what the worker can do, and so on in turn.
What is dearer is taking tokens and reporting to the lane's controller.

    python bench/throttling.py --messages 20000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from mailer.store import database, embedded
from rig import given, mailing, people, receiver, worker
from rig.given import Figures, Given

TARGET = 1.05
FAR = "200000/s"  # no worker is so fast


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if min(asked.messages, asked.rounds, asked.connections) < 1:
        options.error("numbers begin at 1")
    given.begun()
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    sys.exit(0 if found["ratio"] <= TARGET else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Send without a limit, with one, without again."""
    with (
        given.folder() as folder,
        receiver.sink() as port,
        embedded.using(folder / "db", linger=0, temporary=True) as url,
    ):
        run = Given(
            url=url,
            folder=str(folder),
            port=port,
            connections=asked.connections,
            messages=asked.messages,
        )
        runs = asyncio.run(rounds(run, asked.rounds))
    for sent in runs:
        if sent.messages != asked.messages:
            sys.exit(f"only {sent.messages} of {asked.messages} messages were sent")
    return figures(runs, asked)


async def rounds(run: Given, count: int) -> list[worker.Sent]:
    """Launch the same blast without a limit, with one, and so on; without at last."""
    found = []
    async with database.opened(run.url) as pool:
        await people.made(pool, Path(run.folder), run.messages)
        for number, rate in enumerate(["unlimited", *(FAR, "unlimited") * count], 1):
            async with database.connection(pool) as tx:
                await tx.raw.execute(
                    "TRUNCATE delivery, chunk, rollup, slot, lane CASCADE"
                )
            name = f"round {number}"
            await mailing.launched(pool, name)
            found.append(await worker.worked(replace(run, rate=rate), name))
    return found


def figures(runs: Sequence[worker.Sent], asked: argparse.Namespace) -> Figures:
    """Set each limited run beside those before and after it; µs of CPU a message."""
    pairs = [
        runs[at].cpu / mean([runs[at - 1].cpu, runs[at + 1].cpu])
        for at in range(1, len(runs), 2)
    ]
    return {
        "messages": asked.messages,
        "connections": asked.connections,
        "ratio": median(pairs),
        "pairs": pairs,
        "target": TARGET,
        "unlimited": [sent.cpu for sent in runs[::2]],
        "limited": [sent.cpu for sent in runs[1::2]],
        "messages_per_second": {
            "unlimited": mean(sent.messages_per_second for sent in runs[::2]),
            "limited": mean(sent.messages_per_second for sent in runs[1::2]),
        },
        "load": given.load(),
    }


def told(found: Figures) -> str:
    """Say it to a person."""
    speed = found["messages_per_second"]
    lines = [
        f"{found['messages']:,} messages over {found['connections']} connections; "
        "CPU in µs per message"
    ]
    for kind in ("unlimited", "limited"):
        each = " ".join(f"{cpu:.0f}" for cpu in found[kind])
        lines.append(f"{kind:10} {each}   {speed[kind]:,.0f} messages/s")
    pairs = ", ".join(f"{one:.3f}" for one in found["pairs"])
    lines.append(
        f"ratio      {found['ratio']:.3f}   median of {pairs}; target "
        f"{found['target']:.2f}   load {found['load']}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
