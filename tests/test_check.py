"""Format, lint, types and contracts: `python -m pytest` is the whole check."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent

CHECKS = {
    "format": ("ruff", "format", "--check"),
    "lint": ("ruff", "check"),
    "types": ("mypy",),
    "contracts": ("lint-imports",),
}


@pytest.mark.timeout(600)  # types of everything, on a machine that is busy
@pytest.mark.parametrize("name", CHECKS)
def test_the_house_is_in_order(name: str) -> None:
    tool, *arguments = CHECKS[name]

    said = subprocess.run(
        [TOOLS / tool, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, f"{tool} says:\n{said.stdout}{said.stderr}"
