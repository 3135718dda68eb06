"""``mailer visitors``: what the made-up people of a demo or rehearsal do."""

from __future__ import annotations

from pathlib import Path

import click

from mailer import runtime
from mailer.cli.context import Context, pass_context
from mailer.cli.looking import desk


@click.command()
@click.argument("name")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="What `mailer sink --record FILE --links` wrote.",
)
@pass_context
def visitors(ctx: Context, name: str, record: Path) -> None:
    """Play the people who got a blast from `mailer sink`: open, click, leave, give.

    Real HTTP requests to the tracking address, by the agents that really come;
    a fifth of them are machines.

    \b
    Example: mailer visitors demo --record arrived.jsonl
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from mailer.pipeline import scheduling
    from mailer.web import visiting

    async def step(workspace: runtime.Workspace) -> visiting.Tally:
        found, _ = await scheduling.get(desk(ctx, workspace), name)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task("")

            def tell(tally: visiting.Tally) -> None:
                if tally.requests % 50 == 0:
                    text = f"{tally.messages:,} messages, {tally.requests:,} requests"
                    progress.update(task, description=text)

            return await visiting.visit(
                record,
                blast=found.id,
                hooks=workspace.settings.public.url,
                metrics=workspace.settings.private.url,
                actblue=workspace.settings.actblue,
                now=runtime.now,
                tell=tell,
            )

    tally = ctx.run(step)
    for deed, count in sorted(tally.deeds.items()):
        click.echo(f"{count:>8,} {deed.value}")
    click.echo(f"{tally.requests:>8,} requests for {tally.messages:,} messages")


COMMANDS: dict[str, click.Command] = {"visitors": visitors}
