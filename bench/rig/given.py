"""What is the same in each process of a measurement, and how one is started."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from mailer.core import signature
from mailer.core.tracking import Ring

BENCH = Path(__file__).parents[1]
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
MICRO = 1e6
PATIENCE = 30.0  # seconds that a server may take to stop

FROM = "Jo Example <jo@example.org>"
ORGANIZATION = {
    "organization": "Example for Congress",
    "committee": "Example for Congress Committee",
    "postal_address": "1 Main Street, Springfield",
    "disclaimer": "Paid for by Example for Congress Committee.",
    "tax_line": "Contributions are not tax deductible.",
    "website": "https://example.org",
}
PUBLIC = "https://links.example.org"
RING = Ring(keys={1: bytes(range(32))}, current=1)

Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a process is told: where the server, the receiver and the files are."""

    url: str
    folder: str
    port: int
    hash: str = ""  # of the content that is sent
    is_signed: bool = False
    connections: int = 10
    rate: str = "unlimited"  # of the lane
    messages: int = 0  # that are owed, or that the obvious way sends


def begun() -> None:
    """Keep the log off standard output, where the figures go."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))


def be(part: Callable[[Given], Figures]) -> None:
    """Be a part that `command` started: do it, and print what it found."""
    begun()
    print(json.dumps(part(Given(**json.loads(sys.argv[1])))))


def command(part: str, given: Given) -> list[str]:
    """Return what runs a part, a module of the rig, in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from rig import {part}"
    main = f"{code}, given; given.be({part}.{part})"
    return [sys.executable, "-c", main, json.dumps(dataclasses.asdict(given))]


def measured(part: str, given: Given) -> Figures:
    """Run a part to its end, and return what it says."""
    return together(part, given, count=1)[0]


def together(part: str, given: Given, *, count: int) -> list[Figures]:
    """Run a part in so many processes at once, and return what each says."""
    children = [
        subprocess.Popen(command(part, given), stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    said = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        sys.exit(f"measuring {part} failed")
    return [json.loads(one) for one in said]


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder with a key to sign with, and remove it afterwards."""
    with TemporaryDirectory(prefix="mailer-bench-") as name:
        found = Path(name)
        found.chmod(0o755)  # the server runs as another user where we are root
        key = signature.new(signature.Algorithm.RSA, bits=2048)
        (found / "key").write_bytes(signature.pem(key))
        yield found
        removed(found / "db")


def removed(database: Path) -> None:
    """Wait until the keeper of a temporary *database* has removed it."""
    last = time.monotonic() + PATIENCE
    while database.exists() and time.monotonic() < last:
        time.sleep(0.05)


def tool(name: str, cure: str = "apt-get install postfix") -> str:
    """Return the path of a program of the system."""
    found = shutil.which(name, path=SEARCH)
    if found is None:
        sys.exit(f"{name} is not here: {cure}")
    return found


def load() -> float:
    """Return how many processes have wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)


def shown(found: Figures, told: str, *, as_json: bool) -> None:
    """Print what was measured, for a program or for a person."""
    print(json.dumps(found, indent=2) if as_json else told)
