"""``mailer event``: what came back, and whether people or machines did it."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from mailer import runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.pipeline import relabelling


@click.group()
def event() -> None:
    """Look after what came back: opens and clicks.

    \b
    Example: mailer event relabel --blast eoq-final-hours
    """


@event.command()
@click.option("--blast", metavar="NAME", help="Only of this blast.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), help="Only from this day on, in UTC."
)
@json_option
@pass_context
def relabel(
    ctx: Context, blast: str | None, since: datetime | None, as_json: bool
) -> None:
    """Tell people from machines again, by the rules of this release.

    Reports follow at once.  Raw events that were removed keep the label they had.

    \b
    Example: mailer event relabel --since 2026-10-01
    """
    begin = since.replace(tzinfo=UTC) if since else None

    async def step(workspace: runtime.Workspace) -> tuple[int, int]:
        return await relabelling.relabel(workspace.pool, name=blast, since=begin)

    looked, changed = ctx.run(step)
    if as_json:
        show_json({"events": looked, "people": changed})
        return
    click.echo(f"{looked:,} events, {changed:,} people are counted otherwise now")


COMMANDS: dict[str, click.Command] = {"event": event}
