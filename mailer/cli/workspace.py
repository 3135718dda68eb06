"""``mailer init``: make a folder a workspace."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from mailer.settings import workspace

FEW = 3  # files of a folder that are named one by one


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Make FOLDER a workspace: settings, templates, segments and keys.

    In a workspace it adds what is missing; it never overwrites a file.

    \b
    Example: mailer init our-emails
    """
    made = workspace.make(folder)
    folders = Counter(path.parts[0] for path in made.added)
    for path in made.added:
        count = folders.pop(path.parts[0], None)
        if count is not None and count > FEW:
            click.echo(f"added   {path.parts[0]}/ ({count} files)")
        elif count is not None:
            for one in made.added:
                if one.parts[0] == path.parts[0]:
                    click.echo(f"added   {one}")
    if not made.added:
        click.echo(f"{folder} is a workspace already; nothing was missing.")
        return
    if made.kept:
        click.echo(f"kept    {made.kept} that were there")
    go = "" if folder.resolve() == Path.cwd() else f", then cd {folder}"
    click.echo(f"\nNext: edit {folder / workspace.SETTINGS}{go}")


COMMANDS: dict[str, click.Command] = {"init": init}
