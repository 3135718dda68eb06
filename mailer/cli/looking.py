"""What ``mailer blast`` shows: the list, one blast with its people, one going out."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mailer import runtime
from mailer.cli import alarm
from mailer.cli.context import LIMIT, Context, json_option, pass_context, show_json
from mailer.core import blast as blasts
from mailer.core.alarm import Alarm
from mailer.core.delivery import State
from mailer.core.provider import Rate
from mailer.pipeline import scheduling

NARROW = 9  # columns; more of them stand closer, so that 100 characters are enough
LOOK = 0.5  # seconds between two looks of `watch`

# States that a person wants the reason of; otherwise it is that of the last move.
EXPLAINED = frozenset(
    {blasts.State.PAUSED, blasts.State.CANCELLED, blasts.State.EXPIRED}
)

# States in which something will happen without a person.
GOING = {blasts.State.SCHEDULED, blasts.State.PAUSED, *blasts.RUNNING}


def desk(ctx: Context, workspace: runtime.Workspace) -> scheduling.Desk:
    """Return what the steps of a blast want to know."""
    return scheduling.Desk(
        pool=workspace.pool,
        root=workspace.root,
        settings=workspace.settings,
        actor=ctx.actor,
    )


def say(found: scheduling.Blast, *, as_json: bool) -> None:
    """Say where a blast stands."""
    if as_json:
        show_json(found)
        return
    text = f"{found.name} is {found.state.value}"
    if found.state is blasts.State.SCHEDULED and found.send_at and found.expires_at:
        instants = found.send_at.astimezone(), found.expires_at.astimezone()
        text += f": {scheduling.times(*instants)}"
    click.echo(text)


@click.command("list")
@json_option
@pass_context
def list_(ctx: Context, as_json: bool) -> None:
    """List the blasts, the newest first.

    \b
    Example: mailer blast list --json
    """

    async def step(workspace: runtime.Workspace) -> list[scheduling.Blast]:
        return await scheduling.everything(desk(ctx, workspace))

    found = ctx.run(step)
    if as_json:
        show_json(found)
        return
    table = Table("id", "name", "state", "topic", "starts", "reason", box=None)
    for one in found:
        starts = (
            one.send_at.astimezone().strftime("%Y-%m-%d %H:%M") if one.send_at else ""
        )
        cells = (str(one.id), one.name, one.state.value, one.topic, starts)
        table.add_row(*cells, _reason(one))
    Console().print(table)


def _reason(found: scheduling.Blast) -> str:
    """Return why a blast stands still, if it does."""
    return (found.reason or "") if found.state in EXPLAINED else ""


@click.command()
@click.argument("name")
@click.option("--state", type=click.Choice([state.value for state in State]))
@click.option("--limit", type=LIMIT, default=100, help="Recipients named at most.")
@json_option
@pass_context
def show(ctx: Context, name: str, state: str | None, limit: int, as_json: bool) -> None:
    """Show a blast and its history; with --state, its recipients in a state by name.

    \b
    Example: mailer blast show eoq-final-hours --state in_doubt
    """

    async def step(workspace: runtime.Workspace) -> object:
        at = desk(ctx, workspace)
        if state is not None:
            states = [State(state)]
            return await scheduling.listed(at, name, states=states, limit=limit)
        return (*await scheduling.get(at, name), await scheduling.count(at, name))

    found = ctx.run(step)
    if as_json:
        show_json(found)
    elif isinstance(found, list):
        for one in found:
            reply = one.reply or ""
            click.echo(f"{one.seq:>8} {one.email} {one.state.value} {reply}")
    elif isinstance(found, tuple):
        say(found[0], as_json=False)
        if found[2]["recipients"]:
            click.echo(f"  {_counts(found[2])}")
        for entry in found[1]:
            steps = (entry.before, entry.after)
            change = " -> ".join(step for step in steps if step)
            at = entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            line = f"  {at} {entry.actor}: {entry.action} ({change}) {entry.why or ''}"
            click.echo(line.rstrip())


def _counts(found: dict[str, int]) -> str:
    """Say where the recipients are; what has nobody is left out."""
    rest = [
        f"{count:,} {key.replace('_', ' ')}"
        for key, count in found.items()
        if count and key != "recipients"
    ]
    return f"{found['recipients']:,} recipients: {', '.join(rest)}"


@click.command()
@click.argument("name")
@click.option("--once", is_flag=True, help="Look once instead of until it ends.")
@json_option
@pass_context
def watch(ctx: Context, name: str, once: bool, as_json: bool) -> None:
    """Watch a blast go out, provider by provider, until it ends.

    \b
    Example: mailer blast watch eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Watched:
        at = desk(ctx, workspace)
        if once or as_json:
            return await scheduling.watch(at, name)
        return await _follow(at, name)

    seen = ctx.run(step)
    if as_json:
        show_json(seen)
    elif once:
        Console().print(picture(seen, rate=None))


