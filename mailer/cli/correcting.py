"""``mailer blast link``: what leads elsewhere after a message was sent."""

from __future__ import annotations

import click

from mailer import runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.pipeline import correcting


@click.command()
@click.argument("name")
@click.argument("number", type=int, required=False)
@click.option("--to", metavar="URL", help="Where the link shall lead from now on.")
@json_option
@pass_context
def link(
    ctx: Context, name: str, number: int | None, to: str | None, as_json: bool
) -> None:
    """List the links of a blast, or lead one elsewhere, also in mail that is out.

    It is written into the audit, and in force everywhere within seconds.

    \b
    Example: mailer blast link eoq-final-hours 3 --to https://example.org/donate
    """
    if (number is None) != (to is None):
        raise click.UsageError("name the link by its number, and --to where it leads")

    async def step(workspace: runtime.Workspace) -> object:
        if number is None or to is None:
            return await correcting.listed(workspace.pool, name)
        return await correcting.correct(
            workspace.pool, name, link=number, to=to, actor=ctx.actor
        )

    found = ctx.run(step)
    if as_json:
        show_json(found)
    elif isinstance(found, correcting.Corrected):
        click.echo(f"{name}: link {number} led to {found.before}")
        click.echo(f"{' ' * len(name)}  and now leads to {found.after}")
    elif isinstance(found, dict):
        for index, url in sorted(found.items()):
            click.echo(f"{index:4}  {url}")
