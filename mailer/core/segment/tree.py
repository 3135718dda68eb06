"""What a segment is: a named tree of conditions on one person, from a closed list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from mailer import errors

EVERYONE = "everyone"  # the built-in segment

# The columns of `subscriber` that a segment may ask about; all of them are text.
FIELDS = (
    "address", "city", "country", "domain", "email", "first_name", "language",
    "last_name", "provider", "state", "street", "time_zone", "zip",
)  # fmt: skip
ATTRIBUTE = "attributes."  # begins the name of a field of one's own


class Op(StrEnum):
    """How a value is compared."""

    IS = "is"
    GTE = "gte"
    GT = "gt"
    LTE = "lte"
    LT = "lt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A number to compare with."""

    op: Op
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time: from *since* on, and earlier than *before*.

    A duration counts back from now.
    """

    since: timedelta | datetime | None = None
    before: timedelta | datetime | None = None

    @property
    def is_always(self) -> bool:
        """Tell whether it leaves no time out."""
        return self.since is None and self.before is None


ALWAYS = Window()


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """Every part holds; so an empty one holds for everyone."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Some:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The part does not hold: a true complement, the unknown included."""

    part: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """The field is one of these texts."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The field is set, and not empty."""

    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The field begins with a text."""

    field: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contains:
    """The field has a text in it."""

    field: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The attribute is a number or a date, and compares so."""

    field: str
    op: Op
    value: Decimal | date


class Measure(StrEnum):
    """What of a person's gifts is measured."""

    COUNT = "count"
    SUM = "sum"
    HIGHEST = "highest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Donated:
    """Gave, in the window, as the measures say.

    Gifts with a date are those that webhooks told (without what was refunded) and
    the latest one of an import; without a window the totals of an import count too.
    """

    window: Window = ALWAYS
    measures: tuple[tuple[Measure, Bound], ...] = ()
    recurring: bool | None = None


class Reaction(StrEnum):
    """What a person did with a message."""

    OPENED = "opened"
    CLICKED = "clicked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engaged:
    """Reacted to a blast; of each blast the first and the last time are known.

    *counts* compares the number of blasts.  Events by machines count only when
    *human* is false.
    """

    reaction: Reaction
    window: Window = ALWAYS
    human: bool = True
    blasts: tuple[str, ...] = ()
    counts: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Was sent a blast: the provider took it."""

    window: Window = ALWAYS
    blasts: tuple[str, ...] = ()
    counts: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUp:
    """Joined in the window."""

    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """Is in a share of everyone that is the same for the same salt, always."""

    percent: Decimal
    above: Decimal = Decimal(0)  # percent of everyone that are passed over
    salt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Is in another segment."""

    segment: str


Condition = (
    All | Some | Not | OneOf | Known | Starts | Contains | Compared
    | Donated | Engaged | Received | SignedUp | Random | Within
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named definition of who."""

    name: str
    describes: str
    when: Condition
    excludes: tuple[str, ...] = ()
    file: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def condition(self) -> Condition:
        """Return who is in it, exclusions included."""
        if not self.excludes:
            return self.when
        return All(parts=(self.when, *map(outside, self.excludes)))


def outside(name: str) -> Condition:
    """Return the condition of not being in the segment *name*."""
    return Not(part=Within(segment=name))


BUILT_IN: Mapping[str, Segment] = {
    EVERYONE: Segment(name=EVERYONE, describes="Everyone", when=All(parts=()))
}


def get(name: str, segments: Mapping[str, Segment]) -> Segment:
    """Return the segment *name*.  NotFound names the nearest one."""
    found = segments.get(name) or BUILT_IN.get(name)
    if found is None:
        meant = errors.nearest(name, {*segments, *BUILT_IN})
        message = f"there is no segment {errors.quote(name)}: {meant}"
        raise errors.NotFound(message)
    return found


def needs(condition: Condition) -> Iterator[str]:
    """Yield the names of the segments that *condition* refers to."""
    match condition:
        case Within(segment=name):
            yield name
        case Not(part=part):
            yield from needs(part)
        case All(parts=parts) | Some(parts=parts):
            for part in parts:
                yield from needs(part)
        case _:
            return


def closure(
    names: Iterable[str], segments: Mapping[str, Segment]
) -> dict[str, Segment]:
    """Return the segments *names* and every one that they refer to.

    Raises NotFound for a name that does not exist, Invalid for a reference that
    leads nowhere or in a circle.
    """
    found: dict[str, Segment] = {}
    problems: list[errors.Problem] = []
    for name in names:
        _walk(get(name, segments), segments, found, problems, ())
    if problems:
        raise errors.Invalid(problems)
    return found


def check(segments: Mapping[str, Segment]) -> None:
    """Follow every reference.  Raises Invalid with each wrong one and each circle."""
    closure(segments, segments)


def _walk(
    segment: Segment,
    segments: Mapping[str, Segment],
    found: dict[str, Segment],
    problems: list[errors.Problem],
    path: tuple[str, ...],
) -> None:
    """Visit *segment* once, and what it refers to; *path* led here."""
    if segment.name in path:
        circle = (*path[path.index(segment.name) :], segment.name)
        message = f"segments go in a circle: {' → '.join(circle)}"
        problems.append(errors.Problem(file=segment.file, message=message))
        return
    if segment.name in found:
        return
    for name in needs(segment.condition):
        try:
            other = get(name, segments)
        except errors.NotFound as error:
            key = "exclude" if name in segment.excludes else None
            problems.append(
                errors.Problem(file=segment.file, key=key, message=str(error))
            )
            continue
        _walk(other, segments, found, problems, (*path, segment.name))
    found[segment.name] = segment
