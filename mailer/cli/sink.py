"""mailer sink: the simulated mailbox providers."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from mailer import runtime
from mailer.cli import context

HEADINGS = {
    "connections": "conn.",
    "most_connections": "at once",
    "most_in_a_second": "best/s",
}


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen here.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=2525,
    show_default=True,
    help="Listen here; 0 takes a free port.",
)
@click.option(
    "--scenario",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="Who plays what: default, smooth, or a TOML file of one's own.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a JSON line for each message, before it is answered.",
)
@click.option("--links", is_flag=True, help="Record the links too, for visitors.")
@click.option(
    "--transcript",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a JSON line for each step of each connection.",
)
@click.option("--fsync", is_flag=True, help="Have each line on disk before the answer.")
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep whole messages in this folder.",
)
@click.option(
    "--save-at-most", default=1000, show_default=True, help="Then keep no more."
)
@context.json_option
def sink(  # noqa: PLR0913 - one parameter an option
    *,
    host: str,
    port: int,
    scenario: str,
    record: Path | None,
    links: bool,
    transcript: Path | None,
    fsync: bool,
    save: Path | None,
    save_at_most: int,
    as_json: bool,
) -> None:
    """Play the mailbox providers: receive mail, refuse some, deliver none.

    They have the habits of the real ones: unknown users, full mailboxes, greylisting,
    limits on rate and connections, each in its own words.  A scenario of one's own may
    hold troubles too: cut wires, silence, storms (docs/simulation.md).  Ctrl-C ends the
    play and shows what each provider saw.

    \b
    Example: mailer sink --port 2525 --record arrived.jsonl
    """
    from mailer.pipeline import simulating

    stage = simulating.Stage(
        scenario=scenario,
        host=host,
        port=port,
        transcript=transcript,
        keeping=simulating.Keeping(
            record=record,
            is_durable=fsync,
            has_links=links,
            save=save,
            save_at_most=save_at_most,
        ),
    )

    def ready(found: int) -> None:
        click.echo(f"Listening on {host}:{found}", err=as_json)

    async def play() -> tuple[simulating.Count, ...]:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await simulating.simulate(stage, now=runtime.now, ready=ready, stop=stop)

    counts = context.run(play(), is_long=True)
    if as_json:
        context.show_json(counts)
        return
    _show(counts)


def _show(counts: tuple[object, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = [context.plain(count) for count in counts]
    if not rows:
        click.echo("Nobody came.")
        return
    table = Table(box=None, header_style="bold")
    shown = [
        name for name in rows[0] if name == "accepted" or any(row[name] for row in rows)
    ]
    for name in shown:
        heading = HEADINGS.get(name, name)
        table.add_column(heading, justify="left" if name == "provider" else "right")
    for row in rows:
        table.add_row(
            *(
                f"{row[name]:,}" if isinstance(row[name], int) else row[name]
                for name in shown
            )
        )
    Console().print(table)


COMMANDS = {"sink": sink}
