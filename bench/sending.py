"""CPU of one worker per message over its floor: signed at most 1.5, unsigned 2.0.

One worker process sends a personalised message of about 30 KB with five tracked
links to Postfix's smtp-sink on loopback, ledger and journal on.  The floor is what
no worker can do without: rendering the same compiled template, one SHA-256, one RSA
signature when signing, and what the C client smtp-source takes to send the same
bytes over connections that it keeps.

    python bench/sending.py --messages 20000 --signed
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from mailer.store import database, embedded
from rig import floor, given, mailing, people, receiver, worker
from rig.given import Figures, Given

TARGETS = {True: 1.5, False: 2.0}  # by whether it is signed
OBVIOUS_TARGET = 10.0


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--signed", action="store_true", help="with RSA of 2048 bits")
    options.add_argument("--obvious", type=int, default=300, metavar="MESSAGES")
    options.add_argument("--json", action="store_true")
    options.add_argument("--profile", type=Path, metavar="SVG", help="by py-spy")
    asked = options.parse_args()
    if asked.obvious < 1 or asked.messages < 1 or asked.connections < 1:
        options.error("numbers begin at 1")
    given.begun()
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    sys.exit(0 if found["ratio"] <= found["target"] else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Floor, worker, floor again, the obvious way; each in a process of its own."""
    with (
        given.folder() as folder,
        receiver.sink() as port,
        embedded.using(folder / "db", linger=0, temporary=True) as url,
    ):
        run = Given(
            url=url,
            folder=str(folder),
            port=port,
            hash=asyncio.run(prepared(url, folder, asked.messages)),
            is_signed=asked.signed,
            connections=asked.connections,
            messages=asked.messages,
        )
        alone = [given.measured("floor", run)]
        posted = [floor.posting(run)]
        whole = asyncio.run(worker.worked(run, profile=asked.profile))
        alone.append(given.measured("floor", run))
        posted.append(floor.posting(run))
        plain = given.measured("obvious", replace(run, messages=asked.obvious))
    if whole.messages != asked.messages:
        sys.exit(f"only {whole.messages} of {asked.messages} messages were sent")
    return figures(run, alone=alone, posted=posted, whole=whole, plain=plain)


async def prepared(url: str, folder: Path, messages: int) -> str:
    """Launch a blast to so many people; return the hash of its content."""
    async with database.opened(url) as pool:
        await people.made(pool, folder, messages)
        _, hash = await mailing.launched(pool)
    return hash


def figures(
    run: Given,
    *,
    alone: Sequence[Figures],
    posted: Sequence[float],
    whole: worker.Sent,
    plain: Figures,
) -> Figures:
    """Set the worker beside its floor; microseconds of CPU per message."""
    part = {name: mean(one[name] for one in alone) for name in alone[0]}
    posting = mean(posted)
    names = ["render", "sha256", *(["rsa"] if run.is_signed else [])]
    least = sum(part[name] for name in names) + posting
    return {
        "messages": run.messages,
        "is_signed": run.is_signed,
        "bytes": part["bytes"],
        "ratio": whole.cpu / least,
        "target": TARGETS[run.is_signed],
        "cpu": whole.cpu,
        "system_cpu": whole.system_cpu,
        "messages_per_second": whole.messages_per_second,
        "rss_mb": whole.rss_mb,
        "floor": least,
        "floor_parts": {**{name: part[name] for name in names}, "smtp_source": posting},
        "parts": {"compose": part["compose"], "rest": whole.cpu - part["compose"]},
        "obvious": plain,
        "times_obvious": whole.messages_per_second / plain["messages_per_second"],
        "times_obvious_cpu": plain["cpu"] / whole.cpu,
        "obvious_target": OBVIOUS_TARGET,
        "load": given.load(),
    }


def told(found: Figures) -> str:
    """Say it to a person."""
    plain = found["obvious"]
    parts = ", ".join(f"{k} {v:.0f}" for k, v in found["floor_parts"].items())
    return (
        f"{found['messages']:,} messages of {found['bytes']:,.0f} bytes, "
        f"{'signed' if found['is_signed'] else 'not signed'}; CPU in µs per message\n"
        f"worker     {found['cpu']:7.0f}   composing {found['parts']['compose']:.0f}, "
        f"all else {found['parts']['rest']:.0f} ({found['system_cpu']:.0f} of the whole"
        f" in the system)\n"
        f"floor      {found['floor']:7.0f}   {parts}\n"
        f"ratio      {found['ratio']:7.2f}   target {found['target']:.1f}\n"
        f"messages/s {found['messages_per_second']:7,.0f}   "
        f"peak memory {found['rss_mb']:.0f} MB, load {found['load']}\n"
        f"obvious    {plain['cpu']:7,.0f}   {plain['messages_per_second']:.0f} "
        f"messages/s: ours is {found['times_obvious']:.1f} times as fast "
        f"({found['times_obvious_cpu']:.1f} by CPU), target {OBVIOUS_TARGET:.0f}"
    )


if __name__ == "__main__":
    main()
