import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A workspace as `mailer init` makes it, without a database."""
    CliRunner().invoke(cli.commands, ["init", str(tmp_path / "team")])
    return tmp_path / "team"


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.commands, ["-C", str(root), "template", *words])


def test_the_shipped_templates_are_listed_and_right(team: Path) -> None:
    listed = run(team, "list", "--json")
    checked = run(team, "check")

    names = [one["name"] for one in json.loads(listed.output)]
    assert names == ["appeal", "deadline", "newsletter"]
    assert checked.exit_code == 0
    assert checked.output.split() == [w for n in names for w in ("right", n)]


def test_a_check_that_finds_an_error_exits_1_and_names_the_line(team: Path) -> None:
    (team / "templates/layouts/footer.mjml").write_text("<mj-sektion>x</mj-sektion>")

    done = subprocess.run(
        [sys.executable, "-m", "mailer", "-C", team, "template", "check", "appeal"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )

    assert done.returncode == 1
    assert "layouts/footer.mjml:1: MJML has no <mj-sektion>" in done.stdout


def test_a_preview_is_for_somebody_who_does_not_exist(team: Path) -> None:
    shown = run(team, "preview", "appeal", "--out", str(team / "out.html"))
    text = run(team, "preview", "appeal", "--text")

    assert "Alexandrina, can I count on you?" in shown.output
    page = (team / "out.html").read_bytes()
    assert page.isascii()
    assert b"link_" not in page
    assert "Give $500 (https://example.org/give?amount=500" in text.output


def test_a_preview_may_be_for_a_subscriber(team: Path, workspace: Path) -> None:
    people = team / "people.csv"
    people.write_text("email,first_name,city\nbo@example.org,Bo,Madison\n")
    CliRunner().invoke(cli.commands, ["-C", str(team), "import", str(people)])

    shown = run(team, "preview", "newsletter", "--as", "Bo@example.org", "--text")

    assert "Hello Bo," in shown.output
    assert "near Madison" in shown.output


def test_a_template_that_is_not_there_is_named_with_those_that_are(team: Path) -> None:
    result = run(team, "check", "apeal")

    assert 'there is no template apeal: did you mean "appeal"?' in str(result.exception)
