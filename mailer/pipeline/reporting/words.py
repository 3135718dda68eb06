"""Figures as people read them: money, shares, intervals, subjects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from mailer.pipeline.reporting.figures import Arm, Range, Rate

UNKNOWN = "–"
_EXPRESSION = re.compile(r"\{\{[\s-]*([\w.]+)[^}]*\}\}")
_STATEMENT = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def subject(source: str) -> str:
    """Return a subject with ``[first_name]`` where one is filled in.

    What would steer a terminal is left out: whoever wrote it may be a stranger.
    """
    filled = _EXPRESSION.sub(r"[\1]", source)
    plain = "".join(char if char.isprintable() else " " for char in filled)
    return " ".join(_STATEMENT.sub("", plain).split())


def titles(arms: Sequence[Arm]) -> dict[str, str]:
    """Return what to call each variant: its subject, with its name if shared."""
    subjects = [subject(arm.subject) for arm in arms]
    return {
        arm.name: f"“{text}”" if subjects.count(text) == 1 else f"{arm.name} “{text}”"
        for arm, text in zip(arms, subjects, strict=True)
    }


def dollars(value: Decimal | float | None) -> str:
    """Return ``$412``, or ``$4.12`` below ten dollars."""
    if value is None:
        return UNKNOWN
    exact = Decimal(str(value))
    sign = "-" if exact < 0 else ""
    if 0 < abs(exact) < Decimal("0.005"):
        return f"{sign}<$0.01"
    places = Decimal("0.01") if 0 < abs(exact) < 10 else Decimal(1)
    return f"{sign}${abs(exact).quantize(places, ROUND_HALF_UP):,}"


def cents(value: Decimal | None) -> str:
    """Return ``$1,412.50``: money that was counted, not estimated."""
    if value is None:
        return UNKNOWN
    sign = "-" if value < 0 else ""
    return f"{sign}${abs(value).quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def money_range(value: Range | None) -> str:
    """Return ``$412 [380, 446]``."""
    if value is None:
        return UNKNOWN
    low, high = (dollars(end).removeprefix("$") for end in (value.low, value.high))
    return f"{dollars(value.value)} [{low}, {high}]"


def percent(share: float | None) -> str:
    """Return ``12.3%``, with more digits for small shares."""
    if share is None:
        return UNKNOWN
    value = 100 * share
    if value in {0, 100}:
        return f"{value:.0f}%"
    if abs(value) >= 10:
        return f"{value:.1f}%"
    return f"{value:.2f}%" if abs(value) >= 0.1 else f"{value:.3f}%"


def signed(ratio: float) -> str:
    """Return ``+12%`` or ``-3.4%``."""
    value = 100 * ratio
    return f"{value:+,.0f}%" if abs(value) >= 10 else f"{value:+.1f}%"


def sure(probability: float) -> str:
    """Return ``87%``; never 0 or 100: nothing here is certain."""
    value = 100 * probability
    if value > 99:
        return ">99%"
    return "<1%" if value < 1 else f"{value:.0f}%"


def rate(found: Rate | None) -> str:
    """Return ``1.23% [1.10, 1.37]``."""
    if found is None:
        return UNKNOWN
    low, high = (percent(end).removesuffix("%") for end in (found.low, found.high))
    return f"{percent(found.value)} [{low}, {high}]"


def count(value: int | None) -> str:
    """Return ``12,345``."""
    return UNKNOWN if value is None else f"{value:,}"


def duration(hours: float | None) -> str:
    """Return ``40 min``, ``3.5 h`` or ``6 days``."""
    if hours is None:
        return UNKNOWN
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"


def p_value(p: float) -> str:
    """Return ``p .03``."""
    if p < 0.001:
        return "p < .001"
    return "p 1" if p >= 0.995 else f"p {p:.3f}".replace("0.", ".", 1)
