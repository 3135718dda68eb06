"""Templates: compile a folder once, check it, render it for each person."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mailer import errors
from mailer.mail import confine
from mailer.mail.compiled import Compiled as Compiled
from mailer.mail.compiled import Link as Link
from mailer.mail.compiled import Rendered as Rendered
from mailer.mail.renderer import Renderer as Renderer


def compile(
    folder: Path,
    *,
    layouts: Path,
    subject: str | None = None,
    own_domains: Collection[str] = (),
    refcode: str | None = None,
    first_link: int = 0,
) -> Compiled:
    """Compile the template in *folder*.  Raises Invalid with every error found.

    Links are numbered from *first_link*, so that they are unique in their blast.
    Works in a child process and takes a while: call it in a thread.
    """
    result = confine.run(
        confine.Job(
            folder=str(folder.resolve()),
            layouts=str(layouts.resolve()),
            subject=subject,
            own_domains=tuple(own_domains),
            refcode=refcode,
            first_link=first_link,
        )
    )
    if result.compiled is None:
        raise errors.Invalid(
            [p for p in result.problems if p.severity is errors.Severity.ERROR]
        )
    return result.compiled


def check(
    folder: Path,
    *,
    layouts: Path,
    own_domains: Collection[str] = (),
    attributes: Collection[str] = (),
) -> list[errors.Problem]:
    """Return what is wrong with the template in *folder*: errors first, by place.

    Says more than `compile`, which only refuses what can't be sent: what must stand
    in a political email, names that people lack, size.  *attributes* are names
    that some people have beside those of mailer.
    """
    result = confine.run(
        confine.Job(
            folder=str(folder.resolve()),
            layouts=str(layouts.resolve()),
            own_domains=tuple(own_domains),
            attributes=tuple(attributes),
        )
    )

    def place(problem: errors.Problem) -> tuple[bool, str, int]:
        is_warning = problem.severity is errors.Severity.WARNING
        return is_warning, problem.file or "", problem.line or 0

    return sorted(result.problems, key=place)
