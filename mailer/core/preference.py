"""What a person chooses about our mail: topics, how often, a pause, another address.

A form and a record of the spool say the same; both are hostile until they are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mailer import errors

EVERY = (7, 30)  # days that may lie between two messages; 0 is no limit
PAUSES = (14, 30, 90)  # days; 0 ends a pause
MAX_EMAIL = 254  # octets, RFC 5321 §4.5.3.1 with the path's brackets off

_TOPIC = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Mode(StrEnum):
    """How much of what a person does with a message is kept."""

    FULL = "full"  # who opened and clicked
    AGGREGATE = "aggregate"  # how many did
    OFF = "off"  # nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person chose; None leaves a thing as it is."""

    topics: Mapping[str, bool] = field(default_factory=dict)  # wanted or not
    none: bool = False  # nothing of us any more
    every: int | None = None  # days
    pause: int | None = None  # days
    tracking: Mode | None = None
    email: str | None = None  # the address that it shall be


def parse(form: Mapping[str, str], *, topics: tuple[str, ...]) -> Choice:
    """Read the form of the page that showed *topics*.  Raises Invalid.

    A box that is not ticked is not sent: of the topics shown, those are unwanted.
    """
    if form.get("none"):
        return Choice(none=True)
    shown = [name for name in form.get("shown", "").split() if name in topics]
    return Choice(
        topics={name: f"topic-{name}" in form for name in shown},
        every=_days(form, "every", EVERY),
        pause=_days(form, "pause", PAUSES),
        tracking=_mode(form.get("tracking", "")),
        email=form.get("email", "").strip()[: MAX_EMAIL + 1] or None,
    )


def _days(form: Mapping[str, str], name: str, known: tuple[int, ...]) -> int | None:
    text = form.get(name, "")
    if not text:
        return None
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if days and days not in known:
        raise errors.Invalid(f"{name}: one of {', '.join(map(str, known))} days, or 0")
    return days


def _mode(text: str) -> Mode | None:
    if not text:
        return None
    try:
        return Mode(text)
    except ValueError as error:
        message = f"tracking: one of {', '.join(Mode)}"
        raise errors.Invalid(message) from error


def as_json(choice: Choice) -> dict[str, Any]:
    """Return *choice* as a record of the spool holds it."""
    return {
        name: value
        for name, value in (
            ("topics", dict(choice.topics)),
            ("none", choice.none),
            ("every", choice.every),
            ("pause", choice.pause),
            ("tracking", choice.tracking),
            ("email", choice.email),
        )
        if value not in ({}, False, None) or (value == 0 and value is not False)
    }


def from_json(value: Mapping[str, Any]) -> Choice:
    """Read what `as_json` wrote.  Raises Invalid on anything else."""
    try:
        topics = {
            str(name): bool(wanted)
            for name, wanted in value.get("topics", {}).items()
            if _TOPIC.fullmatch(name)
        }
        tracking = value.get("tracking")
        return Choice(
            topics=topics,
            none=bool(value.get("none", False)),
            every=_known(value.get("every"), EVERY),
            pause=_known(value.get("pause"), PAUSES),
            tracking=None if tracking is None else Mode(tracking),
            email=None if value.get("email") is None else str(value["email"]),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise errors.Invalid("no choice of a person") from error


def _known(value: object, known: tuple[int, ...]) -> int | None:
    if value is None:
        return None
    if value != 0 and value not in known:
        raise ValueError
    assert isinstance(value, int)
    return value


def masked(email: str) -> str:
    """Return *email* so that its owner knows it, and whom it was forwarded to not."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"
