import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailer import cli, errors
from mailer.cli import bench


def test_without_a_clone_it_says_where_the_bench_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "bench")

    result = CliRunner().invoke(cli.commands, ["bench", "sending"])

    assert isinstance(result.exception, errors.NotFound)
    assert "in the repository, not in what pip installs" in str(result.exception)


def test_an_unknown_figure_is_answered_with_those_that_are_there() -> None:
    result = CliRunner().invoke(cli.commands, ["bench", "luck"])

    assert result.exit_code == 2
    assert "importing, sending" in result.output


def test_its_help_names_the_figures() -> None:
    result = CliRunner().invoke(cli.commands, ["bench", "--help"])

    assert result.exit_code == 0
    assert "sending, importing" in result.output


@pytest.mark.smtp_sink
@pytest.mark.timeout(120)
def test_sending_is_set_beside_its_floor() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mailer", "bench", "sending"),
            *("--json", "--signed", "--messages", "40", "--obvious", "2"),
        ],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "default"},
        stdout=subprocess.PIPE,
        check=False,
    )

    found = json.loads(done.stdout)
    assert done.returncode == int(found["ratio"] > found["target"])
    assert found["messages"] == 40
    assert found["ratio"] == pytest.approx(found["cpu"] / found["floor"])
    assert found["floor"] == pytest.approx(sum(found["floor_parts"].values()))
    assert set(found["floor_parts"]) == {"render", "sha256", "rsa", "smtp_source"}
