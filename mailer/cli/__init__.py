"""The command line: parse, call one step, show."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TextIO, cast

import click
import structlog

from mailer import errors
from mailer.cli.context import Context
from mailer.core import sheet
from mailer.runtime import leash

# Command -> module of this package; loaded when used, so that a command starts fast.
COMMANDS: dict[str, str] = {
    "init": "workspace",
    "demo": "demo",
    "import": "people",
    "subscriber": "people",
    "suppress": "suppress",
    "segment": "segment",
    "template": "template",
    "blast": "blast",
    "report": "report",
    "provider": "provider",
    "bounce": "bounce",
    "alarm": "alarm",
    "run": "run",
    "work": "run",
    "serve": "run",
    "sink": "sink",
    "visitors": "visitors",
    "event": "event",
    "keys": "keys",
    "doctor": "doctor",
    "db": "db",
    "bench": "bench",
}


class Commands(click.Group):
    """The commands, each loaded from its module when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the path."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command, or None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"mailer.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.COMMANDS[cmd_name]
        return command


@click.command(cls=Commands)
@click.option(
    "-C",
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="MAILER_WORKSPACE",
    default=Path(),
    help="The workspace folder, if not this one.",
)
@click.option("--as", "actor", metavar="NAME", help="Who acts, for the audit.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--leashed", is_flag=True, hidden=True)
@click.version_option(package_name="mailer")
@click.pass_context
def commands(
    ctx: click.Context, workspace: Path, actor: str | None, debug: bool, leashed: bool
) -> None:
    """Run the email operation of a political or advocacy team.

    Example: mailer demo
    """
    if leashed:
        leash.follow()
    ctx.obj = Context(root=workspace, given_actor=actor, debug=debug)


def main() -> None:
    """Run a command; exit 0 done, 1 refused or failed, 2 wrong usage."""
    words = [readable(word) for word in sys.argv[1:]]
    debug = "--debug" in words
    _log_to_stderr()
    try:
        status = commands.main(words, prog_name="mailer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # whoever read us, a pager or head, has gone
    except (errors.MailerError, OSError) as error:
        if debug:
            raise
        click.echo(f"mailer: {explain(error)}", err=True)
        sys.exit(1)
    if isinstance(status, int):  # a command said so: ctx.exit(1)
        sys.exit(status)


def readable(word: str) -> str:
    """Return an argument with U+FFFD for the bytes of it that are not UTF-8.

    Such bytes come as lone surrogates (PEP 383), which neither a database nor a
    terminal takes.  The path of an existing file stays as it is.
    """
    path = word.partition("=")[2] if word.startswith("--") else word
    if path and os.path.lexists(path):
        return word
    return sheet.label(word)


class _Log(io.TextIOBase):
    """A log that ends nobody: what a full disk does not take is lost."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write *text* if it can be."""
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written if it can be."""
        with contextlib.suppress(OSError):
            self._file.flush()


def lossy(file: TextIO) -> TextIO:
    """Return *file* for a log: writing there never fails."""
    return cast("TextIO", _Log(file))


def _log_to_stderr() -> None:
    """Keep standard output for what was asked for."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(file=lossy(sys.stderr)),
        cache_logger_on_first_use=True,
    )


def explain(error: BaseException) -> str:
    """Say in a line what happened, and what to do where that is known."""
    if isinstance(error, OSError) and not isinstance(error, errors.MailerError):
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{place}"
    return str(error)
