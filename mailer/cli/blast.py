"""``mailer blast``: what a team does with a blast, from its file to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mailer import errors, runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.core import blast as blasts
from mailer.core.delivery import State
from mailer.pipeline import scheduling

LOOK = 0.5  # seconds between two looks of `watch`

# States that a person wants the reason of; otherwise it is that of the last move.
EXPLAINED = frozenset(
    {blasts.State.PAUSED, blasts.State.CANCELLED, blasts.State.EXPIRED}
)

# States in which something will happen without a person.
GOING = {blasts.State.SCHEDULED, blasts.State.PAUSED, *blasts.RUNNING}

why_option = click.option("--why", help="The reason, for the audit.")


@click.group()
def blast() -> None:
    """Write, proof, approve, schedule and watch blasts.

    \b
    Example: mailer blast new eoq-final-hours
    """


def _desk(ctx: Context, workspace: runtime.Workspace) -> scheduling.Desk:
    return scheduling.Desk(
        pool=workspace.pool,
        root=workspace.root,
        settings=workspace.settings,
        actor=ctx.actor,
    )


def _say(found: scheduling.Blast, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    text = f"{found.name} is {found.state.value}"
    if found.state is blasts.State.SCHEDULED and found.send_at and found.expires_at:
        text += (
            f": starts {found.send_at.astimezone():%Y-%m-%d %H:%M %Z}, "
            f"nothing after {found.expires_at.astimezone():%Y-%m-%d %H:%M %Z}"
        )
    click.echo(text)


@blast.command()
@click.argument("name")
@json_option
@pass_context
def new(ctx: Context, name: str, as_json: bool) -> None:
    """Write blasts/NAME.toml to begin with, unless it is there, and add the blast.

    \b
    Example: mailer blast new eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        return await scheduling.new(_desk(ctx, workspace), name)

    found = ctx.run(step)
    _say(found, as_json=as_json)
    if not as_json:
        click.echo(f"Edit {found.file}, then: mailer blast check {found.name}")


@blast.command()
@click.argument("name")
@json_option
@pass_context
def check(ctx: Context, name: str, as_json: bool) -> None:
    """Read the files of a blast and say what is wrong with them.

    \b
    Example: mailer blast check eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        found, _ = await scheduling.check(_desk(ctx, workspace), name)
        return found

    found = ctx.run(step)
    _say(found, as_json=as_json)
    if not as_json:
        click.echo(f"Nothing is wrong with {found.file}.")


@blast.command()
@click.argument("name")
@click.option("--to", multiple=True, required=True, help="Who looks at it.")
@click.option("--like", help="The subscriber whose message it is; else the first.")
@json_option
@pass_context
def proof(
    ctx: Context, name: str, to: Sequence[str], like: str | None, as_json: bool
) -> None:
    """Send each variant to somebody who looks at it.

    \b
    Example: mailer blast proof eoq-final-hours --to ada@example.org
    """

    async def step(workspace: runtime.Workspace) -> list[scheduling.Proof]:
        desk = _desk(ctx, workspace)
        return await scheduling.proof(desk, name, to=to, like=like, now=runtime.now())

    sent = ctx.run(step)
    if as_json:
        show_json(sent)
        return
    for one in sent:
        click.echo(f'{one.variant:16} to {one.to}: "{one.subject}"')
    click.echo(f"As {sent[0].like} would get it.  Next: mailer blast preflight {name}")


@blast.command()
@click.argument("name")
@json_option
@pass_context
def preflight(ctx: Context, name: str, as_json: bool) -> None:
    """Look at everything that could go wrong, and render every recipient.

    \b
    Example: mailer blast preflight eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Preflight:
        desk = _desk(ctx, workspace)
        return await scheduling.preflight(desk, name, now=runtime.now())

    result = ctx.run(step)
    if as_json:
        show_json(result)
    else:
        _show_preflight(result)
    if not result.has_passed:
        message = f"{result.blast} did not pass the preflight"
        raise errors.Conflict(message)


def _show_preflight(result: scheduling.Preflight) -> None:
    for one in result.findings:
        mark = "ok  " if one.is_ok else "warn" if one.is_warning else "NO  "
        first, *more = one.text.splitlines()
        click.echo(f"{mark} {one.name:21} {first}")
        for line in more:
            click.echo(f"{'':26} {line}")
    for failure in result.failures:
        click.echo(f"     {failure.email} ({failure.variant}): {failure.reason}")
    if result.has_passed:
        click.echo(f"Next: mailer blast approve {result.blast}")


