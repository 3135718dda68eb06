"""Who must not be mailed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailer import runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.core import sheet
from mailer.core.suppression import Reason, Suppression
from mailer.pipeline import suppressing

if TYPE_CHECKING:
    from collections.abc import Callable

topic_option = click.option(
    "--topic", metavar="NAME", help="Only on this topic; otherwise on every one."
)


def reason_option(default: Reason | None) -> Callable[..., Callable[..., object]]:
    """Return the option that says why."""
    return click.option(
        "--reason",
        type=click.Choice([reason.value for reason in Reason]),
        default=default.value if default else None,
        show_default=default is not None,
        help="Why.",
    )


@click.group()
def suppress() -> None:
    """Say who must not be mailed.

    \b
    Example: mailer suppress add ada@example.org --note "asked by phone"
    """


@suppress.command()
@click.argument("address")
@topic_option
@reason_option(Reason.MANUAL)
@click.option("--note", help="What happened, for whoever asks.")
@json_option
@pass_context
def add(
    ctx: Context,
    *,
    address: str,
    topic: str | None,
    reason: str,
    note: str | None,
    as_json: bool,
) -> None:
    """Suppress ADDRESS, or a whole @domain.

    Takes effect within seconds, also in a blast that is going out.

    \b
    Example: mailer suppress add @example.org --topic fundraising --note "by letter"
    """
    scope = suppressing.Scope(reason=Reason(reason), topic=topic, note=note)

    async def step(workspace: runtime.Workspace) -> suppressing.Changed:
        return await suppressing.add(
            workspace.pool, address, scope=scope, actor=ctx.actor
        )

    found = ctx.run(step)
    if as_json:
        show_json(found)
        return
    was = "suppressed" if found.changed else "was suppressed already"
    click.echo(f"{found.entry.address} {was}: {_scope(found.entry)}")


@suppress.command()
@click.argument("address")
@topic_option
@click.option(
    "--confirmed",
    metavar="WHERE",
    help="Where the person said that they want our mail again.",
)
@json_option
@pass_context
def remove(
    ctx: Context,
    *,
    address: str,
    topic: str | None,
    confirmed: str | None,
    as_json: bool,
) -> None:
    """Lift the suppression of ADDRESS.

    An unsubscribe or a complaint is lifted by the person only: say where they did.

    \b
    Example: mailer suppress remove ada@example.org --confirmed "web form, 12 May"
    """

    async def step(workspace: runtime.Workspace) -> Suppression:
        return await suppressing.remove(
            workspace.pool,
            address,
            topic=topic,
            actor=ctx.actor,
            confirmed=confirmed,
        )

    entry = ctx.run(step)
    if as_json:
        show_json(entry)
        return
    click.echo(f"{entry.address} may be mailed again; it was {_scope(entry)}")


@suppress.command("list")
@click.argument("search", required=False)
@reason_option(None)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@pass_context
def list_command(
    ctx: Context,
    *,
    search: str | None,
    reason: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List suppressions, the newest first, if their address or note holds SEARCH.

    \b
    Example: mailer suppress list example.org --reason complaint
    """

    async def step(workspace: runtime.Workspace) -> suppressing.Listing:
        return await suppressing.listing(
            workspace.pool,
            search=search,
            reason=Reason(reason) if reason else None,
            limit=limit,
        )

    found = ctx.run(step)
    if as_json:
        show_json(found)
        return
    table = Table(box=None, header_style="bold")
    for name in ("address", "topic", "reason", "since", "source", "note"):
        table.add_column(name, overflow="fold")
    for entry in found.entries:
        table.add_row(
            escape(entry.address),
            escape(entry.topic or "every"),
            entry.reason.value,
            f"{entry.created_at:%Y-%m-%d}",
            escape(entry.source),
            escape(entry.note or ""),
        )
    Console().print(table)
    click.echo(f"{len(found.entries):,} of {found.total:,}")


@suppress.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@topic_option
@reason_option(Reason.IMPORT)
@click.option("--note", help="Where the list is from.")
@click.option(
    "--encoding",
    type=click.Choice(sheet.ENCODINGS),
    default="utf-8",
    show_default=True,
    help="Of the file.",
)
@json_option
@pass_context
def import_command(
    ctx: Context,
    *,
    file: Path,
    topic: str | None,
    reason: str,
    note: str | None,
    encoding: str,
    as_json: bool,
) -> None:
    """Suppress every address and @domain of a CSV file, known to us or not.

    A file of addresses alone needs no header; columns reason, topic, note and
    expires_at are used where they are.  Nothing is ever lifted.  Refused rows are
    written beside the file: those of left.csv as left.refused.csv.

    \b
    Example: mailer suppress import unsubscribed.csv --reason unsubscribe
    """
    scope = suppressing.Scope(reason=Reason(reason), topic=topic, note=note)

    async def step(workspace: runtime.Workspace) -> suppressing.Imported:
        return await suppressing.import_csv(
            workspace.pool, file, actor=ctx.actor, scope=scope, encoding=encoding
        )

    found = ctx.run(step)
    if as_json:
        show_json(found)
        return
    click.echo(f"{found.rows:,} rows of {found.file}")
    for count, word in (
        (found.added, "suppressed"),
        (found.strengthened, "given a stronger reason"),
        (found.known, "suppressed already"),
        (found.refused, "refused"),
    ):
        if count:
            click.echo(f"  {count:>10,} {word}")
    for refusal in found.samples:
        click.echo(f"    line {refusal.line}: {refusal.value!r}: {refusal.reason}")
    if found.refused_file:
        click.echo(f"All refused rows: {found.refused_file}")


@suppress.command()
@click.option(
    "-o",
    "--output",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="A file; otherwise the terminal.",
)
@pass_context
def export(ctx: Context, *, output: TextIO) -> None:
    """Write every suppression as CSV, without formulas for spreadsheets.

    \b
    Example: mailer suppress export -o suppressed.csv
    """

    async def step(workspace: runtime.Workspace) -> int:
        return await suppressing.export(workspace.pool, output.write, actor=ctx.actor)

    count = ctx.run(step)
    click.echo(f"{count:,} suppressions", err=True)


def _scope(entry: Suppression) -> str:
    scope = f"on {entry.topic}" if entry.topic else "on every topic"
    return f"{scope}, by {entry.reason}"


COMMANDS: dict[str, click.Command] = {"suppress": suppress}
