"""Compile in a child process, which may loop, swell or crash in our place.

MJML's compiler overflows the stack on what its own check let through, and a render
inside C calls hears no signal handler: only the kernel can end either
(facts: security 4).  The child has limits on memory, processor and time, no
environment, and nothing that is worth taking.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from mailer import errors
from mailer.mail import compiled, links

CPU = 2.0  # seconds of processor; a large template takes a tenth of one
WALL = 10.0  # seconds from when the child is ready, on a busy machine
START = 30.0  # seconds to start Python and load the compilers, on a very busy one
MEMORY = 1 << 30  # bytes of address space

# All that the child gets of ours: where it is.  No secret is in there.
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2])}
_ENDS: dict[int, str] = {
    signal.SIGPROF: f"takes more than {CPU:.0f} s of processor time: it loops",
    signal.SIGALRM: f"takes more than {WALL:.0f} s",
    signal.SIGSEGV: "crashes the compiler: nested too deep?",
    signal.SIGKILL: "was killed: out of memory?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the child is asked to do."""

    folder: str
    layouts: str
    subject: str | None = None
    own_domains: tuple[str, ...] = ()
    donation_hosts: tuple[str, ...] = links.DONATION_HOSTS
    refcode: str | None = None
    first_link: int = 0
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it: the compiled form unless an error is among the problems."""

    compiled: compiled.Compiled | None
    problems: tuple[errors.Problem, ...]


def run(job: Job) -> Result:
    """Do *job* in a child process.  Blocks: call it in a thread."""
    try:
        # -P: the folder that we are in is nowhere to load modules from.
        child = subprocess.run(
            [sys.executable, "-P", "-m", "mailer.mail.child"],
            input=json.dumps(asdict(job)).encode(),
            capture_output=True,
            timeout=START + WALL,
            env=ENVIRONMENT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failed(job, f"takes more than {START + WALL:.0f} s")
    if child.returncode:
        said = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        end = _ENDS.get(-child.returncode, f"can't be compiled: {said[:200]}")
        return _failed(job, end)
    answer = json.loads(child.stdout)
    document = answer["compiled"]
    return Result(
        compiled=document and compiled.Compiled.from_document(document),
        problems=tuple(
            errors.Problem(**p | {"severity": errors.Severity(p["severity"])})
            for p in answer["problems"]
        ),
    )


def _failed(job: Job, message: str) -> Result:
    problem = errors.Problem(message=message, file=Path(job.folder).name)
    return Result(compiled=None, problems=(problem,))
