"""``mailer run``, ``work``, ``serve``: the processes that send and that listen."""

from __future__ import annotations

import asyncio
import os

import click

from mailer import runtime
from mailer.cli.context import Context, pass_context
from mailer.runtime import running, waking
from mailer.settings import secret


@click.command()
@pass_context
def work(ctx: Context) -> None:
    """Send what is owed, as one worker process.

    Any number may run, on any number of machines over one database.  SIGTERM
    ends it: open messages are finished and settled first.

    \b
    Example: mailer work
    """

    async def step(workspace: runtime.Workspace) -> None:
        async with running.stopping() as stop:
            await running.work(workspace, stop=stop)

    ctx.run(step, is_long=True, is_brief=True)


@click.command()
@click.option("--workers", type=click.IntRange(0), help="Worker processes; one a core.")
@pass_context
def run(ctx: Context, workers: int | None) -> None:
    """Run all that one machine needs: scheduler, workers and web.

    \b
    Example: mailer run --workers 2
    """

    async def step(workspace: runtime.Workspace) -> None:
        count = workers
        if count is None:
            count = workspace.settings.workers or os.cpu_count() or 1
        await _run(workspace, workers=count)

    ctx.run(step, is_long=True)


@click.command()
@click.option(
    "--number", type=click.IntRange(1, 256), help="One of several on the same port."
)
@pass_context
def serve(ctx: Context, number: int | None) -> None:
    """Answer clicks, opens, unsubscribes and webhooks; show health and metrics.

    What comes in is on the disk before it is answered, and in the database within a
    second.  Links work while the database is away, also after a start without it.
    Started with --number 1, 2 and so on, several share the public port; the private
    port of number 2 is one higher than that in the settings.

    \b
    Example: mailer serve
    """
    from mailer.web import app  # here, because aiohttp takes 0.2 s to import

    async def step(workspace: runtime.Workspace) -> None:
        public = workspace.settings.public
        private = app.numbered(workspace.settings.private, number or 1)

        def started() -> None:
            click.echo(f"Tracking on {public.url}, health and metrics on {private.url}")

        async with running.stopping() as stop:
            await app.serve(
                workspace.settings,
                workspace.pool,
                workspace.root / ".mailer" / "spool",
                stop,
                now=runtime.now,
                number=number,
                keys=lambda: secret.ring(workspace.root, environment=os.environ),
                started=started,
            )

    ctx.run(step, needs_database=False, is_long=True)


async def _run(workspace: runtime.Workspace, *, workers: int) -> None:
    public, private = workspace.settings.public, workspace.settings.private
    for key, address in (("public", public), ("private", private)):
        running.demand_free(address.host, address.port, key=key)
    returns = workspace.settings.returns
    for name, port in returns.ports:
        running.demand_free(returns.host, port, key="bounces", name=name)
    if workspace.settings.alarms.webhook is not None:
        workspace.settings.alarms.demand_secret()  # now, not on the night
    async with running.stopping() as stop:
        supervisor = running.Supervisor(
            workspace=workspace, stop=stop, tell=lambda line: click.echo(line, err=True)
        )
        click.echo(
            f"mailer runs in {workspace.root}: {workers} "
            f"{'worker' if workers == 1 else 'workers'}, tracking on {public.url}, "
            f"reports on {private.url}/reports\n"
            "Ctrl-C ends it: open messages are finished first."
        )
        async with asyncio.TaskGroup() as parts:
            parts.create_task(running.schedule(workspace, stop=stop))
            parts.create_task(waking.wake(workspace, stop=stop))
            if returns.listens:
                parts.create_task(supervisor.keep("bounces", ["bounce", "serve"]))
            for name, command in _endpoints(workspace.settings.endpoints):
                parts.create_task(supervisor.keep(name, command))
            for number in range(1, workers + 1):
                name = f"worker {number}"
                parts.create_task(supervisor.keep(name, ["work"]))
    click.echo("Stopped; everything that was sent is settled.")


def _endpoints(count: int) -> list[tuple[str, list[str]]]:
    """Return the name and the arguments of each process that serves."""
    if count == 1:  # alone, it notices who else has its port
        return [("web", ["serve"])]
    return [
        (f"web {number}", ["serve", "--number", str(number)])
        for number in range(1, count + 1)
    ]


COMMANDS: dict[str, click.Command] = {"run": run, "work": work, "serve": serve}
