"""The folder that mailer works in, and how a new one is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mailer import errors
from mailer.settings import secret

SETTINGS = Path("config", "settings.toml")
# The first file makes a folder a workspace: a broken run can be run again.
FILES = (SETTINGS, Path("config", "deadlines.toml"))
FOLDERS = (Path("templates"), Path("segments"), Path("blasts"))
_IGNORED = (
    "# The database, keys and journals of mailer: never in a repository.\n.mailer/\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The files that were added, and how many were there and left alone."""

    added: tuple[Path, ...]
    kept: int


def shipped(path: Path) -> Path:
    """Return a file or folder that mailer brings: in the wheel, or in its source."""
    packed = Path(__file__).parents[1] / "shipped"
    return (packed if packed.is_dir() else Path(__file__).parents[2]) / path


def existing(root: Path) -> Path:
    """Return *root*, if it is a workspace.  Raises NotFound otherwise."""
    if not (root / SETTINGS).is_file():
        message = f"{root}: no workspace (no {SETTINGS}): run `mailer init {root}`"
        raise errors.NotFound(message)
    return root


def make(root: Path) -> Made:
    """Make *root* a workspace, or add what is missing in one.  Overwrites nothing.

    Raises Conflict when the folder holds something else.
    """
    is_one = (root / SETTINGS).is_file()
    if not is_one and root.exists():
        others = sorted(one.name for one in root.iterdir() if one.name != ".git")
        if others:
            message = (
                f"{root}: holds other things ({others[0]}, …) and no {SETTINGS}: "
                "name an empty or a new folder"
            )
            raise errors.Conflict(message)
    wanted = {root / file: shipped(file).read_bytes() for file in FILES}
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for source in sorted(shipped(folder).rglob("*")):
            if source.is_file():
                target = root / folder / source.relative_to(shipped(folder))
                wanted[target] = source.read_bytes()
    wanted[root / ".gitignore"] = _IGNORED.encode()
    added = [path for path, content in wanted.items() if _add(path, content)]
    private = root / ".mailer"
    private.mkdir(mode=0o700, exist_ok=True)
    if not (root / secret.RING).exists():
        _add_secret(root / secret.RING, secret.new_ring())
        added.append(root / secret.RING)
    return Made(
        added=tuple(path.relative_to(root) for path in added),
        kept=len(wanted) + 1 - len(added),
    )


def _add(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet, and tell whether it was not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _add_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    new.rename(path)
