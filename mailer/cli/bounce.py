"""``mailer bounce``: what comes back by mail."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailer import errors, runtime, settings
from mailer.cli.context import (
    LIMIT,
    NUMBER,
    Context,
    json_option,
    pass_context,
    show_json,
)
from mailer.pipeline import receiving, recording, returning, reviewing
from mailer.pipeline.reviewing import Review, Verdict
from mailer.runtime import returning as wiring
from mailer.runtime import running

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: a mail server keeps the message and retries
LONGEST = 50 * 1024 * 1024  # bytes of a message on standard input

to_option = click.option(
    "--to", metavar="ADDRESS", help="Where it came to, if its fields do not say so."
)


@click.group()
def bounce() -> None:
    """Read bounces and complaints, and look at those that nobody could read.

    \b
    Example: mailer bounce explain message.eml
    """


@bounce.command()
@pass_context
def serve(ctx: Context) -> None:
    """Take bounces by SMTP and LMTP, and from a Maildir, as [bounces] says.

    `mailer run` does this, too.  A message is answered once it is on the disk.

    \b
    Example: mailer bounce serve
    """

    async def step(workspace: runtime.Workspace) -> None:
        async with running.stopping() as stop:
            await wiring.serve(workspace, stop=stop, started=click.echo)

    ctx.run(step, needs_database=False, is_long=True)


@bounce.command()
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@to_option
@click.option("--keep", is_flag=True, help="Leave the messages where they are.")
@json_option
@pass_context
def read(
    ctx: Context, path: Path, *, to: str | None, keep: bool, as_json: bool
) -> None:
    """Read every message of PATH: a Maildir, an mbox, a message, or - for one.

    Messages of a Maildir or an mbox are removed, each once it is on the disk.

    \b
    Example: mailer bounce read /var/mail/bounces
    """
    raw = _stdin() if str(path) == "-" else None

    async def step(workspace: runtime.Workspace) -> dict[str, int]:
        with receiving.opened(wiring.spool(workspace)) as inbox:
            reader = wiring.reader(workspace, inbox)
            if raw is not None:
                await reader.take(raw, to or "")
            else:
                await returning.empty(reader, path, remove=not keep)
        # Else `mailer serve`, or the next one, loads what is on the disk.
        with suppress(errors.Conflict, errors.Unavailable):
            await recording.drain(
                workspace.pool,
                wiring.spool(workspace),
                patience=workspace.settings.returns.patience,
            )
        return dict(reader.read)

    try:
        found = ctx.run(step, needs_database=False)
    except (errors.Unavailable, OSError):
        if raw is None:
            raise
        click.echo("mailer: cannot be kept now, try again", err=True)
        sys.exit(TRY_AGAIN)
    if as_json:
        show_json({"messages": sum(found.values()), "read": found})
        return
    rest = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.items()))
    click.echo(f"{sum(found.values()):,} read" + (f": {rest}" if rest else ""))


@bounce.command()
@click.argument("file", type=click.File("rb"))
@to_option
@json_option
@pass_context
def explain(ctx: Context, file: BinaryIO, *, to: str | None, as_json: bool) -> None:
    """Say what the reader makes of a message, and what would follow.  Changes nothing.

    \b
    Example: mailer bounce explain message.eml
    """
    raw = file.read(LONGEST)
    ring = settings.load(ctx.root).keys
    found = returning.explain(ring, raw, to=[to] if to else [])
    if as_json:
        names = {"class_": "class"}
        show_json(
            {
                names.get(name, name): getattr(found, name)
                for name in found.__dataclass_fields__
            }
        )
        return
    _show(
        [
            ("kind", found.kind),
            ("class", found.class_ or ""),
            ("action", found.action),
            ("status", found.status),
            ("recipient", found.recipient),
            ("said", found.diagnostic),
            ("by", found.remote or found.reporter),
            *(("because" if not at else "", text) for at, text in
              enumerate(found.evidence)),
        ]
    )  # fmt: skip


# ── What nobody could read ──────────────────────────────────────────────────


@bounce.group()
def review() -> None:
    """Look at messages that nobody could read, and say what they were.

    \b
    Example: mailer bounce review list
    """


@review.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are settled, too.")
@click.option("--limit", default=50, type=LIMIT, help="So many at most.")
@json_option
@pass_context
def list_(ctx: Context, *, everything: bool, limit: int, as_json: bool) -> None:
    """List what waits for a person, the newest first.

    \b
    Example: mailer bounce review list --all
    """

    async def step(workspace: runtime.Workspace) -> reviewing.Listed:
        return await reviewing.listed(workspace.pool, everything=everything, size=limit)

    found = ctx.run(step)
    if as_json:
        show_json(
            {"waiting": found.waiting, "messages": [_plain(one) for one in found.found]}
        )
        return
    click.echo(f"{found.waiting:,} wait for a person")
    if not found.found:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("no.", "received", "from", "subject", "why"):
        table.add_column(name, overflow="fold")
    for one in found.found:
        done = f"{one.settled_as} ({one.settled_by}): " if one.settled_as else ""
        at = f"{one.at.astimezone():%Y-%m-%d %H:%M}"
        cells = (str(one.number), at, one.sender, one.subject, f"{done}{one.why}")
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)


@review.command()
@click.argument("number", type=NUMBER)
@click.option("--raw", is_flag=True, help="The message itself, to a file or a program.")
@json_option
@pass_context
def show(ctx: Context, number: int, *, raw: bool, as_json: bool) -> None:
    """Show a message: why it is here, and its text.

    \b
    Example: mailer bounce review show 7
    """

    async def step(workspace: runtime.Workspace) -> Review:
        return await reviewing.show(workspace.pool, number)

    found = ctx.run(step)
    if raw:
        click.echo(found.raw, nl=False)
        return
    text = found.raw.decode("utf-8", "replace")
    if as_json:
        show_json({**_plain(found), "text": text})
        return
    _show(
        [
            ("number", str(found.number)),
            ("why", found.why),
            ("to", found.recipient),
            ("from", found.sender),
            ("subject", found.subject),
            ("settled", f"{found.settled_as} by {found.settled_by}"
             if found.settled_as else ""),
        ]
    )  # fmt: skip
    click.echo()
    # What would steer a terminal is a stranger's: it is shown as a space.
    click.echo("\n".join(_harmless(line) for line in text.splitlines()[:200]))


@review.command()
@click.argument("number", type=NUMBER)
@click.option(
    "--as",
    "verdict",
    type=click.Choice([one.value for one in Verdict]),
    required=True,
    help="What it was.",
)
@click.option("--address", help="Suppress this address for it.")
@click.option("--note", help="What happened, for whoever asks.")
@pass_context
def settle(
    ctx: Context, number: int, *, verdict: str, address: str | None, note: str | None
) -> None:
    """Say what a message was, and suppress an address for it if you name one.

    \b
    Example: mailer bounce review settle 7 --as bounce --address ada@example.org
    """

    async def step(workspace: runtime.Workspace) -> None:
        await reviewing.settle(
            workspace.pool,
            number,
            Verdict(verdict),
            address=address,
            actor=ctx.actor,
            note=note,
        )

    ctx.run(step)
    click.echo(f"message {number} was settled as {verdict}")


def _plain(one: Review) -> dict[str, object]:
    names = [name for name in one.__dataclass_fields__ if name != "raw"]
    return {name: getattr(one, name) for name in names}


def _show(rows: Sequence[tuple[str, str]]) -> None:
    for name, text in rows:
        if text:
            click.echo(f"{name:10} {_harmless(text)}")


def _harmless(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _stdin() -> bytes:
    raw = sys.stdin.buffer.read(LONGEST)
    if not raw:
        raise errors.Invalid("standard input: there is no message")
    return raw


COMMANDS: dict[str, click.Command] = {"bounce": bounce}
