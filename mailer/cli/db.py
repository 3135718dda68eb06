"""``mailer db``: the schema, backups, and a way in."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import click
from rich import filesize

from mailer.cli.context import Context, json_option, pass_context, show_json


@click.group()
def db() -> None:
    """Look after the database.

    \b
    Example: mailer db status
    """


@db.command()
@json_option
@pass_context
def status(ctx: Context, as_json: bool) -> None:
    """Show the server, the size and the schema.

    \b
    Example: mailer db status --json
    """
    from mailer.pipeline import maintaining

    found = ctx.reach(maintaining.status)
    if as_json:
        show_json(found)
        return
    click.echo(f"server     PostgreSQL {found.server}")
    click.echo(f"database   {found.name}, {_size(found.size_bytes)}")
    click.echo(f"processes  {found.processes} at work")
    for step in found.migrations:
        when = f"{step.applied_at:%Y-%m-%d %H:%M}" if step.applied_at else "pending"
        note = "  (breaking)" if step.breaking else ""
        click.echo(f"schema     {step.number:04} {step.name}  {when}{note}")


@db.command()
@pass_context
def migrate(ctx: Context) -> None:
    """Bring the schema to this release; every other command does so too.

    \b
    Example: mailer db migrate
    """
    from mailer.pipeline import maintaining

    done = ctx.reach(maintaining.upgrade)
    for step in done:
        click.echo(f"applied  {step.number:04} {step.name}")
    if not done:
        click.echo("Nothing to do.")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_context
def backup(ctx: Context, file: Path) -> None:
    """Write the whole database to FILE, while everything runs on.

    The file holds what you know of people: keep it as you keep them.

    \b
    Example: mailer db backup mailer-2026-10-31.dump
    """
    from mailer.pipeline import maintaining

    started = time.monotonic()
    size = ctx.reach(lambda url: maintaining.backup(url, file))
    took = time.monotonic() - started
    click.echo(f"wrote  {file}, {_size(size)} in {took:.1f} s")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--while-running", is_flag=True, help="Even while processes work on it.")
@pass_context
def restore(ctx: Context, file: Path, yes: bool, while_running: bool) -> None:
    """Put the backup in FILE in the place of the database, whole or not at all.

    Blasts that were under way are paused: look at each before you resume it.  The
    database that was there is kept as NAME_before_restore until the next restore.

    \b
    Example: mailer db restore mailer-2026-10-31.dump
    """
    from mailer.pipeline import maintaining

    if not yes:
        click.confirm(f"Replace the database by {file}?", abort=True)
    done = ctx.reach(
        lambda url: maintaining.restore(
            url, file, actor=ctx.actor, while_running=while_running
        )
    )
    click.echo(f"restored  {file}; what was there is now {done.before}")
    if done.migrated:
        click.echo(f"migrated  {done.migrated} steps to this release")
    for name in done.paused:
        click.echo(f"paused    {name}: mailer blast resume {name}, when you are sure")


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_context
def psql(ctx: Context, arguments: tuple[str, ...]) -> None:
    """Open psql on the database.  ARGUMENTS are psql's.

    \b
    Example: mailer db psql -c 'SELECT count(*) FROM subscriber'
    """

    from mailer.pipeline import maintaining

    async def opened(url: str) -> int:
        command, secret = maintaining.psql(url)
        # Ctrl-C in psql ends a query, not psql, and not us.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, env={**os.environ, **secret}
        )
        return await process.wait()

    sys.exit(ctx.reach(opened))


def _size(size_bytes: int) -> str:
    """Return a size as people say it."""
    return filesize.decimal(size_bytes)


COMMANDS: dict[str, click.Command] = {"db": db}
