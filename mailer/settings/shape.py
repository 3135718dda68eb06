"""The shapes of dataclasses, said to pydantic's engine."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic_core import CoreSchema, SchemaValidator
from pydantic_core import core_schema as cs

from mailer import errors
from mailer.core import provider

TAG = "~"  # begins the name of a union's member; no key of a person does


def validator(kind: type) -> SchemaValidator:
    """Return what turns plain values into a *kind*."""
    return SchemaValidator(_schema(kind))


def keys(kind: type, path: tuple[str | int, ...]) -> dict[str, bool]:
    """Return the keys that a *kind* knows at *path*: False where secret."""
    for step in path:
        kind = _member(kind, step)
    for one in _members(kind):
        if dataclasses.is_dataclass(one):
            return {
                _key(field): field.repr
                for field in dataclasses.fields(one)
                if field.init
            }
    return {}


def _member(kind: Any, step: str | int) -> Any:
    for one in _members(kind):
        if typing.get_origin(one) in {tuple, Mapping} and typing.get_args(one):
            return typing.get_args(one)[0 if isinstance(step, int) else -1]
        if dataclasses.is_dataclass(one):
            for field in dataclasses.fields(one):
                if _key(field) == step:
                    return typing.get_type_hints(one)[field.name]
    return object


def _members(kind: Any) -> list[Any]:
    """Return what a union joins, without None: TOML has no null."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return [one for one in typing.get_args(kind) if one is not type(None)]
    return [kind]


def _key(field: dataclasses.Field[Any]) -> str:
    """Return the field's name in a file: ``from_`` is ``from``."""
    return field.name.rstrip("_")


def _schema(kind: Any) -> CoreSchema:
    members = _members(kind)
    if len(members) > 1:
        return _union(members)
    (kind,) = members
    match typing.get_origin(kind), typing.get_args(kind):
        case (None, _):
            return _plain(kind)
        case (origin, (item, *_)) if origin is tuple:
            return _list(item)
        case (origin, (_, item)) if origin in {dict, Mapping}:
            return _mapping(item)
    message = f"no file holds a {kind}"
    raise TypeError(message)


def _plain(kind: Any) -> CoreSchema:
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind in _READERS:
        return cs.no_info_plain_validator_function(_READERS[kind])
    if hasattr(kind, "parse"):
        return cs.no_info_plain_validator_function(_text(kind.parse))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return cs.no_info_plain_validator_function(_choice(kind))
    if dataclasses.is_dataclass(kind):
        return _table(kind)
    message = f"no file holds a {kind}"
    raise TypeError(message)


def _table(kind: Any) -> CoreSchema:
    hints = typing.get_type_hints(kind)
    fields = {}
    names = {}
    for field in dataclasses.fields(kind):
        if not field.init or not field.repr:
            continue
        is_required = (
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        )
        names[_key(field)] = field.name
        fields[_key(field)] = cs.typed_dict_field(
            _schema(hints[field.name]), required=is_required
        )

    def made(values: dict[str, Any]) -> Any:
        return kind(**{names[key]: value for key, value in values.items()})

    return cs.no_info_after_validator_function(
        made, cs.typed_dict_schema(fields, extra_behavior="forbid")
    )


def _is_named(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and any(
        field.name == "name" for field in dataclasses.fields(kind)
    )


def _list(item: Any) -> CoreSchema:
    listed = cs.tuple_schema([_schema(item)], variadic_item_index=0)
    if not _is_named(item):
        return listed

    def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [value.name for value in values]
        for name in names:
            if names.count(name) > 1:
                message = f'two are named "{name}": give each its own name'
                raise ValueError(message)
        return values

    return cs.no_info_after_validator_function(unique, listed)


def _mapping(item: Any) -> CoreSchema:
    table = cs.dict_schema(cs.str_schema(), _schema(item))
    if not _is_named(item):
        return table

    def named(values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for key, value in values.items():
            if isinstance(value, Mapping) and "name" in value:
                message = f'leave "name" out: the table is named "{key}"'
                raise ValueError(message)
        return {
            key: {**value, "name": key} if isinstance(value, Mapping) else value
            for key, value in values.items()
        }

    return cs.no_info_before_validator_function(named, table)


def _union(members: list[Any]) -> CoreSchema:
    """Choose the member by what stands in the file: text, table, list or other."""
    choices: dict[str, CoreSchema] = {}
    for member in members:
        choices.setdefault(TAG + _sort(member), _schema(member))

    def tag(value: Any) -> str:
        sorts: dict[type, str] = {str: "text", dict: "table", list: "list"}
        sort = sorts.get(type(value), "other")
        return TAG + sort if TAG + sort in choices else next(iter(choices))

    return cs.tagged_union_schema(choices, tag)


def _sort(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return "list"
    if kind in {str, timedelta, ZoneInfo, Path} or hasattr(kind, "parse"):
        return "text"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "text"
    return "table" if dataclasses.is_dataclass(kind) else "other"


def _text(parsed: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Refuse what is no text, then let *parsed* read it."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            message = f"{errors.quote(value)}: write text in quotes"
            raise ValueError(message)  # noqa: TRY004 - pydantic collects these
        return parsed(value)

    return read


def _choice(kind: type[Enum]) -> Callable[[Any], Any]:
    words = {str(member.value): member for member in kind}

    def read(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return words[value]
        message = f"{errors.quote(value)}: {errors.nearest(value, words)}"
        raise ValueError(message)

    return read


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    message = (
        f"{errors.quote(value)}: write an instant with its offset from UTC, "
        "2026-12-31T23:59:59-05:00"
    )
    raise ValueError(message)


def _number(value: Any) -> float:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return float(value)
    message = f"{errors.quote(value)}: write a number"
    raise ValueError(message)


def _decimal(value: Any) -> Decimal:
    try:
        if isinstance(value, (int, str, Decimal)) and not isinstance(value, bool):
            return Decimal(value)
    except InvalidOperation:
        pass
    message = f"{errors.quote(value)}: write a number"
    raise ValueError(message)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f'"{text}" is no time zone: write "America/New_York"'
        raise ValueError(message) from None


_SIMPLE: dict[Any, CoreSchema] = {
    str: cs.str_schema(strict=True),
    int: cs.int_schema(strict=True),
    bool: cs.bool_schema(strict=True),
    Any: cs.any_schema(),
    object: cs.any_schema(),
}
_READERS: dict[Any, Callable[[Any], Any]] = {
    float: _number,
    Decimal: _decimal,
    datetime: _instant,
    timedelta: _text(provider.duration),
    ZoneInfo: _text(_zone),
    Path: _text(Path),
}
