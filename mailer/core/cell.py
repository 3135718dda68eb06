"""The cells of a file of people: what strangers write, as what we keep.

Each reader takes a stripped cell that is not empty, and returns the text that
PostgreSQL reads, or raises Invalid with what would be right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import available_timezones

from mailer import errors

Reader = Callable[[str], str]

MAX_LENGTH = 2000  # characters; longer is an essay, or a row that slipped
MAX_MONEY = Decimal("9999999999.99")  # giving keeps numeric(12, 2)
MAX_COUNT = 1_000_000

# What people write for the zones of the United States.
_ZONES = {
    "eastern": "America/New_York", "et": "America/New_York",
    "est": "America/New_York", "edt": "America/New_York",
    "central": "America/Chicago", "ct": "America/Chicago",
    "cst": "America/Chicago", "cdt": "America/Chicago",
    "mountain": "America/Denver", "mt": "America/Denver",
    "mst": "America/Denver", "mdt": "America/Denver",
    "pacific": "America/Los_Angeles", "pt": "America/Los_Angeles",
    "pst": "America/Los_Angeles", "pdt": "America/Los_Angeles",
    "alaska": "America/Anchorage", "hawaii": "Pacific/Honolulu",
}  # fmt: skip
_LANGUAGES = {"english": "en", "spanish": "es", "español": "es", "espanol": "es"}
_TRUE = frozenset({"true", "t", "yes", "y", "1", "x"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")  # BCP 47, in outline
_MONEY = re.compile(r"\$?\s?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,14})?(\.[0-9]{1,4})?")
_US_DATE = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})(?:\s+([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?))?"
)


def clean(text: str) -> str:
    """Make one line of a cell, without characters that nobody sees.

    Bidirectional controls would make a name read as another; the joiners are
    letters of Persian and Hindi.  Raises Invalid.
    """
    if "\0" in text:
        raise errors.Invalid("the row holds NUL")
    if len(text) > MAX_LENGTH:
        raise errors.Invalid(f"a cell is longer than {MAX_LENGTH:,} characters")
    return "".join(
        character
        for character in " ".join(text.split())
        if character in "\u200c\u200d"
        or unicodedata.category(character) not in {"Cc", "Cf"}
    )


@lru_cache(maxsize=1024)
def state(text: str) -> str:
    """Return codes of two letters in capitals, everything else as it is."""
    return text.upper() if len(text) == 2 else text  # USPS


@lru_cache(maxsize=1024)
def time_zone(text: str) -> str:
    """Return an IANA name."""
    found = _ZONES.get(text.lower(), text)
    if found not in _zones():
        message = f"{errors.quote(text)} is no time zone: write America/Chicago"
        raise errors.Invalid(message)
    return found


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def language(text: str) -> str:
    """Return a BCP 47 tag."""
    text = text.replace("_", "-")
    found = _LANGUAGES.get(text.lower(), text)
    if not _LANGUAGE.fullmatch(found):
        raise errors.Invalid(f"{errors.quote(text)} is no language: write en or es-MX")
    return found


def instant(text: str) -> str:
    """Return ISO 8601 with an offset; a time without one is UTC."""
    american = _US_DATE.fullmatch(text)
    iso = text
    if american:
        month, day, year, time = american.groups()
        iso = f"{year}-{month:0>2}-{day:0>2}T{(time or '00:00').rjust(5, '0')}"
    try:
        found = datetime.fromisoformat(iso)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        if found.tzinfo is not UTC:  # PostgreSQL takes no offset beyond 15:59
            found = found.astimezone(UTC)
        return found.isoformat()
    except (ValueError, OverflowError) as error:
        message = f"{errors.quote(text)} is no date: write 2026-11-03 or 11/03/2026"
        raise errors.Invalid(message) from error


@lru_cache(maxsize=4096)
def money(text: str) -> str:
    """Return an amount with two places.  No float touches it."""
    match = _MONEY.fullmatch(text)
    if match is not None and (match[1] or match[2]):
        amount = Decimal((match[1] or "0").replace(",", "") + (match[2] or ""))
        if amount <= MAX_MONEY and amount == round(amount, 2):
            return f"{amount:.2f}"
    message = f"{errors.quote(text)} is no amount: write 25, 25.50 or $1,250.00"
    raise errors.Invalid(message)


@lru_cache(maxsize=4096)
def count(text: str) -> str:
    """Return a whole number; spreadsheets write 3 as 3.0 too."""
    whole = text.removesuffix(".0").replace(",", "")
    if not (whole.isascii() and whole.isdigit() and int(whole) <= MAX_COUNT):
        raise errors.Invalid(f"{errors.quote(text)} is no number of gifts: write 3")
    return whole


@lru_cache(maxsize=1024)
def boolean(text: str) -> str:
    """Return true or false."""
    text = text.lower()
    if text not in _TRUE | _FALSE:
        raise errors.Invalid(f"{errors.quote(text)} is neither yes nor no")
    return "true" if text in _TRUE else "false"
