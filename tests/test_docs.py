"""The documents say what is there: commands, variables, files, and one another."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mailer import cli, settings
from mailer.core import blast, segment
from mailer.core.alarm import LORE, Kind

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(
    group: click.Command = cli.commands, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its whole name: ``mailer blast new``."""
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None
        if not found.hidden:
            yield " ".join(("mailer", *above, name)), found
            yield from commands(found, (*above, name))


COMMANDS = dict(commands())


def shown(page: Path) -> set[str]:
    """Return every command of ours that a page tells people to type."""
    text = page.read_text("utf-8")
    blocks = "\n".join(body for kind, body in BLOCK.findall(text) if not kind)
    inline = "\n".join(re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)))
    typed = re.findall(
        r"^(?:\S*/)?mailer ([^#\n]*)", f"{blocks}\n{inline}", re.MULTILINE
    )
    return {re.sub(r"&&.*|(^| )--?\w.*", "", one).strip() for one in typed}


def test_both_commands_of_a_newcomer_stand_in_the_readme() -> None:
    assert [body.strip() for _, body in BLOCK.findall(README)][:2] == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/mailer demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' "
        "&& .venv/bin/python -m pytest",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_and_gives_an_example(name: str) -> None:
    said = COMMANDS[name].help or ""

    assert said.split("\n")[0].rstrip().endswith((".", "\b"))
    assert re.search(
        rf"Example: mailer (--as \w+ )?{name.removeprefix('mailer ')}", said
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_has_a_line_in_the_readme(name: str) -> None:
    assert f"\n| `mailer {name}` | " in README


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.TEST}))
def test_every_alarm_is_in_the_operations_page(kind: Kind) -> None:
    severity = LORE[kind].severity.value

    assert f"| `{kind.value}` | {severity} |" in OPERATIONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_commands_that_are_there(page: Path) -> None:
    for typed in shown(page):
        words = typed.split()
        if not words or not words[0].isalpha():
            continue
        two = f"mailer {' '.join(words[:2])}"
        command = COMMANDS[f"mailer {words[0]}"]
        if isinstance(command, click.Group) and len(words) > 1:
            assert two in COMMANDS, two


def test_every_variable_of_the_environment_is_in_the_operations_page() -> None:
    code = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "mailer").rglob("*.py")
    )
    names = set(re.findall(r"\bMAILER_[A-Z_]+[A-Z_]", code))

    assert {"MAILER_DATABASE_URL", "MAILER_WORKSPACE", "MAILER_SOURCE_"} <= names
    assert [name for name in sorted(names) if f"`{name}" not in OPERATIONS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    inside = [link for link in links if not link.startswith(("https://", "http://"))]

    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_toml_in_a_page_can_be_read(page: Path) -> None:
    for kind, body in BLOCK.findall(page.read_text("utf-8")):
        if kind != "toml":
            continue
        document = tomllib.loads(body)
        if name := re.match(r"# segments/([\w-]+)\.toml", body):
            segment.parse(name[1], document, file=page.name)


@pytest.mark.parametrize("file", sorted(ROOT.glob("blasts/*.toml")))
def test_a_shipped_blast_is_right(file: Path) -> None:
    spec = settings.read(file, blast.Spec)

    assert blast.check(spec, file=file.name) == []
    assert spec.name == file.stem
    assert spec.segment in {*settings.segments(ROOT), segment.EVERYONE}
    assert (ROOT / "templates" / spec.template / "meta.toml").is_file()


def test_whoever_wants_to_help_reads_one_page() -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()

    assert len(lines) <= 80
