"""One lane of 600 a minute and 5 connections, held by 1, 2 and 4 workers, and a kill.

Measured at the provider, a `mailer sink` that writes down every message and every
step: no window has more than rate x window + burst, never are more connections open,
at least 97 % of the rate is used; of four workers one is killed with -9.  The picture
shows that run: messages in the last second and the last ten, and open connections.

    python bench/holding.py --seconds 60 --picture docs/lane.png
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mailer.store import database, embedded, processes
from rig import given, mailing, people, worker
from rig.given import Figures, Given

RATE = 10.0  # messages a second, 600/min
BURST = 20.0  # two seconds' worth
CONNECTIONS = 5
USED = 0.97
SETTLED = 3.0  # seconds after the first message: the burst at the start is over
AGAIN = 20.0  # seconds after a worker was killed until the rate is used again
BUSIEST = """
SELECT p.pid FROM slot s JOIN process p ON p.id = s.owner
GROUP BY p.pid ORDER BY count(*) DESC LIMIT 1
"""
SCENARIO = '[provider.other]\nlatency = "20ms"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the provider saw of one run; seconds since its first message."""

    workers: int
    arrivals: Sequence[float]
    connections: Sequence[tuple[float, int]]  # so many are open from then on
    killed: float | None


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--seconds", type=int, default=60, help="of each run")
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--picture", type=Path, metavar="PNG")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if asked.seconds < 40 or min(asked.workers) < 1:
        options.error("--seconds begins at 40, --workers at 1")
    given.begun()
    runs = measure(asked)
    found = [figures(run) for run in runs]
    if asked.picture is not None:
        draw(runs[-1], asked.picture)
    given.shown({"runs": found}, told(found), as_json=asked.json)
    sys.exit(0 if all(one["is_held"] for one in found) else 1)


def measure(asked: argparse.Namespace) -> list[Run]:
    """Run each number of workers, and at last four of which one is killed."""
    count = int(asked.seconds * RATE)
    with (
        given.folder() as folder,
        embedded.using(folder / "db", linger=0, temporary=True) as url,
    ):
        run = Given(
            url=url,
            folder=str(folder),
            port=0,
            connections=CONNECTIONS,
            messages=count,
            rate="600/min",
        )
        return asyncio.run(rounds(run, [(one, False) for one in asked.workers]))


async def rounds(run: Given, plans: Sequence[tuple[int, bool]]) -> list[Run]:
    """Let the workers of each plan send the same blast."""
    found = []
    async with database.opened(run.url) as pool:
        await people.made(pool, Path(run.folder), run.messages)
        for workers, is_killed in [*plans, (4, True)]:
            name = f"{workers} workers{' and a kill' * is_killed}"
            async with database.connection(pool) as tx:
                await tx.raw.execute(
                    "TRUNCATE delivery, chunk, rollup, slot, lane CASCADE"
                )
            await mailing.launched(pool, name)
            with sink(Path(run.folder), name) as (port, record, transcript):
                asked = replace(run, port=port)
                at = await worked(pool, asked, name, workers, is_killed=is_killed)
            found.append(seen(record, transcript, workers=workers, killed=at))
    return found


@contextmanager
def sink(folder: Path, name: str) -> Iterator[tuple[int, Path, Path]]:
    """Have a provider in a process of its own; yield its port and its two books."""
    scenario = folder / "scenario.toml"
    scenario.write_text(SCENARIO)
    record, transcript = (folder / f"{name}.{end}" for end in ("record", "transcript"))
    words = ["--port", "0", "--scenario", str(scenario), "--record", str(record)]
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mailer",
            "sink",
            *words,
            "--transcript",
            str(transcript),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("Listening on"):
                yield (
                    int(line.rpartition(":")[2].split()[0].rstrip(".")),
                    record,
                    transcript,
                )
                break
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


async def worked(
    pool: database.Pool, run: Given, name: str, workers: int, *, is_killed: bool
) -> float | None:
    """Let *workers* send a blast; kill one after a third of it, and say when."""
    children = [
        await asyncio.create_subprocess_exec(
            *given.command("worker", run), stdout=subprocess.PIPE
        )
        for _ in range(workers)
    ]
    killed = None
    sent = 0
    async with database.connection(pool) as tx:
        before = len(await processes.alive(tx)) - workers
        await worker.released(tx, max(workers, before))
        while sent < run.messages * 0.98:
            sent = await tx.raw.fetchval(
                "SELECT count(*) FROM delivery WHERE state = 'sent'"
            )
            if is_killed and killed is None and sent > run.messages / 3:
                pid = await tx.raw.fetchval(BUSIEST)
                next(one for one in children if one.pid == pid).kill()
                killed = time.time()
            await asyncio.sleep(worker.LOOK)
    for child in children:
        with suppress(ProcessLookupError):
            child.terminate()
        await child.communicate()
    return killed


