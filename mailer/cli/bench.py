"""``mailer bench``: measure the figures that the project promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from mailer import errors

FOLDER = Path(__file__).parents[2] / "bench"


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("figure", required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def bench(ctx: click.Context, figure: str | None, options: tuple[str, ...]) -> None:
    """Measure a figure on this machine.

    \b
    sending    CPU of a message over its floor, and against the obvious way
    sharing    CPU of a message sent by two workers, against one
    memory     of a worker with few recipients and with millions
    launching  a blast, against a bare INSERT of the same rows
    importing  a CSV file, against a bare COPY of the same rows
    tracking   clicks, against an aiohttp handler that returns a constant
    loading    events from the spool, against a bare COPY; and once more
    whole      a blast sent to the end, counted by the receiver
    lanes      the controller against limits that change, in virtual time
    throttling CPU of a message on a lane that is throttled, against one that is not
    holding    a lane that several workers share, while one of them is killed

    Each is set beside something simpler in the same run; the exit status says
    whether the target was reached.  bench/README.md says what they mean, and
    `mailer bench sending --help` what can be asked.  The scripts are in the
    repository, not in what pip installs.

    \b
    Example: mailer bench sending --messages 20000 --signed
    """
    if figure is None or figure == "--help":
        click.echo(ctx.get_help())
        return
    if not FOLDER.is_dir():
        message = (
            f"{FOLDER} is not there: the bench is in the repository, not in what pip "
            "installs; run this from a clone"
        )
        raise errors.NotFound(message)
    known = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    if figure not in known:
        raise click.UsageError(f"there is no bench {figure}: {', '.join(known)}")
    script = [sys.executable, str(FOLDER / f"{figure}.py"), *options]
    ctx.exit(subprocess.run(script, check=False).returncode)  # noqa: S603 -- ours


COMMANDS: dict[str, click.Command] = {"bench": bench}
