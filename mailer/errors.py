"""What mailer could not do, as one tree.

::

    MailerError
    ├── NotFound       no such blast, segment, subscriber, file
    ├── Conflict       the thing is in a state that forbids this
    ├── Invalid        the input is wrong; says file, key, value and the cure
    └── Unavailable    database, port, disk or server cannot be had now

What a mailbox provider says is no exception but an outcome (`core.delivery`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MailerError(Exception):
    """Something that we could not do.  Its text is one line for a person."""


class NotFound(MailerError, LookupError):
    """The thing that was named does not exist."""


class Conflict(MailerError):
    """The thing is in a state that forbids what was asked."""


class Unavailable(MailerError, ConnectionError):
    """Something that we need cannot be had now: database, port, disk, server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of an input: where it is, what it is, what would be right."""

    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        """Return ``file:line: key: message``, leaving out what is unknown."""
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class Invalid(MailerError, ValueError):
    """An input is wrong.  Holds every problem found, not only the first."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(message=problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
