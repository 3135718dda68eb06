"""``mailer demo``: the main job in a minute, with the commands that a person types."""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from mailer import errors, runtime, settings
from mailer.cli.context import Context, pass_context
from mailer.core import blast, fiction

PEOPLE = 20_000
SEED = 2012  # of the made-up people: the same list on every machine
MARK = Path(".mailer", "demo")  # this folder is ours to write in
RECORD = Path("arrived.jsonl")
STEPS = 9

SETTINGS = (
    (r"^port = 8080$", "port = {public}"),
    (r'^url = "http://127.0.0.1:8080"$', 'url = "http://127.0.0.1:{public}"'),
    (r"^port = 8081$", "port = {private}"),
    (r"^port = 2525$", "port = {sink}"),
    (r'^tls = "opportunistic".*$', 'tls = "none"'),
    (r"^# connections = 10.*$", "connections = 12"),
    (
        r'^# rate = "6000/h".*$',  # of the relay: other tables show rates, too
        'rate = "unlimited"  # `mailer sink` plays the providers',
    ),
    (r"^# retry = .*$", 'retry = ["2s", "4s", "8s"]'),
)

BLAST = """\
# What `mailer demo` sends: three subjects, the shipped fundraising appeal.
name = "{name}"
topic = "fundraising"
segment = "everyone"
template = "appeal"
from = "Example for Congress <team@example.org>"

[[variant]]
name = "hours"
subject = "Hours left"

[[variant]]
name = "outspent"
subject = "{{{{ first_name | default('Friend') }}}}, we will be outspent"

[[variant]]
name = "thanks"
subject = "Before midnight, thank you"
"""


@click.command()
@click.argument(
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("mailer-demo"),
)
@click.option(
    "--people",
    type=click.IntRange(100, 1_000_000),
    default=PEOPLE,
    show_default=True,
    help="How many.",
)
@pass_context
def demo(ctx: Context, folder: Path, people: int) -> None:
    """Show the whole job on this machine: a list, a blast, its report.

    Everything is made up and stays here: the people, the mailbox providers that
    take the mail, the opens, clicks and gifts.  It needs no network.

    \b
    Example: mailer demo
    """
    started = time.monotonic()
    stage = Stage(root=folder.resolve(), people=people)
    stage.prepare()
    _show(stage)
    took = time.monotonic() - started
    _goodbye(stage, took=took)


