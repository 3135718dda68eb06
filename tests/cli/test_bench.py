import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    known = sorted(script.stem for script in bench.FOLDER.glob("*.py"))
    assert {"lanes", "sending"} <= set(known)
    assert ", ".join(known) in result.output


def test_its_help_names_the_figures() -> None:
    result = CliRunner().invoke(cli.commands, ["bench", "--help"])

    assert result.exit_code == 0
    for script in bench.FOLDER.glob("*.py"):
        assert f"\n  {script.stem} " in result.output


def measured(*asked: str) -> tuple[int, Any]:
    """Run a bench on something tiny; return its exit status and its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "mailer", "bench", *asked, "--json"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "default"},
        stdout=subprocess.PIPE,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.smtp_sink
@pytest.mark.timeout(120)
def test_sending_is_set_beside_its_floor() -> None:
    asked = ("sending", "--signed", "--messages", "40", "--obvious", "2")

    status, found = measured(*asked)

    assert status == int(found["ratio"] > found["target"])
    assert found["messages"] == 40
    assert found["ratio"] == pytest.approx(found["cpu"] / found["floor"])
    assert found["floor"] == pytest.approx(sum(found["floor_parts"].values()))
    assert set(found["floor_parts"]) == {"render", "sha256", "rsa", "smtp_source"}


@pytest.mark.smtp_sink
@pytest.mark.timeout(120)
def test_two_workers_are_set_beside_one() -> None:
    status, found = measured("sharing", "--messages", "200", "--rounds", "1")

    assert status == int(found["ratio"] > found["target"])
    assert [run["messages"] for run in found["runs"]] == [200, 200, 200]
    assert [len(run["shares"]) for run in found["runs"]] == [1, 2, 1]
    assert found["ratio"] == pytest.approx(found["together"] / found["one"])


@pytest.mark.smtp_sink
@pytest.mark.timeout(120)
def test_of_a_large_blast_start_middle_and_end_are_sent_and_all_rows_stand() -> None:
    asked = ("memory", "--sizes", "100", "2000", "--messages", "100")

    status, found = measured(*asked)

    is_reached = found["ratio"] <= found["target"] and found["peak_mb"] <= 120
    assert status == int(not is_reached)
    stands = [(run["rows"], run["chunks"], run["sent"]) for run in found["runs"]]
    assert stands == [(100, 10, 100), (2000, 100, 300)]
    assert all(run["peak_mb"] > 20 for run in found["runs"])


@pytest.mark.timeout(120)
def test_a_launch_is_set_beside_a_bare_insert_of_the_same_rows() -> None:
    status, found = measured("launching", "--rows", "1000", "--rounds", "1")

    assert status == int(found["ratio"] < found["target"])
    assert (found["rows"], found["owed"]) == (1000, 980)
    assert set(found["parts"]) == {"ledger", "chunks", "rollup", "commit"}
    seconds = found["bare_seconds"], found["launch_seconds"]
    assert found["ratio"] == pytest.approx(seconds[0] / seconds[1])


@pytest.mark.timeout(120)
def test_an_import_is_set_beside_a_bare_copy_of_the_same_rows() -> None:
    status, found = measured("importing", "--rows", "300")

    assert status == int(found["ratio"] < found["target"])
    assert found["rows"] == 300


@pytest.mark.smtp_sink
@pytest.mark.timeout(120)
def test_the_receiver_counts_what_the_ledger_says() -> None:
    status, found = measured("whole", "--messages", "300", "--workers", "2")

    assert (status, found["is_equal"]) == (0, True)
    counts = found["accepted"], found["recipients"], found["distinct_recipients"]
    assert counts == (300, 300, 300)
    assert found["ledger"] == {"sent": 300}


@pytest.mark.timeout(120)
def test_lanes_find_limits_that_change_while_they_send() -> None:
    """Three of the twelve scenarios, and half of their time."""
    names = ["apple-short", "charter-connections", "yahoo-trust"]

    status, found = measured("lanes", "--hours", "3", "--only", *names)

    assert status == 0
    assert [row["scenario"] for row in found["scenarios"]] == names
    for row in found["scenarios"]:
        assert row["share"]["controller"] >= 0.9
        assert row["deferred"]["controller"] < 0.01
        assert row["share"]["oracle"] == 1
        assert row["deferred"]["oracle"] == 0
