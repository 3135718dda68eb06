"""``mailer init``: make a folder a workspace."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from mailer.settings import workspace


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make FOLDER a workspace: settings, templates, segments and keys.

    In a workspace it adds what is missing; it never overwrites a file.

    \b
    Example: mailer init our-emails
    """
    made = workspace.make(folder)
    folders = Counter(
        f"{path.parts[0]}/" if len(path.parts) > 1 else str(path) for path in made.added
    )
    for name, count in folders.items():
        click.echo(f"added   {name}" + (f" ({count} files)" if count > 1 else ""))
    if not made.added:
        click.echo(f"{folder} is a workspace already; nothing was missing.")
        return
    if made.kept:
        click.echo(f"kept    {made.kept} that were there")
    go = "" if folder.resolve() == Path.cwd() else f", then cd {folder}"
    click.echo(f"\nNext: edit {folder / workspace.SETTINGS}{go}")


COMMANDS: dict[str, click.Command] = {"init": init}
