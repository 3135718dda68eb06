import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli, errors

Mailer = Callable[..., Result]

PEOPLE = """\
Email,First,Amount
ada@gmail.com,Ada,25
bo@example.org,Bo,much
nobody,Cy,
"""


@pytest.fixture
def mailer(workspace: Path) -> Mailer:
    """Run a command in the workspace."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(
            cli.commands, ["-C", str(workspace), "--as", "tess", *arguments]
        )

    return run


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a file of people in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text(PEOPLE)
    return "people.csv"


def test_an_import_says_what_it_took_and_what_it_refused(
    mailer: Mailer, people: str
) -> None:
    result = mailer("import", people, "--map", "Amount=highest gift")

    assert result.exit_code == 0, result.output
    assert result.output == (
        "  Email → email\n"
        "  First → first_name\n"
        "  Amount → highest_gift\n"
        "3 rows of people.csv\n"
        "           1 created\n"
        "           2 refused\n"
        "    line 3: 'much': \"much\" is no amount: write 25, 25.50 or $1,250.00\n"
        "    line 4: 'nobody': An email address must have an @-sign.\n"
        "All refused rows: people.refused.csv\n"
    )


def test_a_dry_run_says_that_nothing_was_changed(mailer: Mailer, people: str) -> None:
    dry = json.loads(mailer("import", people, "--dry-run", "--json").output)

    assert (dry["created"], dry["refused"], dry["dry_run"]) == (2, 1, True)
    assert dry["columns"]["Amount"] == "attribute amount"
    assert "this was a dry run" in mailer("import", people, "--dry-run").output
    missing = mailer("subscriber", "show", "ada@gmail.com")
    assert isinstance(missing.exception, errors.NotFound)


def test_a_person_is_shown_with_all_that_is_known(mailer: Mailer, people: str) -> None:
    mailer("import", people, "--map", "Amount=highest_gift")
    mailer("suppress", "add", "@gmail.com", "--topic", "news")

    shown = mailer("subscriber", "show", "ADA@gmail.com").output
    found = json.loads(mailer("subscriber", "show", "ada@gmail.com", "--json").output)

    assert found["subscriber"]["provider"] == "google"
    assert found["subscriber"]["giving"]["highest"] == "25.00"
    assert found["suppressions"][0]["address"] == "@gmail.com"
    assert found["history"]["messages"] == 0
    assert "first_name" in shown
    assert "@gmail.com: topic news, manual, since" in shown


def test_a_map_that_is_none_is_wrong_usage(mailer: Mailer, people: str) -> None:
    result = mailer("import", people, "--map", "Amount")

    assert result.exit_code == 2
    assert 'write "Column=field"' in result.output


def test_a_missing_file_is_said(mailer: Mailer) -> None:
    result = mailer("import", "nowhere.csv")

    assert str(result.exception) == "nowhere.csv: no such file"


@pytest.mark.parametrize(
    "command",
    [
        "import",
        "subscriber show",
        "suppress add",
        "suppress remove",
        "suppress list",
        "suppress import",
        "suppress export",
    ],
)
def test_each_command_has_help_with_an_example(mailer: Mailer, command: str) -> None:
    assert f"Example: mailer {command}" in mailer(*command.split(), "--help").output


def test_suppressions_are_added_listed_exported_and_lifted(
    mailer: Mailer, tmp_path: Path
) -> None:
    file = tmp_path / "out.csv"

    added = mailer("suppress", "add", "Ada@example.org", "--reason", "unsubscribe")
    again = mailer("suppress", "add", "ada@example.org", "--note", "by phone")
    listed = mailer("suppress", "list", "ada")
    exported = mailer("suppress", "export", "-o", str(file))
    refused = mailer("suppress", "remove", "ada@example.org")
    lifted = mailer("suppress", "remove", "ada@example.org", "--confirmed", "a form")
    imported = json.loads(mailer("suppress", "import", str(file), "--json").output)

    assert added.output == (
        "ada@example.org suppressed: on every topic, by unsubscribe\n"
    )
    assert again.output == (
        "ada@example.org was suppressed already: on every topic, by unsubscribe\n"
    )
    assert "ada@example.org" in listed.output
    assert listed.output.endswith("1 of 1\n")
    assert "1 suppressions\n" in exported.output
    assert isinstance(refused.exception, errors.Conflict)
    assert "may be mailed again" in lifted.output
    assert (imported["added"], imported["refused"]) == (1, 0)
    total = json.loads(mailer("suppress", "list", "--json").output)
    assert [entry["reason"] for entry in total["entries"]] == ["unsubscribe"]
