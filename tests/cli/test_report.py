"""`mailer report` in 100 columns, without colour, for hostile subjects."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from mailer.cli import report
from mailer.pipeline.reporting import judging
from mailer.pipeline.reporting.figures import Report
from tests import samples


def shown(found: Report) -> str:
    out = io.StringIO()
    report.show(found, Console(file=out, width=240))
    return out.getvalue()


@pytest.mark.parametrize(
    "given",
    [samples.three_subjects(), samples.ofa(), samples.given([("only", "Hey")], [])],
    ids=["three", "eighteen", "unsent"],
)
def test_a_report_fits_100_columns(given: judging.Given) -> None:
    lines = shown(judging.judge(given)).splitlines()

    assert max(cell_len(line) for line in lines) <= 100


def test_the_verdict_comes_first_and_needs_no_colour() -> None:
    found = judging.judge(samples.ofa())

    text = shown(found)

    assert "\x1b" not in text
    assert text.index("LEADING") < text.index("variant")
    assert "90%" in text


def test_a_subject_is_no_markup_and_steers_no_terminal() -> None:
    given = samples.given(
        [("a", "[red]Hey[/red] \x1b[2J"), ("b", "[/]")],
        [
            samples.cell(1, recipients=99, sent=99, clicks=9),
            samples.cell(2, recipients=99, sent=99, clicks=2),
        ],
    )

    text = shown(judging.judge(given))

    assert "[red]Hey[/red]" in text
    assert "\x1b" not in text


def test_help_has_an_example() -> None:
    found = CliRunner().invoke(report.report, ["--help"])

    assert found.exit_code == 0
    assert "Example: mailer report" in found.output


def test_a_plain_report_loads_no_chart_library() -> None:
    code = (
        "import sys, mailer.cli.report;"
        "print([name for name in ('altair', 'vl_convert', 'pandas', 'scipy.stats')"
        " if name in sys.modules])"
    )

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == "[]"
