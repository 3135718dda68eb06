"""The values that stand in a segment's conditions, each read or its problem kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from mailer import errors
from mailer.core import provider
from mailer.core.segment.tree import Bound, Op, Window

LONGEST = timedelta(days=36525)  # a century; PostgreSQL's instants end somewhere
DIGITS = 15  # a float keeps as many, so a number survives JSON
PLACES = 6
WINDOW = ("within", "since", "before")

_YEARS = range(1900, 2200)
_INSTANT = '"90d" or an instant with its offset from UTC, 2026-10-01T00:00:00-04:00'

Path = tuple[str | int, ...]


class Values:
    """Reads values, and keeps the problems that it found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[errors.Problem] = []

    def wrong(self, path: Path, message: str) -> None:
        """Keep a problem."""
        key = errors.key(path) or None
        self.problems.append(errors.Problem(file=self.file, key=key, message=message))

    def table(self, value: Any, path: Path, known: Collection[str]) -> dict[str, Any]:
        """Read a table, and leave out keys that are not *known*."""
        if not isinstance(value, Mapping):
            self.wrong(path, f"{errors.quote(value)}: write a table, {{ … }}")
            return {}
        for key in value:
            if key not in known:
                meant = errors.nearest(key, known)
                self.wrong((*path, str(key)), f"unknown key: {meant}")
        return {key: one for key, one in value.items() if key in known}

    def text(self, value: Any, path: Path) -> str:
        """Read a text that PostgreSQL can hold, and that is not empty."""
        if not isinstance(value, str):
            self.wrong(path, f"{errors.quote(value)}: write text in quotes")
            return ""
        if not value:
            self.wrong(path, "empty: write text, or ask with exists")
        elif "\x00" in value or not _is_text(value):
            self.wrong(
                path, "no database holds this text: it has NUL or half characters"
            )
        return value

    def texts(self, value: Any, path: Path) -> tuple[str, ...]:
        """Read a list of texts."""
        if not isinstance(value, (list, tuple)):
            self.wrong(path, f'{errors.quote(value)}: write a list, [ "…" ]')
            return ()
        return tuple(self.text(one, (*path, n)) for n, one in enumerate(value))

    def names(self, value: Any, path: Path) -> tuple[str, ...]:
        """Read one text, or a list of some."""
        if isinstance(value, str):
            return (self.text(value, path),)
        found = self.texts(value, path)
        if not found and isinstance(value, (list, tuple)):
            self.wrong(path, "empty: name at least one")
        return found

    def flag(self, value: Any, path: Path) -> bool:
        """Read true or false."""
        if not isinstance(value, bool):
            self.wrong(path, f"{errors.quote(value)}: write true or false")
            return True
        return value

    def number(self, value: Any, path: Path) -> Decimal:
        """Read a number of at most 15 digits."""
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            # A float's shortest text is what was written, up to 15 digits.
            number = (
                Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
            )
            if number.is_finite() and _is_short(number):
                return number
            self.wrong(path, f"{value}: write at most {DIGITS} digits")
            return Decimal(1)
        self.wrong(path, f"{errors.quote(value)}: write a number")
        return Decimal(1)

    def bounds(self, value: Any, path: Path) -> tuple[Bound, ...]:
        """Read ``3``, or ``{ gte = 1, lt = 5 }``."""
        if not isinstance(value, Mapping):
            return (Bound(op=Op.IS, value=self.number(value, path)),)
        table = self.table(value, path, tuple(Op))
        if not value:
            self.wrong(path, "empty: write { gte = 1 }")
        return tuple(
            Bound(op=op, value=self.number(table[op], (*path, op.value)))
            for op in Op
            if op in table
        )

    def window(self, table: Mapping[str, Any], path: Path) -> Window:
        """Read ``within``, ``since`` and ``before``."""
        since: timedelta | datetime | None = None
        before: timedelta | datetime | None = None
        if "within" in table:
            since = self.duration(table["within"], (*path, "within"))
        if "since" in table:
            if "within" in table:
                self.wrong((*path, "since"), "it is there beside within: leave one out")
            since = self.instant(table["since"], (*path, "since"))
        if "before" in table:
            before = self.moment(table["before"], (*path, "before"))
        window = Window(since=since, before=before)
        if _is_empty(window):
            self.wrong(path, "no time is both so late and so early")
        return window

    def moment(self, value: Any, path: Path) -> timedelta | datetime:
        """Read a duration or an instant."""
        if isinstance(value, datetime) or (isinstance(value, str) and "T" in value):
            return self.instant(value, path)
        if isinstance(value, date):
            self.wrong(path, f"{errors.quote(value)}: write {_INSTANT}")
            return timedelta(0)
        return self.duration(value, path)

    def duration(self, value: Any, path: Path) -> timedelta:
        """Read ``"90d"``."""
        text = self.text(value, path)
        try:
            found = provider.duration(text) if text else timedelta(0)
        except ValueError as error:
            self.wrong(path, str(error))
            return timedelta(0)
        if found > LONGEST:
            self.wrong(path, f"{errors.quote(value)}: longer than a century")
            return timedelta(0)
        return found

    def instant(self, value: Any, path: Path) -> datetime:
        """Read an instant, in UTC."""
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime) and value.tzinfo and value.year in _YEARS:
            return value.astimezone(UTC)
        self.wrong(path, f"{errors.quote(value)}: write {_INSTANT}")
        return datetime(2000, 1, 1, tzinfo=UTC)


def _is_text(value: str) -> bool:
    """Tell whether *value* can be written as UTF-8."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_short(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    return (
        isinstance(exponent, int)
        and -PLACES <= exponent <= DIGITS
        and len(digits) + max(exponent, 0) <= DIGITS
    )


def _is_empty(window: Window) -> bool:
    match window.since, window.before:
        case (timedelta() as since, timedelta() as before):
            return since <= before
        case (datetime() as since, datetime() as before):
            return since >= before
        case _:
            return False
