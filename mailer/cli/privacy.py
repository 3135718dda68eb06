"""``mailer subscriber export`` and ``erase``: what a person may ask of us."""

from __future__ import annotations

from typing import Any

import click

from mailer import runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.pipeline import forgetting


@click.command()
@click.argument("email")
@pass_context
def export(ctx: Context, email: str) -> None:
    """Print everything that is known of a person, as JSON.

    \b
    Example: mailer subscriber export ada@example.org > ada.json
    """

    async def step(workspace: runtime.Workspace) -> dict[str, Any]:
        return await forgetting.export(workspace.pool, email)

    show_json(ctx.run(step))


@click.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_context
def erase(ctx: Context, email: str, yes: bool, as_json: bool) -> None:
    """Forget a person for good; an import does not bring them back.

    Kept are the counters of reports, the amounts of gifts without a name, and a salted
    hash of the address.  Backups are yours to look after.

    \b
    Example: mailer subscriber erase ada@example.org --yes
    """
    if not yes:
        click.confirm(f"Forget {email} for good?", abort=True)

    async def step(workspace: runtime.Workspace) -> bool:
        return await forgetting.erase(workspace.pool, email, actor=ctx.actor)

    known = ctx.run(step)
    if as_json:
        show_json({"known": known})
        return
    click.echo("forgotten" if known else "nobody had that address; it is kept out now")