async def _follow(at: scheduling.Desk, name: str) -> scheduling.Watched:
    """Draw the blast again and again, until it has ended."""
    console = Console()
    started, before = time.monotonic(), None
    watcher = scheduling.Watcher(at, name)
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            seen = await watcher.look()
            if before is None:
                before = seen.sent
            passed = time.monotonic() - started
            rate = (seen.sent - before) / passed if passed > LOOK else None
            live.update(picture(seen, rate=rate))
            if seen.blast.state not in GOING:
                return seen
            await asyncio.sleep(LOOK)


def picture(seen: scheduling.Watched, *, rate: float | None) -> Group:
    """Return the open alarms, the blast below, and the lanes that are not as usual."""
    lines = [Text(_alarm(one), style=alarm.style(one)) for one in seen.alarms]
    lanes = [
        Text(_lane(one, now=seen.at), style="yellow")
        for one in seen.lanes
        if one.mode != "normal"
    ]
    return Group(*lines, _table(seen, rate=rate), *lanes)


def _lane(one: scheduling.Lane, *, now: datetime) -> str:
    """Say how a lane stands that is not as usual, and which reply led to it."""
    name = f"{one.provider}/{one.source}"
    text = f"lane {name}: {one.mode.replace('_', ' ')}"
    if one.mode == "halted":
        text += f" until released (mailer provider release {name})"
    elif one.not_before > now:
        text += f" until {one.not_before.astimezone():%H:%M:%S}"
    if one.rate is not None:
        text += f", {Rate(one.rate)}"
    text += f", {one.connections} of {one.most} connections"
    return f"{text}: {one.reason}" if one.reason else text


def _alarm(one: Alarm) -> str:
    cure = "" if one.taken_by else f"  (mailer alarm take {one.id})"
    return f"ALARM {alarm.line(one)}{cure}"


def _table(seen: scheduling.Watched, *, rate: float | None) -> Table:
    title = f"{seen.blast.name}: {seen.blast.state.value}"
    if reason := _reason(seen.blast):
        title += f" ({reason})"
    if rate is not None and seen.left:
        title += f", {rate:,.0f}/s"
    columns = ["provider", "recipients", "sent", "left", "deferrals", "bounced"]
    columns += ["in\ndoubt", "suppressed"]
    rare = [
        state
        for state in ("held_out", "expired", "cancelled", "failed")
        if any(getattr(one, state) for one in seen.progress)
    ]
    columns += [state.replace("_", "\n") for state in rare]
    done = scheduling.done_at(seen.forecast) if seen.forecast is not None else {}
    if seen.forecast is not None:
        title += f"\n{scheduling.sentence(seen.forecast)}"
        if seen.forecast.is_range:
            title += f"\n{scheduling.RANGE}"
        columns.append("done at")
    is_wide = len(columns) > NARROW
    table = Table(
        title=title,
        title_justify="left",
        box=None,
        collapse_padding=is_wide,
        pad_edge=not is_wide,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for one in seen.progress:
        numbers = (one.recipients, one.sent, one.left, one.deferrals, one.bounced)
        others = (getattr(one, state) for state in rare)
        numbers = (*numbers, one.in_doubt, one.suppressed, *others)
        last = [done.get(one.provider, "")] if seen.forecast is not None else []
        table.add_row(one.provider, *(f"{number:,}" for number in numbers), *last)
    return table
