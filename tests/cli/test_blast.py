from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli

Mailer = Callable[..., Result]


@pytest.fixture
def mailer(workspace: Path) -> Mailer:
    """Run a command in the workspace."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(
            cli.commands, ["-C", str(workspace), "--as", "tess", *arguments]
        )

    return run


def test_a_new_blast_has_a_file_of_its_own_name_to_edit(
    mailer: Mailer, workspace: Path
) -> None:
    result = mailer("blast", "new", "hello")

    assert result.output == (
        "hello is draft\nEdit blasts/hello.toml, then: mailer blast check hello\n"
    )
    assert 'name = "hello" ' in (workspace / "blasts/hello.toml").read_text("utf-8")


def test_the_history_of_a_blast_says_who_did_what_and_why(mailer: Mailer) -> None:
    mailer("blast", "new", "hello")
    mailer("blast", "cancel", "hello", "--why", "typo")

    first, *history = mailer("blast", "show", "hello").output.splitlines()

    assert first == "hello is cancelled"
    assert [line[len("  2026-11-23 06:59:12 ") :] for line in history] == [
        "tess: new (draft)",
        "tess: cancel (draft -> cancelled) typo",
    ]


def test_a_list_says_why_a_blast_stands_still(mailer: Mailer) -> None:
    mailer("blast", "new", "hello")
    mailer("blast", "cancel", "hello", "--why", "typo")

    assert "typo" in mailer("blast", "list").output
    assert "typo" in mailer("blast", "watch", "hello", "--once").output