def seen(record: Path, transcript: Path, *, workers: int, killed: float | None) -> Run:
    """Read the provider's books."""
    arrivals = [at(line) for line in lines(record)]
    first = arrivals[0]
    is_open: set[int] = set()
    connections: list[tuple[float, int]] = []
    for line in lines(transcript):
        (is_open.discard if line["step"] == "left" else is_open.add)(line["client"])
        if not connections or connections[-1][1] != len(is_open):
            connections.append((at(line) - first, len(is_open)))
    return Run(
        workers=workers,
        arrivals=[one - first for one in arrivals],
        connections=connections,
        killed=None if killed is None else killed - first,
    )


def lines(path: Path) -> list[Figures]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def at(line: Figures) -> float:
    """Return when a line was written, in seconds."""
    return datetime.fromisoformat(line["at"]).timestamp()


def figures(run: Run) -> Figures:
    """Say whether the lane was held, and used."""
    times = run.arrivals
    worst = max(
        last + 1 - first - RATE * (times[last] - times[first])
        for first in range(len(times))
        for last in range(first, len(times))
    )
    since = SETTLED if run.killed is None else run.killed + AGAIN
    tail = times[bisect_left(times, since) :]
    used = (len(tail) - 1) / (tail[-1] - tail[0]) / RATE
    most = max(count for _, count in run.connections)
    return {
        "workers": run.workers,
        "killed": run.killed,
        "messages": len(times),
        "worst_excess": worst,
        "burst": BURST,
        "most_connections": most,
        "used": used,
        "is_held": worst <= BURST and most <= CONNECTIONS and used >= USED,
    }


def told(found: Sequence[Figures]) -> str:
    """Say it to a person."""
    head = (
        "at the provider, one lane of 600/min and 5 connections\n"
        "workers         messages  over rate x window  connections  used\n"
    )
    rows = []
    for one in found:
        name = f"{one['workers']}"
        if one["killed"] is not None:
            name += f", kill at {one['killed']:.0f} s"
        rows.append(
            f"{name:16}{one['messages']:8}  {one['worst_excess']:8.1f} of {BURST:.0f}"
            f"      {one['most_connections']:11}  {one['used']:.1%}"
            f"{'' if one['is_held'] else '   NOT HELD'}"
        )
    return head + "\n".join(rows)


def draw(run: Run, path: Path) -> None:
    """Draw the windows and the connections of a run as PNG."""
    import altair as alt
    import vl_convert

    times, end = run.arrivals, run.arrivals[-1]
    windows = [
        {
            "second": moment / 4,
            "window": f"last {length} s" if length > 1 else "last second",
            "rate": (
                bisect_right(times, moment / 4)
                - bisect_right(times, moment / 4 - length)
            )
            / length,
        }
        for length in (1, 10)
        for moment in range(4 * length, int(4 * end))
    ]
    x = alt.X("second:Q", title="seconds since the first message")
    rate = (
        alt.Chart(alt.InlineData(values=windows), width=720, height=220)
        .mark_line(interpolate="step-after")
        .encode(
            x=x,
            y=alt.Y("rate:Q", title="messages a second"),
            color=alt.Color("window:N", title=None),
        )
    )
    limit = (
        alt.Chart(alt.InlineData(values=[{"rate": RATE}]))
        .mark_rule(strokeDash=[4, 4])
        .encode(y="rate:Q")
    )
    layers = [rate, limit]
    steps = [{"second": max(0.0, at), "open": count} for at, count in run.connections]
    connections = (
        alt.Chart(alt.InlineData(values=steps), width=720, height=90)
        .mark_line(interpolate="step-after")
        .encode(x=x, y=alt.Y("open:Q", title="connections"))
    )
    if run.killed is not None:
        kill = alt.InlineData(values=[{"second": run.killed}])
        layers.append(alt.Chart(kill).mark_rule(color="crimson").encode(x="second:Q"))
        connections += alt.Chart(kill).mark_rule(color="crimson").encode(x="second:Q")
    chart = alt.vconcat(alt.layer(*layers), connections).properties(
        title=f"One lane of 600/min and 5 connections, {run.workers} workers; "
        "one is killed at the red line"
    )
    path.write_bytes(vl_convert.vegalite_to_png(chart.to_json(), scale=2))


if __name__ == "__main__":
    main()