@blast.command()
@click.argument("name")
@why_option
@json_option
@pass_context
def approve(ctx: Context, name: str, why: str | None, as_json: bool) -> None:
    """Say that exactly this content may go out; any edit voids it.

    \b
    Example: mailer --as grace blast approve eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        return await scheduling.approve(_desk(ctx, workspace), name, why=why)

    _say(ctx.run(step), as_json=as_json)


@blast.command()
@click.argument("name")
@click.option(
    "--at", metavar="INSTANT", help="Instead of send_at: 2026-12-31T18:00-05."
)
@json_option
@pass_context
def schedule(ctx: Context, name: str, at: str | None, as_json: bool) -> None:
    """Have an approved blast start at its send_at.

    \b
    Example: mailer blast schedule eoq-final-hours --at 2026-12-31T18:00:00-05:00
    """
    instant = _instant(at) if at else None

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        desk = _desk(ctx, workspace)
        return await scheduling.schedule(desk, name, now=runtime.now(), at=instant)

    _say(ctx.run(step), as_json=as_json)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        message = f'"{text}" is no instant: write 2026-12-31T18:00:00-05:00'
        raise click.BadParameter(message, param_hint="--at") from error
    if instant.tzinfo is None:
        message = f'"{text}" has no offset: add one, like -05:00'
        raise click.BadParameter(message, param_hint="--at")
    return instant


@blast.command()
@click.argument("name")
@json_option
@pass_context
def send(ctx: Context, name: str, as_json: bool) -> None:
    """Start an approved blast now.

    \b
    Example: mailer blast send eoq-final-hours
    """

    async def step(workspace: runtime.Workspace) -> scheduling.Blast:
        return await scheduling.send(_desk(ctx, workspace), name, now=runtime.now())

    _say(ctx.run(step), as_json=as_json)


def _mover(move: blasts.Move, help: str) -> click.Command:
    @click.command(name=move.value, help=help)
    @click.argument("name")
    @why_option
    @json_option
    @pass_context
    def command(ctx: Context, name: str, why: str | None, as_json: bool) -> None:
        async def step(workspace: runtime.Workspace) -> scheduling.Blast:
            desk = _desk(ctx, workspace)
            return await scheduling.move(desk, name, move, why=why)

        _say(ctx.run(step), as_json=as_json)

    return command


for _move, _help in (
    (blasts.Move.PAUSE, "Stop a blast within a second; it can go on.\n\n\b\n"),
    (blasts.Move.RESUME, "Let a paused blast go on where it was.\n\n\b\n"),
    (blasts.Move.CANCEL, "Stop a blast for good.\n\n\b\n"),
):
    _example = f"Example: mailer blast {_move.value} eoq-final-hours --why typo"
    blast.add_command(_mover(_move, _help + _example))


@blast.command("list")
@json_option
@pass_context
def list_(ctx: Context, as_json: bool) -> None:
    """List the blasts, the newest first.

    \b
    Example: mailer blast list --json
    """

    async def step(workspace: runtime.Workspace) -> list[scheduling.Blast]:
        return await scheduling.everything(_desk(ctx, workspace))

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


@blast.command()
@click.argument("name")
@click.option("--state", type=click.Choice([state.value for state in State]))
@click.option("--limit", default=100, help="Recipients named at most.")
@json_option
@pass_context
def show(ctx: Context, name: str, state: str | None, limit: int, as_json: bool) -> None:
    """Show a blast and its history; with --state, its recipients in a state by name.

    \b
    Example: mailer blast show eoq-final-hours --state in_doubt
    """

    async def step(workspace: runtime.Workspace) -> object:
        desk = _desk(ctx, workspace)
        if state is not None:
            states = [State(state)]
            return await scheduling.listed(desk, name, states=states, limit=limit)
        return await scheduling.get(desk, name)

    found = ctx.run(step)
    if as_json:
        show_json(found)
    elif isinstance(found, list):
        for one in found:
            reply = one.reply or ""
            click.echo(f"{one.seq:>8} {one.email} {one.state.value} {reply}")
    elif isinstance(found, tuple):
        _say(found[0], as_json=False)
        for entry in found[1]:
            steps = (entry.before, entry.after)
            change = " -> ".join(step for step in steps if step)
            at = entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            line = f"  {at} {entry.actor}: {entry.action} ({change}) {entry.why or ''}"
            click.echo(line.rstrip())


@blast.command()
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
        desk = _desk(ctx, workspace)
        if once or as_json:
            return await scheduling.watch(desk, name)
        return await _follow(desk, name)

    seen = ctx.run(step)
    if as_json:
        show_json(seen)
    elif once:
        Console().print(_table(seen, rate=None))


async def _follow(desk: scheduling.Desk, name: str) -> scheduling.Watched:
    """Draw the blast again and again, until it has ended."""
    console = Console()
    started, before = time.monotonic(), None
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            seen = await scheduling.watch(desk, name)
            if before is None:
                before = seen.sent
            passed = time.monotonic() - started
            rate = (seen.sent - before) / passed if passed > LOOK else None
            live.update(_table(seen, rate=rate))
            if seen.blast.state not in GOING:
                return seen
            await asyncio.sleep(LOOK)


def _table(seen: scheduling.Watched, *, rate: float | None) -> Table:
    title = f"{seen.blast.name}: {seen.blast.state.value}"
    if reason := _reason(seen.blast):
        title += f" ({reason})"
    if rate is not None and seen.left:
        title += f", {rate:,.0f}/s"
        if rate > 0:
            title += f", about {seen.left / rate:,.0f} s left"
    columns = ("provider", "recipients", "sent", "left", "deferrals", "bounced")
    table = Table(title=title, title_justify="left", box=None)
    for number, column in enumerate((*columns, "in doubt", "suppressed")):
        table.add_column(column, justify="left" if number == 0 else "right")
    for one in seen.progress:
        numbers = (one.recipients, one.sent, one.left, one.deferrals, one.bounced)
        more = (one.in_doubt, one.suppressed)
        table.add_row(one.provider, *(f"{number:,}" for number in (*numbers, *more)))
    return table


COMMANDS: dict[str, click.Command] = {"blast": blast}
