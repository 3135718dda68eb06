"""``mailer segment``: who is in a segment, and why."""

from __future__ import annotations

from pathlib import Path

import click

from mailer.cli import context
from mailer.pipeline import segmenting


@click.group()
def segment() -> None:
    """See who is in a segment, and what it means.

    \b
    Example: mailer segment count active-donors
    """


@segment.command("list")
@context.json_option
@context.pass_context
def list_(ctx: context.Context, as_json: bool) -> None:
    """List the segments of the workspace.

    \b
    Example: mailer segment list
    """
    found = segmenting.listed(ctx.root)
    if as_json:
        context.show_json(found)
        return
    width = max(len(one.name) for one in found)
    for one in found:
        click.echo(f"{one.name:<{width}}  {one.describes}")


@segment.command()
@click.argument("name")
@context.json_option
@context.pass_context
def count(ctx: context.Context, name: str, as_json: bool) -> None:
    """Count the people of a segment, by provider.

    Mailable are those whom no suppression of every topic forbids.

    \b
    Example: mailer segment count active-donors
    """
    found = ctx.run(lambda w: segmenting.count(w.pool, root=_root(ctx), name=name))
    if as_json:
        context.show_json(found)
    else:
        _show_count(found)


@segment.command()
@click.argument("name")
@click.option(
    "-n", "--size", default=10, type=click.IntRange(1, 1000), help="How many."
)
@click.option(
    "--seed", type=context.SEED, default=0, help="Another number shows other people."
)
@context.json_option
@context.pass_context
def sample(
    ctx: context.Context, name: str, size: int, seed: int, as_json: bool
) -> None:
    """Show some people of a segment.

    \b
    Example: mailer segment sample lapsed-donors --size 5
    """
    found = ctx.run(
        lambda w: segmenting.sample(
            w.pool, root=_root(ctx), name=name, size=size, seed=seed
        )
    )
    if as_json:
        context.show_json(found)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for head in ("Email", "Name", "State", "Provider"):
        table.add_column(head)
    for head in ("Gifts", "Given", "Latest gift"):
        table.add_column(head, justify="right")
    for one in found:
        table.add_row(
            one.email,
            " ".join(part for part in (one.first_name, one.last_name) if part),
            one.state or "",
            one.provider,
            str(one.gifts),
            f"{one.given:,}",
            f"{one.latest_at:%Y-%m-%d}" if one.latest_at else "never",
        )
    Console().print(table)


@segment.command()
@click.argument("name")
@context.json_option
@context.pass_context
def explain(ctx: context.Context, name: str, as_json: bool) -> None:
    """Say what a segment means: as a sentence, as SQL, and in numbers.

    \b
    Example: mailer segment explain lapsed-donors
    """
    found = ctx.run(lambda w: segmenting.explain(w.pool, root=_root(ctx), name=name))
    if as_json:
        context.show_json(found)
        return
    click.echo(f"{found.describes}.\n{found.sentence}\n")
    click.echo(f"{found.sql}\n")
    for number, value in enumerate(found.parameters, 1):
        click.echo(f"${number}  {value}")
    click.echo()
    _show_count(found.counted)


def _root(ctx: context.Context) -> Path:
    return ctx.root.resolve()


def _show_count(found: segmenting.Counted) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("Provider", "all")
    table.add_column("People", f"{found.total:,}", justify="right")
    table.add_column("Mailable", f"{found.mailable:,}", justify="right")
    for one in found.providers:
        table.add_row(one.provider, f"{one.total:,}", f"{one.mailable:,}")
    Console().print(table)


COMMANDS: dict[str, click.Command] = {"segment": segment}
