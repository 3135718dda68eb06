"""TOML 1.0 files into frozen dataclasses, with every problem named at once.

The shapes are translated for pydantic's engine, because core's dataclasses say
nothing about validation: a class with ``parse(text)`` is read from a string, a
mapping to a class with a ``name`` gives that name from its key, and a field with
``repr=False`` is a secret, which no file may hold.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mailer import errors
from mailer.settings import lines

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_SECRETS = re.compile(r"password|secret|token|key$|credential", re.IGNORECASE)
_CURES = {
    "string_type": "write text in quotes",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "bool_type": "write true or false",
    "tuple_type": "write a list: [ … ]",
    "dict_type": "write a table",
}


def read(path: Path, into: type[T], *, file: str | None = None) -> T:
    """Read the TOML at *path* as an *into*; *file* is its name in messages.

    Raises NotFound when there is no such file, Invalid with all its problems.
    """
    file = file or str(path)
    values, places = load(path, file=file)
    return parse(values, into, file=file, places=places)


def load(path: Path, *, file: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the values of a TOML file and the line of each key."""
    if path.exists() and not path.is_file():
        raise errors.NotFound(f"{file}: is no file")
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise errors.NotFound(f"{file}: no such file") from error
    except UnicodeDecodeError as error:
        problem = errors.Problem(file=file, message="not UTF-8: save it as UTF-8")
        raise errors.Invalid(problem) from error
    try:
        return tomllib.loads(text, parse_float=Decimal), lines.locate(text)
    except RecursionError:
        problem = errors.Problem(file=file, message="nested too deeply")
        raise errors.Invalid(problem) from None
    except tomllib.TOMLDecodeError as error:
        match = _AT_LINE.search(str(error))
        line = int(match[1]) if match and match[1] else len(text.splitlines())
        message = f"not TOML: {_AT_LINE.sub('', str(error))}"
        problem = errors.Problem(file=file, line=line, message=message)
        raise errors.Invalid(problem) from error


def parse(
    document: Mapping[str, Any],
    into: type[T],
    *,
    file: str,
    places: Mapping[str, int] | None = None,
) -> T:
    """Turn the values of *document* into an *into*.

    *places* has the line of each key.  Raises Invalid with all problems.
    """
    from pydantic_core import ValidationError  # 60 ms: not for every command

    from mailer.settings import shape

    try:
        made: T = shape.validator(into).validate_python(dict(document))
    except ValidationError as error:
        found = [
            _problem(one, into, file=file, places=places or {})
            for one in error.errors(include_url=False)
        ]
        found.sort(key=lambda problem: problem.line or 0)
        raise errors.Invalid(found) from None  # its text would quote every value
    return made


def _problem(
    error: ErrorDetails, into: type, *, file: str, places: Mapping[str, int]
) -> errors.Problem:
    from mailer.settings import shape

    path = tuple(step for step in error["loc"] if not str(step).startswith(shape.TAG))
    key = errors.key(path)
    return errors.Problem(
        file=file,
        line=lines.find(places, key),
        key=key or None,
        message=_message(error, path, shape.keys(into, path[:-1])),
    )


def _message(
    error: ErrorDetails, path: tuple[str | int, ...], known: Mapping[str, bool]
) -> str:
    """Say what is wrong with a value and what would be right."""
    kind = error["type"]
    last = str(path[-1]) if path else ""
    if kind == "missing":
        return "missing: it must be set"
    if kind == "extra_forbidden":
        if known.get(last) is False or _SECRETS.search(last):
            name = "_".join(["MAILER", *map(str, path)]).upper().replace("-", "_")
            name = name.replace("_ALARMS_", "_ALARM_")  # one secret, many alarms
            return f"a secret has no place in a file: set {name} or {name}_FILE"
        right = [name for name, is_open in known.items() if is_open]
        return f"unknown key: {errors.nearest(last, right)}"
    if kind in {"value_error", "assertion_error"}:
        return str(error["ctx"]["error"])
    if _SECRETS.search(last):
        return _CURES.get(kind, error["msg"])
    return f"{errors.quote(error['input'])}: {_CURES.get(kind, error['msg'])}"


def overridden(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay *above* over *below*, key by key; a list replaces a list."""
    joined = dict(below)
    for key, value in above.items():
        under = joined.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            joined[key] = overridden(under, value)
        else:
            joined[key] = value
    return joined


def relocated(error: errors.Invalid, places: Mapping[str, int]) -> errors.Invalid:
    """Add the line of each problem's key."""
    return errors.Invalid(
        [
            dataclasses.replace(one, line=one.line or lines.find(places, one.key))
            for one in error.problems
        ]
    )
