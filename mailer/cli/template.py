"""``mailer template``: what there is, whether it is right, how it looks."""

from __future__ import annotations

import asyncio
import tempfile
import webbrowser
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from mailer import errors, settings
from mailer.cli import context
from mailer.pipeline import templating


@click.group()
def template() -> None:
    """See, check and preview templates.

    \b
    Example: mailer template preview appeal --open
    """


@template.command("list")
@context.json_option
@context.pass_context
def list_(ctx: context.Context, as_json: bool) -> None:
    """List the templates of the workspace.

    \b
    Example: mailer template list
    """
    found = templating.listed(ctx.root.resolve())
    if as_json:
        context.show_json(found)
        return
    table = Table("template", "describes", "subject", box=None, pad_edge=False)
    for one in found:
        table.add_row(one.name, one.problem or one.describes, one.subject)
    Console().print(table)


@template.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@context.json_option
@context.pass_context
def check(ctx: context.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Check templates, all if none is named; exit 1 when one can't be sent.

    \b
    Example: mailer template check appeal deadline
    """
    root = ctx.root.resolve()
    found = asyncio.run(templating.check(root, settings.load(root), names=names))
    if as_json:
        context.show_json(found)
    else:
        for one in found:
            _show(one)
    if not all(one.is_right for one in found):
        click.get_current_context().exit(1)


def _show(checked: templating.Checked) -> None:
    if not checked.problems:
        click.echo(f"{click.style('right', fg='green')}    {checked.name}")
    for problem in checked.problems:
        colour = "red" if problem.severity is errors.Severity.ERROR else "yellow"
        click.echo(f"{click.style(f'{problem.severity:<8}', fg=colour)} {problem}")


@template.command()
@click.argument("name")
@click.option("--as", "email", metavar="EMAIL", help="A subscriber, not the sample.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the HTML to this file.",
)
@click.option("--text", "as_text", is_flag=True, help="Show the text part.")
@click.option("--open", "is_opened", is_flag=True, help="Open it in a browser.")
@context.json_option
@context.pass_context
def preview(
    ctx: context.Context,
    name: str,
    email: str | None,
    out: Path | None,
    as_text: bool,
    is_opened: bool,
    as_json: bool,
) -> None:
    """Render the template NAME for one person, with links that lead where they say.

    \b
    Example: mailer template preview appeal --out appeal.html
    """
    root = ctx.root.resolve()
    person = (
        ctx.run(lambda w: templating.real(w.pool, email=email))
        if email
        else templating.fictional()
    )
    shown = asyncio.run(
        templating.preview(root, settings.load(root), name=name, person=person)
    )
    if is_opened and out is None:
        out = Path(tempfile.mkdtemp(prefix="mailer-")) / f"{name}.html"
    if out is not None:
        # ASCII but for merged values, as it goes on the wire.
        out.write_bytes(shown.html.encode("ascii", "xmlcharrefreplace"))
    if is_opened and out is not None:
        webbrowser.open(out.resolve().as_uri())
    if as_json:
        context.show_json(shown)
    elif as_text:
        click.echo(shown.text, nl=False)
    else:
        _describe(shown, out)


def _describe(shown: templating.Preview, out: Path | None) -> None:
    click.echo(f"to         {shown.person}")
    click.echo(f"subject    {shown.subject}")
    click.echo(f"preheader  {shown.preheader}")
    click.echo(f"size       {len(shown.html) / 1024:.0f} KB of HTML")
    for link in shown.links:
        click.echo(f"link {link.index:<5} {link.url}")
    if out is not None:
        click.echo(f"written    {out}")


COMMANDS: dict[str, click.Command] = {"template": template}
