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

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

QUOTED = 60  # characters of a wrong value that a message shows


class MailerError(Exception):
    """Something that we could not do.  Its text is one line for a person."""


class NotFound(MailerError, LookupError):
    """The thing that was named does not exist."""


class Conflict(MailerError):
    """The thing is in a state that forbids what was asked."""


class Unavailable(MailerError, ConnectionError):
    """Something that we need cannot be had now: database, port, disk, server."""


class Severity(StrEnum):
    """Whether a problem stops us."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of an input: where it is, what it is, what would be right."""

    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    severity: Severity = Severity.ERROR

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


def key(path: Iterable[str | int]) -> str:
    """Write *path* as one key, list items from 1: ``all[2].donated.count``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step + 1}]"
        else:
            text += f".{step}" if text else step
    return text


def nearest(wrong: object, right: Iterable[str]) -> str:
    """Say which of the *right* words was meant by a *wrong* one."""
    words = sorted(right)
    close = difflib.get_close_matches(str(wrong), words, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"write one of {', '.join(words)}" if words else "leave it out"


def quote(value: object) -> str:
    """Show a wrong value, shortened, as a file would write it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            text = value if len(value) <= QUOTED else value[: QUOTED - 1] + "…"
            return f'"{text}"'
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return str(value)
