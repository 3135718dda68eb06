"""The filters that mail needs: money, dates, addresses, all bounded."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import TemplateRuntimeError, Undefined
from markupsafe import Markup

LONGEST = 20_000  # characters that `replace` may make: chained, it explodes

# strftime takes widths (%1000000000Y): only these go through.
_DATE = re.compile(r"(?:[^%]|%-?[YmdBbAaHIMpZyjeS]|%%)*")
_SAFE_URL = re.compile(
    r"https://[a-z0-9.-]+(?::\d{1,5})?(?:[/?#][a-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*)?"
    r"|mailto:[a-z0-9\-._~@+?&=%]+|tel:[0-9+() -]+",
    re.IGNORECASE,
)


def money(value: Any) -> str:
    """Write an amount of dollars: ``$1,234``, or ``$12.50`` when it has cents."""
    amount = value if type(value) is Decimal else _number(value, "money")
    whole = int(amount)
    if amount == whole:
        return f"${whole:,}"
    return f"${amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def percent(value: Any, digits: int = 0) -> str:
    """Write a share of one: 0.25 is ``25%``."""
    return f"{_rounded(_number(value, 'percent') * 100, digits):f}%"


def round_half_up(value: Any, digits: int = 0) -> Decimal:
    """Round to *digits* places, halves up: what people expect of money."""
    return _rounded(_number(value, "round"), digits)


def integer(value: Any) -> int:
    """Cut a number, or text that is one, to a whole number."""
    _require(value)
    try:
        return int(Decimal(str(value)[:40]))
    except ArithmeticError as error:
        message = f"int: {str(value)[:40]!r} is no number"
        raise TemplateRuntimeError(message) from error


def date(value: Any, pattern: str = "%B %-d, %Y", zone: str | None = None) -> str:
    """Write an instant by strftime's *pattern*, in *zone* (an IANA name) if given."""
    _require(value)
    if not isinstance(value, datetime):
        message = f"date wants an instant, not {type(value).__name__}"
        raise TemplateRuntimeError(message)
    return _date(value, pattern, zone, str(value.tzinfo))


@lru_cache(maxsize=1024)  # a deadline is the same for everybody
def _date(value: datetime, pattern: str, zone: str | None, _own: str) -> str:
    # Instants of two zones may be equal and be written differently: hence `_own`.
    if not _DATE.fullmatch(pattern):
        message = f"date: {pattern!r} has a directive that is not offered"
        raise TemplateRuntimeError(message)
    if zone is not None:
        try:
            value = value.astimezone(ZoneInfo(zone))
        except (KeyError, ValueError, OSError) as error:
            message = f"date: {zone!r} is no time zone: write America/New_York"
            raise TemplateRuntimeError(message) from error
    return str(value.strftime(pattern))


def safe_url(value: Any) -> str:
    """Let an https, mailto or tel address through; anything else becomes ``#``."""
    _require(value)
    text = str(value).strip()
    return text if _SAFE_URL.fullmatch(text) else "#"


def replace(value: Any, old: str, new: str) -> str:
    """Replace text; the result stays short."""
    _require(value)
    text = value if isinstance(value, Markup) else str(value)
    if len(text) + text.count(old) * max(len(new) - len(old), 0) > LONGEST:
        message = f"replace makes more than {LONGEST} characters"
        raise TemplateRuntimeError(message)
    return text.replace(old, new)


def _require(value: Any) -> None:
    if isinstance(value, Undefined):
        str(value)  # raises, naming what is undefined


def _number(value: Any, what: str) -> Decimal:
    _require(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        message = f"{what} wants a number, not {type(value).__name__}"
        raise TemplateRuntimeError(message)
    if isinstance(value, float) and what == "money":
        message = "money wants a Decimal or a whole number: floats lose cents"
        raise TemplateRuntimeError(message)
    return Decimal(str(value))


def _rounded(value: Decimal, digits: int) -> Decimal:
    if not 0 <= digits <= 6:
        message = f"round to 0 to 6 places, not {digits}"
        raise TemplateRuntimeError(message)
    return value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


OURS = {
    "money": money,
    "percent": percent,
    "round": round_half_up,
    "int": integer,
    "date": date,
    "safe_url": safe_url,
    "replace": replace,
}
