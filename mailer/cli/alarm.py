"""``mailer alarm``: what needs a person, and who takes it."""

from __future__ import annotations

import click
from rich.console import Console
from rich.padding import Padding

from mailer import runtime
from mailer.cli.context import (
    LIMIT,
    NUMBER,
    Context,
    json_option,
    pass_context,
    show_json,
)
from mailer.core.alarm import Alarm, Severity
from mailer.core.notice import ago
from mailer.pipeline import alarming


@click.group()
def alarm() -> None:
    """See what needs a person now, and take it.

    \b
    Example: mailer alarm list
    """


@alarm.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.option(
    "--limit", type=LIMIT, default=50, help="So many with --all, the newest first."
)
@json_option
@pass_context
def list_(ctx: Context, everything: bool, limit: int, as_json: bool) -> None:
    """List the open alarms: what happened, what mailer did, what to do.

    \b
    Example: mailer alarm list --all
    """

    async def step(workspace: runtime.Workspace) -> alarming.Listed:
        return await alarming.listed(workspace.pool, everything=everything, limit=limit)

    listed = ctx.run(step)
    if as_json:
        show_json([_document(one, listed) for one in listed.found])
        return
    if not listed.found:
        click.echo("No alarm is open." if not everything else "There was no alarm.")
    console = Console(highlight=False)
    for one in listed.found:
        _show(console, one, listed)


@alarm.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=NUMBER)
@click.option("--by", "who", metavar="NAME", help="Who looks after it, if not you.")
@click.option("--note", metavar="TEXT", help="What the others should know.")
@pass_context
def take(ctx: Context, ids: tuple[int, ...], who: str | None, note: str | None) -> None:
    """Say that you look after an alarm: it stops repeating, and the others hear it.

    \b
    Example: mailer alarm take 7 --by Ada --note "calling the relay's support"
    """
    name = who or ctx.actor

    async def step(workspace: runtime.Workspace) -> list[tuple[Alarm, Alarm]]:
        return [
            await alarming.take(
                workspace.pool, id, who=name, note=note, actor=ctx.actor
            )
            for id in ids
        ]

    for before, after in ctx.run(step):
        was = f" (it was {before.taken_by}'s)" if before.taken_by else ""
        click.echo(f"{name} looks after alarm {after.id}{was}: {after.happened}.")
        click.echo(f"It is not repeated any more.  What to do: {after.cure}")


def _document(one: Alarm, listed: alarming.Listed) -> dict[str, object]:
    return {
        "id": one.id,
        "kind": one.kind,
        "severity": one.severity,
        "subject": one.subject,
        "happened": one.happened,
        "detail": one.detail,
        "did": one.did,
        "cure": one.cure,
        "count": one.count,
        "first_at": one.first_at,
        "last_at": one.last_at,
        "told_at": one.told_at,
        "rounds": one.rounds,
        "taken_by": one.taken_by,
        "taken_at": one.taken_at,
        "note": one.note,
        "cleared_at": one.cleared_at,
        "cleared_why": one.cleared_why,
        "undelivered": [
            {"channel": lost.channel, "address": lost.address, "error": lost.error}
            for lost in listed.undelivered
            if lost.alarm_id == one.id
        ],
    }


def _show(console: Console, one: Alarm, listed: alarming.Listed) -> None:
    console.print(line(one), style=style(one), soft_wrap=True, markup=False)
    rows = [one.detail]
    if one.is_open:
        rows += [f"mailer: {one.did}", f"You: {one.cure}"]
    rows.append(_history(one))
    if one.is_open and not one.taken_by:
        rows.append(f"Take it: mailer alarm take {one.id} --by YOUR-NAME")
    for lost in listed.undelivered:
        if lost.alarm_id == one.id:
            to = f"{lost.channel} {lost.address}"
            rows.append(f"NOT DELIVERED to {to} ({lost.attempts} tries): {lost.error}")
    for row in rows:
        text = Padding(console.render_str(row, markup=False), (0, 0, 0, 4))
        console.print(text)


def line(one: Alarm) -> str:
    """Return an alarm as one line: its number, how bad, what."""
    if not one.is_open:
        return f"{one.id}  over  {one.happened}"
    state = f"  ({one.taken_by} looks after it)" if one.taken_by else ""
    return f"{one.id}  {one.severity.upper()}  {one.happened}{state}"


def style(one: Alarm) -> str:
    """Return how loud it is."""
    if not one.is_open or one.taken_by:
        return "dim"
    return "bold red" if one.severity is Severity.CRITICAL else "yellow"


def _history(one: Alarm) -> str:
    first = one.first_at.astimezone()
    text = f"since {first:%Y-%m-%d %H:%M %Z}"
    if one.is_open:
        text += f" ({ago(runtime.now() - one.first_at)})"
    if one.count > 1:
        text += f", {one.count} times"
    if one.cleared_at is not None:
        text += f"; over {one.cleared_at.astimezone():%H:%M}: {one.cleared_why}"
    if one.taken_at is not None:
        text += f"; {one.taken_by} took it {one.taken_at.astimezone():%H:%M}"
        text += f", saying: {one.note}" if one.note else ""
    elif one.is_open:
        text += f"; {_told(one)}"
    return text


def _told(one: Alarm) -> str:
    if one.told_at is None:
        return "nobody was told yet"
    at = f"{one.told_at.astimezone():%H:%M}"
    return f"told at {at}" if one.rounds == 1 else f"told {one.rounds} times, last {at}"


COMMANDS: dict[str, click.Command] = {"alarm": alarm}
