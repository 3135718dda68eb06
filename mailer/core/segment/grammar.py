"""Read the document of a segment: a closed list of conditions, every problem told.

Values may stand as TOML has them or as JSON does, so that an approved segment can
be kept in the database: an instant as text, a number as a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from mailer import errors
from mailer.core.segment import tree
from mailer.core.segment.tree import Bound, Condition, Op
from mailer.core.segment.values import WINDOW, Path, Values

DEPTH = 16  # of conditions in conditions: nobody reads deeper, and stacks end
VALUES = 10_000  # in one list: more belong into an import

_NOTHING = tree.All(parts=())  # stands where a problem was found
_ATTRIBUTE = re.compile(r"[^.\x00]{1,100}")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
TESTS = (*Op, "in", "exists", "starts", "contains")


def parse(name: str, document: Mapping[str, Any], *, file: str) -> tree.Segment:
    """Turn the document of a segment file into a segment.

    Raises Invalid with every problem, each with its key.
    """
    read = Values(file)
    rest = dict(document)
    describes = rest.pop("describes", None)
    if not isinstance(describes, str) or not describes.strip():
        read.wrong(("describes",), "missing: say in a line who these people are")
    excludes = read.texts(rest.pop("exclude", []), ("exclude",))
    if name in tree.BUILT_IN:
        read.wrong((), f'"{name}" is built in: give the file another name')
    if "sql" in rest:
        del rest["sql"]
        read.wrong(("sql",), "SQL is not read: write conditions (docs/segments.md)")
    when: Condition = _NOTHING
    if rest or not excludes:
        when = _condition(read, rest, ())
    if read.problems:
        raise errors.Invalid(read.problems)
    return tree.Segment(
        name=name,
        describes=str(describes),
        when=when,
        excludes=excludes,
        file=file,
        document=plain(document),
    )


def plain(value: Any) -> Any:
    """Return a document as JSON can hold it; `parse` reads that to the same segment."""
    match value:
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date():  # and datetime, which is one
            return value.isoformat()
        case _:
            return value


def _condition(read: Values, value: Any, path: Path) -> Condition:
    """Read a table; several conditions in one must all hold."""
    if not isinstance(value, Mapping):
        read.wrong(path, f"{errors.quote(value)}: write a condition, {{ … }}")
        return _NOTHING
    if sum(step in {"all", "any", "not"} for step in path) > DEPTH:
        read.wrong(path, f"nested more than {DEPTH} deep: make a segment of it")
        return _NOTHING
    parts: list[Condition] = []
    rest = dict(value)
    if "field" in rest:
        tests = {key: rest.pop(key) for key in TESTS if key in rest}
        parts.append(_field(read, rest.pop("field"), tests, path))
    for key, one in rest.items():
        if key in KINDS:
            parts.append(KINDS[key](read, one, (*path, key)))
        elif key in TESTS:
            read.wrong((*path, key), "it compares nothing: add field = …")
        else:
            known = {*KINDS, "field", *(TESTS if "field" in value else ())}
            known |= set() if path else {"describes", "exclude"}
            read.wrong((*path, str(key)), f"unknown key: {errors.nearest(key, known)}")
    if not value:
        read.wrong(path, f"no condition: {errors.nearest('', KINDS)}")
    return parts[0] if len(parts) == 1 else tree.All(parts=tuple(parts))


def _parts(read: Values, value: Any, path: Path) -> tuple[Condition, ...]:
    if not isinstance(value, list) or not value:
        read.wrong(path, f"{errors.quote(value)}: write conditions, [ {{ … }}, … ]")
        return ()
    return tuple(
        _condition(read, one, (*path, number)) for number, one in enumerate(value)
    )


def _within(read: Values, value: Any, path: Path) -> Condition:
    return tree.Within(segment=read.text(value, path))


def _provider(read: Values, value: Any, path: Path) -> Condition:
    return tree.OneOf(field="provider", values=read.names(value, path))


def _field(read: Values, name: Any, tests: Mapping[str, Any], path: Path) -> Condition:
    """Read what is asked of a column or an attribute."""
    name = _field_name(read, name, (*path, "field"))
    if not tests:
        read.wrong(path, f"no test: {errors.nearest('', TESTS)}")
    parts = [
        _test(read, name, key, value, (*path, key)) for key, value in tests.items()
    ]
    return parts[0] if len(parts) == 1 else tree.All(parts=tuple(parts))


def _field_name(read: Values, value: Any, path: Path) -> str:
    name = read.text(value, path)
    if name.startswith(tree.ATTRIBUTE):
        if not _ATTRIBUTE.fullmatch(name.removeprefix(tree.ATTRIBUTE)):
            read.wrong(path, f'{errors.quote(name)}: write "attributes.NAME"')
    elif name and name not in tree.FIELDS:
        meant = errors.nearest(name, {*tree.FIELDS, "attributes.NAME"})
        read.wrong(path, f"{errors.quote(name)} is no field: {meant}")
    return name


def _test(read: Values, field: str, key: str, value: Any, path: Path) -> Condition:
    match key:
        case "exists":
            known = tree.Known(field=field)
            return known if read.flag(value, path) else tree.Not(part=known)
        case "starts":
            return tree.Starts(field=field, text=read.text(value, path))
        case "contains":
            return tree.Contains(field=field, text=read.text(value, path))
        case "in":
            return _one_of(read, field, value, path)
        case "is":
            return _equal(read, field, value, path)
        case _:
            return _compared(read, field, Op(key), value, path)


def _one_of(read: Values, field: str, value: Any, path: Path) -> Condition:
    if not isinstance(value, list) or not value or len(value) > VALUES:
        message = f"{errors.quote(value)}: write 1 to {VALUES} values, [ … ]"
        read.wrong(path, message)
        return _NOTHING
    if all(isinstance(one, str) and not _is_day(field, one) for one in value):
        return tree.OneOf(field=field, values=read.texts(value, path))
    parts = (_equal(read, field, one, (*path, n)) for n, one in enumerate(value))
    return tree.Some(parts=tuple(parts))


def _equal(read: Values, field: str, value: Any, path: Path) -> Condition:
    if isinstance(value, bool):  # as an import writes it
        value = str(value).lower()
    if isinstance(value, str) and not _is_day(field, value):
        return tree.OneOf(field=field, values=(read.text(value, path),))
    return _compared(read, field, Op.IS, value, path)


def _is_day(field: str, value: str) -> bool:
    """Tell whether *value* is a day, as which JSON writes the dates of TOML."""
    if not field.startswith(tree.ATTRIBUTE) or not _ISO_DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _compared(read: Values, field: str, op: Op, value: Any, path: Path) -> Condition:
    if not field.startswith(tree.ATTRIBUTE):
        read.wrong(path, f"{field} is text: ask with is, in, starts or contains")
        return _NOTHING
    if isinstance(value, str) and _ISO_DATE.fullmatch(value):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            read.wrong(path, f"{errors.quote(value)} is no day")
            return _NOTHING
    if isinstance(value, date) and not isinstance(value, datetime):
        return tree.Compared(field=field, op=op, value=value)
    return tree.Compared(field=field, op=op, value=read.number(value, path))


def _donated(read: Values, value: Any, path: Path) -> Condition:
    measures = tuple(tree.Measure)
    known = (*measures, *WINDOW, "recurring")
    if isinstance(value, bool):
        return _whether(tree.Donated(), value)
    table = read.table(value, path, known)
    window = read.window(table, path)
    if "latest" in table and not window.is_always:
        read.wrong((*path, "latest"), "it needs no time: leave it or the time out")
    return tree.Donated(
        window=window,
        measures=tuple(
            (measure, bound)
            for measure in measures
            if measure in table
            for bound in read.bounds(table[measure], (*path, measure.value))
        ),
        recurring=(
            read.flag(table["recurring"], (*path, "recurring"))
            if "recurring" in table
            else None
        ),
    )


def _engaged(read: Values, value: Any, path: Path) -> Condition:
    reaction = tree.Reaction(str(path[-1]))
    if isinstance(value, bool):
        return _whether(tree.Engaged(reaction=reaction), value)
    table = read.table(value, path, (*WINDOW, "human", "blast", "count"))
    return tree.Engaged(
        reaction=reaction,
        window=read.window(table, path),
        human=read.flag(table.get("human", True), (*path, "human")),
        blasts=_blasts(read, table, path),
        counts=_counts(read, table, path),
    )


def _received(read: Values, value: Any, path: Path) -> Condition:
    if isinstance(value, bool):
        return _whether(tree.Received(), value)
    table = read.table(value, path, (*WINDOW, "blast", "count"))
    return tree.Received(
        window=read.window(table, path),
        blasts=_blasts(read, table, path),
        counts=_counts(read, table, path),
    )


def _signed_up(read: Values, value: Any, path: Path) -> Condition:
    table = read.table(value, path, WINDOW)
    if not table:
        read.wrong(path, "say when: within, since or before")
    return tree.SignedUp(window=read.window(table, path))


def _random(read: Values, value: Any, path: Path) -> Condition:
    table = read.table(value, path, ("percent", "above", "salt"))
    for key in ("percent", "salt"):
        if isinstance(value, Mapping) and key not in table:
            read.wrong((*path, key), "missing: it must be set")
    percent = read.number(table.get("percent", 100), (*path, "percent"))
    above = read.number(table.get("above", 0), (*path, "above"))
    if not (percent > 0 and above >= 0 and percent + above <= 100):
        read.wrong(path, "percent must be over 0, and with above at most 100")
    return tree.Random(
        percent=percent,
        above=above,
        salt=read.text(table.get("salt", "x"), (*path, "salt")),
    )


def _whether(condition: Condition, value: bool) -> Condition:
    """Read ``donated = false`` and its like."""
    return condition if value else tree.Not(part=condition)


def _blasts(read: Values, table: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    if "blast" not in table:
        return ()
    return read.names(table["blast"], (*path, "blast"))


def _counts(read: Values, table: Mapping[str, Any], path: Path) -> tuple[Bound, ...]:
    if "count" not in table:
        return ()
    return read.bounds(table["count"], (*path, "count"))


KINDS: dict[str, Callable[[Values, Any, Path], Condition]] = {
    "all": lambda read, value, path: tree.All(parts=_parts(read, value, path)),
    "any": lambda read, value, path: tree.Some(parts=_parts(read, value, path)),
    "not": lambda read, value, path: tree.Not(part=_condition(read, value, path)),
    "segment": _within,
    "provider": _provider,
    "signed_up": _signed_up,
    "donated": _donated,
    "opened": _engaged,
    "clicked": _engaged,
    "received": _received,
    "random": _random,
}
