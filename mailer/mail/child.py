"""The child of `mail.confine`: read a job, compile and try it, write the result."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from mailer import errors
from mailer.mail import compiler, confine, links, lint, source, trial

if sys.platform != "win32":
    import resource


def main() -> None:
    """Work off one job from standard input, within limits."""
    _limit()
    job = confine.Job(**json.loads(sys.stdin.buffer.read()))
    try:
        build = _built(job)
        found, problems = build.compiled, build.problems
    except (MemoryError, RecursionError) as error:
        message = f"needs too much to compile: {type(error).__name__}"
        found, problems = (
            None,
            [errors.Problem(message=message, file=Path(job.folder).name)],
        )
    json.dump(
        {
            "compiled": found and found.document(),
            "problems": [asdict(p) for p in problems],
        },
        sys.stdout,
    )


def _built(job: confine.Job) -> compiler.Build:
    build = compiler.Build(
        folder=source.Folder(own=Path(job.folder), layouts=Path(job.layouts)),
        rules=links.Rules(
            own_domains=job.own_domains,
            donation_hosts=job.donation_hosts,
            refcode=job.refcode,
        ),
        first_link=job.first_link,
        subject=job.subject,
    )
    compiler.build(build)
    if build.compiled is not None:
        build.problems += trial.tried(build)
    if build.compiled is not None:
        found = list(lint.checked(build, attributes=job.attributes))
        # A name that somebody lacks is said once, where it stands.
        build.problems += found or trial.lacking(build)
    return build


def _limit() -> None:
    """Let the kernel end us: its default action needs no interpreter to answer."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ValueError, OSError):  # macOS knows no RLIMIT_AS
        resource.setrlimit(resource.RLIMIT_AS, (confine.MEMORY, confine.MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, confine.CPU)
    signal.setitimer(signal.ITIMER_REAL, confine.WALL)


if __name__ == "__main__":
    main()