@dataclass(slots=True, kw_only=True)
class Stage:
    """The demo's workspace, and how its commands are run."""

    root: Path
    people: int
    ports: dict[str, int] = field(default_factory=dict)
    name: str = "demo"
    environment: dict[str, str] = field(default_factory=dict)
    _step: int = 0

    def prepare(self) -> None:
        """Make the folder a workspace of the demo's own.

        Raises Conflict when it holds something else.
        """
        is_ours = (self.root / MARK).exists()
        if self.root.exists() and any(self.root.iterdir()) and not is_ours:
            message = f"{self.root} holds other things: mailer demo ANOTHER-FOLDER"
            raise errors.Conflict(message)
        self.environment = {
            "MAILER_ACTBLUE_USER": "demo",
            "MAILER_ACTBLUE_PASSWORD": secrets.token_hex(16),
        }
        names = ("public", "private", "sink")
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        (self.root / MARK).parent.mkdir(parents=True, exist_ok=True)
        (self.root / MARK.parent).chmod(0o700)
        (self.root / MARK).touch()
        config = self.root / "config"
        config.mkdir(exist_ok=True)
        (config / "settings.toml").write_text(self._settings(), "utf-8")
        (self.root / RECORD).unlink(missing_ok=True)

    def _settings(self) -> str:
        """Return the shipped settings, with free ports and the sink as the relay."""
        text = settings.shipped(Path("config", "settings.toml")).read_text("utf-8")
        for pattern, wanted in SETTINGS:
            text, count = re.subn(
                pattern, wanted.format(**self.ports), text, flags=re.MULTILINE
            )
            assert count == 1, pattern
        return text

    def step(self, title: str, explains: str) -> None:
        """Say what comes, and why."""
        self._step += 1
        click.echo()
        click.secho(f"[{self._step}/{STEPS}] {title}", bold=True)
        click.secho(f"      {explains}", dim=True)

    def run(self, *arguments: str, quiet: bool = False) -> str:
        """Run a command as a person would, and show it; the demo ends if it fails."""
        if not quiet:
            click.secho(f"$ mailer {shlex.join(arguments)}", fg="cyan")
        child = subprocess.Popen(  # noqa: S603 - our own program
            self._command("--leashed", *arguments),
            env=self._environment(),
            stdin=subprocess.PIPE,  # ends with us, and so does the command
            stdout=subprocess.PIPE if quiet else None,
            text=True,
        )
        with child:
            said = child.stdout.read() if child.stdout is not None else ""
            code = child.wait()
        if code:
            message = f"mailer {shlex.join(arguments)} ended with {code}"
            raise errors.Conflict(f"the demo stopped: {message}")
        return said

    @contextmanager
    def running(self, name: str, arguments: Sequence[str]) -> Iterator[None]:
        """Run a command beside the others; it ends with us, whatever happens to us."""
        click.secho(f"$ mailer {shlex.join(arguments)} &", fg="cyan")
        with (self.root / ".mailer" / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(  # noqa: S603 - our own program
                self._command("--leashed", *arguments),
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield
            finally:
                child.terminate()
                child.wait(60)
                if child.stdin is not None:
                    child.stdin.close()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mailer", "-C", str(self.root), *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def _sink_arguments(stage: Stage) -> list[str]:
    port = str(stage.ports["sink"])
    record = str(stage.root / RECORD)
    return ["sink", "--port", port, "--scenario", "demo", "--links", "--record", record]


def _show(stage: Stage) -> None:
    """Go through the whole job, step by step."""
    stage.step("A workspace", "Settings, templates, segments, and its own PostgreSQL.")
    stage.run("init", str(stage.root))
    stage.run("db", "migrate")
    with (
        stage.running("sink", _sink_arguments(stage)),
        stage.running("run", ["run", "--workers", "2"]),
    ):
        _fill(stage)
        _send(stage)
        _look(stage)


def _fill(stage: Stage) -> None:
    stage.step("A list", f"{stage.people:,} made-up people, as CSV, are imported.")
    file = stage.root / "people.csv"
    _write_people(file, stage.people)
    stage.run("import", str(file))
    stage.step("A segment", "Who: a TOML file, compiled to one SQL predicate.")
    stage.run("segment", "count", "active-donors")
    _begin(stage)


def _begin(stage: Stage) -> None:
    """Find a name for the blast, and end what an earlier demo left unfinished."""
    known = {
        one["name"]: one
        for one in json.loads(stage.run("blast", "list", "--json", quiet=True))
    }
    ended = {state.value for state in blast.ENDED}
    for name, one in known.items():
        if one["state"] not in ended:
            stage.run("blast", "cancel", name, "--why", "its demo was interrupted")
    number = 1
    while stage.name in known:
        number += 1
        stage.name = f"demo-{number}"
    file = stage.root / "blasts" / f"{stage.name}.toml"
    file.write_text(BLAST.format(name=stage.name), "utf-8")


def _send(stage: Stage) -> None:
    name = stage.name
    stage.step("A blast", f"blasts/{name}.toml: three subjects, one appeal.")
    stage.run("blast", "check", name)
    stage.run("blast", "proof", name, "--to", "proofs@example.org")
    stage.step("Preflight", "Every message is made once, and thrown away.")
    stage.run("blast", "preflight", name)
    stage.step("Approval", "Freezes the content: an edit from here on voids it.")
    stage.run("--as", "grace", "blast", "approve", name)
    stage.step("Sending", "Two workers, real SMTP, provider by provider.")
    stage.run("blast", "send", name)
    stage.run("blast", "watch", name)


def _look(stage: Stage) -> None:
    name, report = stage.name, stage.root / "report.html"
    stage.step("Visitors", "People and machines open, click, leave and give, by HTTP.")
    stage.run("visitors", name, "--record", str(stage.root / RECORD))
    stage.step("The report", "Machines apart, every rate with its interval.")
    stage.run("report", name)
    stage.run("report", name, "--html", str(report))


def _write_people(file: Path, count: int) -> None:
    people = fiction.people(count, seed=SEED, now=runtime.now())
    with file.open("w", encoding="utf-8", newline="") as out:
        first = next(iter(people), None)
        if first is None:
            return
        writer = csv.DictWriter(out, fieldnames=list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(people)


def _free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody uses now."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in taken]
    finally:
        for one in taken:
            one.close()


def _goodbye(stage: Stage, *, took: float) -> None:
    called = Path(sys.argv[0])
    program = "mailer" if called.name == "mailer" else "python -m mailer"
    if called.name == "mailer" and called.parent != Path():
        program = shlex.quote(str(called))
    private = f"http://127.0.0.1:{stage.ports['private']}"
    at = shlex.quote(str(stage.root))
    click.echo()
    click.secho(f"That was the whole job, in {took:.0f} seconds.", bold=True)
    click.echo(
        f"""
Where everything is:
  {stage.root / "report.html"}   the report: open it in a browser
  {stage.root / "blasts"}, templates, segments, config: files to read and change
  {stage.root / RECORD}   what the played mailbox providers received

What to try next:
  {program} -C {at} blast show {stage.name} --state bounced
  {program} -C {at} segment explain active-donors
  {program} -C {at} template preview appeal --out appeal.html
  {program} -C {at} run        then look at {private}/reports
  {program} init our-emails    a workspace of your own"""
    )


COMMANDS: dict[str, click.Command] = {"demo": demo}
