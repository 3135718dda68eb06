"""What pip installs has all that a new workspace needs."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from mailer import settings

ROOT = Path(__file__).parents[1]
FOLDERS = ("config", "templates", "segments", "blasts")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as pip does it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    return site


@pytest.mark.timeout(120)
def test_an_installed_mailer_makes_the_same_workspace(
    installed: Path, tmp_path: Path
) -> None:
    made = {}
    for name, path in (("source", ROOT), ("wheel", installed)):
        folder = tmp_path / name
        subprocess.run(
            [sys.executable, "-m", "mailer", "init", str(folder)],
            env={**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"},
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        made[name] = {
            str(file.relative_to(folder))
            for file in folder.rglob("*")
            if file.is_file()
        }

    assert made["wheel"] == made["source"]
    assert "config/settings.toml" in made["wheel"]


def test_every_shipped_folder_is_in_the_wheel(installed: Path) -> None:
    for name in FOLDERS:
        for file in (ROOT / name).rglob("*"):
            if file.is_file():
                packed = installed / "mailer" / "shipped" / file.relative_to(ROOT)
                assert packed.is_file(), f"pyproject.toml: force-include {name}"


def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    for file in (ROOT / "mailer").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert (installed / file.relative_to(ROOT)).is_file()


def test_a_source_tree_ships_what_stands_beside_the_package() -> None:
    assert settings.shipped(Path("config")) == ROOT / "config"


def test_the_command_is_named_mailer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["scripts"] == {"mailer": "mailer.cli:main"}
