"""How much to ask a person for: a ladder of amounts from what they gave before.

The order of the steps is that of Blackbaud's Dynamic Ask: base, not below the
minimum; times; plus percent; plus flat; rounded to the step, halves up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Protocol, assert_never

from mailer import errors


class Base(StrEnum):
    """Which gift a ladder starts from."""

    HIGHEST = "highest"
    LATEST = "latest"
    AVERAGE = "average"


class Giving(Protocol):
    """What a ladder needs to know of a person."""

    @property
    def count(self) -> int:
        """Number of gifts."""

    @property
    def sum(self) -> Decimal:
        """All gifts together."""

    @property
    def highest(self) -> Decimal | None:
        """The largest gift."""

    @property
    def latest(self) -> Decimal | None:
        """The last gift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a ladder is made.  Amounts are Decimal or whole: a float is refused."""

    base: Base = Base.HIGHEST
    multipliers: tuple[Decimal | int, ...] = (
        1, Decimal("1.5"), 2, 3, 5,
    )  # fmt: skip
    minimum: Decimal | int = 5
    percent: Decimal | int = 0  # 5 is five percent more
    flat: Decimal | int = 0
    step: Decimal | int = 5
    cap: Decimal | int | None = None
    # For people who never gave; when empty, the ladder starts from the minimum.
    fallback: tuple[Decimal | int, ...] = (3, 10, 25, 50, 100)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            for one in value if isinstance(value, tuple) else (value,):
                _refuse(field.name, one)
        if self.step <= 0:
            raise errors.Invalid(f"step is {self.step}: it must be above 0")


def ask(
    giving: Giving, rules: Rules | None = None, *, left: Decimal | int | None = None
) -> tuple[Decimal, ...]:
    """Return the amounts to ask for, rising, each once.

    *left* is what the legal limit still allows this person; with nothing left there
    is nothing to ask for, and the ladder is empty.
    """
    _refuse("left", left)
    rules = rules or LADDER
    base = _base(giving, rules.base)
    if base is None and rules.fallback:
        asks = [Decimal(one) for one in rules.fallback]
    else:
        start = max(base or Decimal(0), Decimal(rules.minimum))
        asks = [_rung(start, times, rules) for times in rules.multipliers]
    limits = [Decimal(one) for one in (rules.cap, left) if one is not None]
    within = {min([one, *limits]) for one in asks}
    return tuple(sorted(one for one in within if one > 0))


def _base(giving: Giving, base: Base) -> Decimal | None:
    if giving.count <= 0:
        return None
    match base:
        case Base.HIGHEST:
            found = giving.highest
        case Base.LATEST:
            found = giving.latest
        case Base.AVERAGE:
            found = giving.sum / giving.count
        case _:
            assert_never(base)
    _refuse(base.value, found)
    return found


def _rung(start: Decimal, times: Decimal | int, rules: Rules) -> Decimal:
    wished = start * times * (1 + Decimal(rules.percent) / 100) + rules.flat
    steps = (wished / rules.step).to_integral_value(ROUND_HALF_UP)
    # At least one step: nobody is asked for nothing.
    return max(steps, Decimal(1)) * rules.step


def _refuse(name: str, value: object) -> None:
    """Refuse a float, which loses cents, and what is no amount."""
    if isinstance(value, (float, bool)):
        raise errors.Invalid(f"{name} is the float {value!r}: write a Decimal")
    if isinstance(value, Decimal) and not value.is_finite():
        raise errors.Invalid(f"{name} is {value}: no amount")
    if isinstance(value, (int, Decimal)) and value < 0:
        raise errors.Invalid(f"{name} is {value}: it can't be negative")


LADDER = Rules()  # where nobody said otherwise
