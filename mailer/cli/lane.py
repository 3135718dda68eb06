"""What a person does about one lane: release it, halt it, read how it came to stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from mailer import runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.core.provider import Rate
from mailer.pipeline import releasing

why_option = click.option("--why", help="For the audit and the alarm.")


@click.command()
@click.argument("lane")
@why_option
@json_option
@pass_context
def release(ctx: Context, *, lane: str, why: str | None, as_json: bool) -> None:
    """Open a lane that is halted or suspended: a message now and then, then more.

    LANE is a provider and a source, as `mailer provider lanes` shows them.  Repair
    first what the provider refuses: mailer doctor.

    \b
    Example: mailer provider release google/relay --why "DKIM key published"
    """

    async def step(workspace: runtime.Workspace) -> releasing.Lane:
        return await releasing.release(workspace.pool, lane, actor=ctx.actor, why=why)

    _say(ctx.run(step), as_json=as_json)


@click.command()
@click.argument("lane")
@click.option("--why", required=True, help="For the audit, and for who looks.")
@json_option
@pass_context
def halt(ctx: Context, *, lane: str, why: str, as_json: bool) -> None:
    """Close a lane until it is released: nothing starts on it within a second.

    \b
    Example: mailer provider halt yahoo/relay --why "complaints, we look at the list"
    """

    async def step(workspace: runtime.Workspace) -> releasing.Lane:
        return await releasing.halt(workspace.pool, lane, actor=ctx.actor, why=why)

    _say(ctx.run(step), as_json=as_json)


def _say(found: releasing.Lane, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    click.echo(f"{found.provider}/{found.source} is {found.mode.replace('_', ' ')}")


@click.command()
@click.argument("name", required=False)
@click.option("--source", metavar="NAME", help="Only the lanes of this source.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@pass_context
def history(
    ctx: Context, *, name: str | None, source: str | None, limit: int, as_json: bool
) -> None:
    """Show the steps of the lanes, the newest first, and the reply that caused each.

    With NAME, only those of one provider.

    \b
    Example: mailer provider history google
    """

    async def step(workspace: runtime.Workspace) -> Sequence[releasing.Step]:
        return await releasing.history(
            workspace.pool, provider=name, source=source, limit=limit
        )

    found = ctx.run(step)
    if as_json:
        show_json([_plain(one) for one in found])
        return
    if not found:
        click.echo("No lane has changed yet.")
    for one in found:
        click.echo(_line(one))


def _line(one: releasing.Step) -> str:
    step = one.transition
    words = [
        f"{step.at.astimezone():%Y-%m-%d %H:%M:%S} {one.provider}/{one.source}",
        f"{step.cause.value}: {step.before.value.replace('_', ' ')}",
    ]
    if step.after is not step.before:
        words.append(f"-> {step.after.value.replace('_', ' ')}")
    if step.until is not None:
        words.append(f"until {step.until.astimezone():%H:%M:%S}")
    rates = dict.fromkeys(str(Rate(rate)) for rate in step.rate)
    connections = dict.fromkeys(str(count) for count in step.connections)
    words.append(f"{' -> '.join(rates)}, {' -> '.join(connections)} connections")
    return " ".join(words) + (f": {step.reply}" if step.reply else "")


def _plain(one: releasing.Step) -> dict[str, object]:
    """Return a step as JSON can hold it: an unlimited rate is null."""
    step = one.transition
    before, after = (None if math.isinf(rate) else rate for rate in step.rate)
    return {
        "provider": one.provider,
        "source": one.source,
        "at": step.at,
        "cause": step.cause,
        "before": step.before,
        "after": step.after,
        "rate_before": before,
        "rate_after": after,
        "connections_before": step.connections[0],
        "connections_after": step.connections[1],
        "until": step.until,
        "reply": step.reply,
    }
