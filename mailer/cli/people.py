"""Bring people in, and show what is known about one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mailer import runtime
from mailer.cli import privacy
from mailer.cli.context import Context, json_option, pass_context, plain, show_json
from mailer.core import exchange, sheet

if TYPE_CHECKING:
    from mailer.pipeline import importing


def _columns(
    _ctx: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """Read ``Column=field``, as often as it was given."""
    found = {}
    for text in given:
        column, equals, field = text.rpartition("=")
        if not equals or not column or not field:
            raise click.BadParameter(f'"{text}": write "Column=field"')
        found[column] = field
    return found


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="COLUMN=FIELD",
    callback=_columns,
    help='What a column means; "Column=-" leaves it out.',
)
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@click.option(
    "--encoding",
    type=click.Choice(sheet.ENCODINGS),
    default="utf-8",
    show_default=True,
    help="Of the file; old spreadsheets write cp1252.",
)
@json_option
@pass_context
def import_command(
    ctx: Context,
    *,
    file: Path,
    columns: dict[str, str],
    dry_run: bool,
    encoding: str,
    as_json: bool,
) -> None:
    """Import people from a CSV file.

    Columns are known by their names (email, first_name, zip, highest_gift …) and
    common synonyms; others become attributes.  People are told apart by address;
    an empty cell erases nothing, a suppression is never lifted.  Refused rows are
    written beside the file: those of people.csv as people.refused.csv.

    \b
    Example: mailer import people.csv --map "Donor Since=signed_up_at" --dry-run
    """
    from mailer.pipeline import importing

    async def step(workspace: runtime.Workspace) -> importing.Imported:
        options = importing.Options(
            encoding=encoding,
            columns=columns,
            hints=exchange.hints(workspace.settings.providers),
            dry_run=dry_run,
        )
        with _Bar(file) as bar:
            return await importing.import_csv(
                workspace.pool,
                file,
                actor=ctx.actor,
                options=options,
                progress=bar.show,
            )

    try:
        found = ctx.run(step)
    except KeyboardInterrupt:
        message = "Stopped: what was read so far is in."
        if dry_run:
            message = "Stopped: nothing was changed."
        click.echo(f"{message}  Run the same command again for the rest.", err=True)
        raise SystemExit(1) from None
    if as_json:
        show_json(found)
    else:
        _show_import(found)
    if found.rows and found.refused == found.rows:
        raise SystemExit(1)


class _Bar:
    """A progress bar with rate and time left, where there is a terminal."""

    def __init__(self, file: Path) -> None:
        self._bar = Progress(
            TextColumn(sheet.label(file.name)),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.disable = not self._bar.console.is_terminal
        self._task = self._bar.add_task("", total=None, rows=0, rate=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: importing.Progress) -> None:
        """Draw how far the import is."""
        elapsed = self._bar.tasks[0].elapsed or 0
        self._bar.update(
            self._task,
            total=progress.bytes_all,
            completed=progress.bytes_read,
            rows=progress.rows,
            rate=progress.rows / elapsed if elapsed else 0.0,
        )


def _show_import(found: importing.Imported) -> None:
    """Print what became of the rows, and the first refused ones."""
    known = [header for header, meaning in found.columns.items() if header == meaning]
    if known:
        click.echo(f"Columns: {', '.join(known)}")
    for header, meaning in found.columns.items():
        if header != meaning:
            click.echo(f"  {header} → {meaning}")
    would = "would be " if found.dry_run else ""
    click.echo(f"{found.rows:,} rows of {found.file}")
    for count, word in (
        (found.created, "created"),
        (found.updated, "updated"),
        (found.unchanged, "left as they are"),
        (found.duplicates, "joined with a row of the same address"),
        (found.refused, "refused"),
    ):
        if count:
            click.echo(f"  {count:>10,} {would}{word}")
    for refusal in found.samples:
        click.echo(f"    line {refusal.line}: {refusal.value!r}: {refusal.reason}")
    if found.refused_file:
        click.echo(f"All refused rows: {found.refused_file}")
    if found.dry_run:
        click.echo("Nothing was changed: this was a dry run.")


@click.group()
def subscriber() -> None:
    """Look people up.

    \b
    Example: mailer subscriber show ada@example.org
    """


@subscriber.command()
@click.argument("email")
@json_option
@pass_context
def show(ctx: Context, *, email: str, as_json: bool) -> None:
    """Show all that is known about EMAIL.

    \b
    Example: mailer subscriber show ada@example.org --json
    """
    from mailer.pipeline import looking

    async def step(workspace: runtime.Workspace) -> looking.Known:
        return await looking.person(workspace.pool, email)

    known = ctx.run(step)
    if as_json:
        show_json(known)
        return
    person = plain(known.subscriber)
    giving, attributes = person.pop("giving"), person.pop("attributes")
    table = Table(show_header=False, box=None)
    for name, value in (
        *person.items(),
        *attributes.items(),
        *((f"gifts: {name}", value) for name, value in giving.items()),
    ):
        if value is not None:
            table.add_row(name, escape(str(value)))
    for entry in known.suppressions:
        scope = f"topic {entry.topic}" if entry.topic else "everything"
        told = f"{scope}, {entry.reason}, since {entry.created_at:%Y-%m-%d}"
        table.add_row("suppressed", f"{escape(entry.address)}: {escape(told)}")
    for name, count in known.history.items():
        table.add_row(name, str(count))
    Console().print(table)


for _command in (privacy.export, privacy.erase):
    subscriber.add_command(_command)

COMMANDS: dict[str, click.Command] = {
    "import": import_command,
    "subscriber": subscriber,
}
