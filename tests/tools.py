"""What some tests need from the system, beside what pip installs.

A test says so by its marker.  Where the tool is missing the test is left out, and
the header of the run says which tool that is and how it can be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool, the marker of the tests that need it, and how it can be had."""

    marker: str
    cure: str
    find: Callable[[], str | None]


@cache
def chromium() -> str | None:
    """Return the path of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, (shutil.which(name, path=SEARCH) for name in names)), None)


@cache
def smtp_sink() -> str | None:
    """Return the path of Postfix's smtp-sink."""
    return shutil.which("smtp-sink", path=SEARCH)


@cache
def namespaces() -> str | None:
    """Return the path of ip(8), if it can make network namespaces here."""
    ip = shutil.which("ip", path=SEARCH)
    unshare = shutil.which("unshare", path=SEARCH)
    if ip is None or unshare is None:
        return None
    tried = subprocess.run(
        [unshare, "--net", ip, "link"], capture_output=True, check=False
    )
    return ip if tried.returncode == 0 else None


@cache
def python_of_nobody() -> str | None:
    """Return a Python that the user nobody can run; root's own may be closed."""
    if os.getuid() != 0:
        return None
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run(
                [python, "-c", "import sys; assert sys.version_info >= (3, 11)"],
                check=True,
                capture_output=True,
                cwd="/",
                user="nobody",
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return python
    return None


TOOLS = (
    Tool(marker="browser", cure="apt-get install chromium", find=chromium),
    Tool(marker="smtp_sink", cure="apt-get install postfix", find=smtp_sink),
    Tool(marker="namespaces", cure="root on Linux, with iproute2", find=namespaces),
    Tool(
        marker="nobody",
        cure="root, with a Python that nobody can reach",
        find=python_of_nobody,
    ),
)
