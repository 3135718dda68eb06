"""What the columns of a file of people mean, and how their cells are read.

Header names are those that CRMs and fundraising platforms export.  A name that
nobody knows becomes an attribute, under its slug.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from zoneinfo import available_timezones

from mailer import errors
from mailer.core import provider, subscriber
from mailer.errors import Problem

MAX_CELL = 2000  # characters; longer is an essay, or a row that slipped
MAX_MONEY = Decimal("9999999999.99")  # giving keeps numeric(12, 2)
MAX_COUNT = 1_000_000

IGNORED = frozenset({"-", "ignore"})  # what --map says of a column that is left out


class Field(StrEnum):
    """What we know of everybody."""

    EMAIL = "email"
    FIRST_NAME = "first_name"
    LAST_NAME = "last_name"
    STREET = "street"
    CITY = "city"
    STATE = "state"
    ZIP = "zip"
    COUNTRY = "country"
    TIME_ZONE = "time_zone"
    LANGUAGE = "language"
    SIGNED_UP_AT = "signed_up_at"
    GIFT_COUNT = "gift_count"
    GIFT_SUM = "gift_sum"
    HIGHEST_GIFT = "highest_gift"
    LATEST_GIFT = "latest_gift"
    LATEST_GIFT_AT = "latest_gift_at"
    RECURRING = "recurring"


# Slugs of header names beside the field's own.
SYNONYMS: Mapping[str, Field] = {
    slug: field
    for field, slugs in {
        Field.EMAIL: "e_mail email_address e_mail_address emailaddress mail "
        "primary_email contact_email",
        Field.FIRST_NAME: "first firstname given_name givenname forename fname "
        "donor_first_name",
        Field.LAST_NAME: "last lastname surname family_name familyname lname "
        "donor_last_name",
        Field.STREET: "address street_address address1 address_1 address_line_1 "
        "addr1 mailing_address mailing_street donor_addr1 primary_address1",
        Field.CITY: "town primary_city mailing_city donor_city",
        Field.STATE: "region province primary_state mailing_state donor_state "
        "state_province",
        Field.ZIP: "zip_code zipcode postal_code postalcode post_code postcode zip5 "
        "primary_zip mailing_zip donor_zip",
        Field.COUNTRY: "country_code primary_country mailing_country donor_country",
        Field.TIME_ZONE: "timezone tz",
        Field.LANGUAGE: "lang locale preferred_language",
        Field.SIGNED_UP_AT: "signup_date sign_up_date signup_at signed_up "
        "date_joined joined_at created_at date_created subscribed_at opt_in_date",
        Field.GIFT_COUNT: "gifts number_of_gifts donation_count donations "
        "contribution_count number_of_contributions",
        Field.GIFT_SUM: "total_given total_gifts gift_total lifetime_giving "
        "donation_sum total_donations total_contributions total_amount_given "
        "sum_given",
        Field.HIGHEST_GIFT: "highest_previous_contribution hpc largest_gift max_gift "
        "highest_donation largest_donation highest_contribution "
        "largest_contribution",
        Field.LATEST_GIFT: "last_gift last_gift_amount most_recent_gift "
        "most_recent_contribution mrc last_donation last_contribution "
        "latest_gift_amount last_donation_amount latest_donation",
        Field.LATEST_GIFT_AT: "last_gift_date last_gift_at latest_gift_date "
        "most_recent_gift_date last_donation_date last_contribution_date "
        "most_recent_contribution_date",
        Field.RECURRING: "is_recurring recurring_donor monthly_donor sustainer monthly",
    }.items()
    for slug in (str(field), *slugs.split())
}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the rows of one file are read."""

    width: int  # cells in the header
    email: int  # where the address stands
    fields: tuple[tuple[int, Field], ...]  # the other known columns
    attributes: tuple[tuple[int, str], ...]
    ignored: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the cells that `person` returns."""
        known = tuple(str(field) for _, field in self.fields)
        attributes = ("attributes",) if self.attributes else ()
        return ("address", "email", "domain", "provider", *known, *attributes)


class Refused(errors.Invalid):
    """A row cannot be used: the value to look at, and why."""

    def __init__(self, value: str, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason


def slug(name: str) -> str:
    """Return a header as a name that templates can use: ``Ward #`` is ``ward``."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    found = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]
    return f"column_{found}" if found[:1].isdigit() else found


def plan(
    header: Sequence[str], *, overrides: Mapping[str, str], file: str, line: int = 1
) -> Plan:
    """Decide what each column of *header* is.  Raises Invalid with every problem."""
    problems = [
        Problem(file=file, line=line, message=message)
        for message in _strange(header, overrides)
    ]
    meanings: dict[str, list[int]] = {}
    ignored = []
    for index, name in enumerate(header):
        meaning = _meaning(name, overrides)
        if meaning is None:
            ignored.append(name)
        else:
            meanings.setdefault(meaning, []).append(index)
    for meaning, indexes in meanings.items():
        if len(indexes) > 1:
            names = " and ".join(errors.quote(header[index]) for index in indexes)
            message = f'{names} are both {meaning}: say --map "{header[indexes[1]]}=-"'
            problems.append(Problem(file=file, line=line, message=message))
    if Field.EMAIL not in meanings:
        message = (
            f"no column with addresses among {', '.join(map(errors.quote, header))}: "
            'say --map "Column=email"'
        )
        problems.append(Problem(file=file, line=line, message=message))
    if problems:
        raise errors.Invalid(problems)
    return Plan(
        width=len(header),
        email=meanings.pop(Field.EMAIL)[0],
        fields=tuple(
            (indexes[0], Field(meaning))
            for meaning, indexes in meanings.items()
            if meaning in SYNONYMS
        ),
        attributes=tuple(
            (indexes[0], meaning)
            for meaning, indexes in meanings.items()
            if meaning not in SYNONYMS
        ),
        ignored=tuple(ignored),
    )


def _strange(header: Sequence[str], overrides: Mapping[str, str]) -> Iterable[str]:
    """Yield what is wrong with the header itself and with what --map says."""
    if any("\0" in name for name in header):
        yield "the header holds NUL: save the file as CSV UTF-8"
    for name, meaning in overrides.items():
        if name not in header:
            yield f"no column {errors.quote(name)}: {errors.nearest(name, header)}"
        if meaning not in IGNORED and not slug(meaning):
            yield f"--map {name}={meaning}: {errors.nearest(meaning, Field)}"


def _meaning(name: str, overrides: Mapping[str, str]) -> str | None:
    """Return the field or attribute that a column is, or None to leave it out."""
    if name in overrides:
        wanted = overrides[name].strip()
        return None if wanted in IGNORED else SYNONYMS.get(slug(wanted), slug(wanted))
    found = slug(name)
    return SYNONYMS.get(found, found) or None


def person(plan: Plan, row: Sequence[str], hints: Mapping[str, str]) -> list[str]:
    """Read one row: the cells that `Plan.names` names, "" where unknown.

    Raises Refused.
    """
    if len(row) != plan.width:
        reason = f"{len(row)} cells, the header has {plan.width}"
        raise Refused(",".join(row)[:200], reason)
    value = row[plan.email]
    text = "".join(row)
    try:
        email, address, domain = subscriber.parts(value)
        if not text.isprintable() or len(text) > MAX_CELL:
            row = [_clean(cell) for cell in row]
        cells = [address, email, domain, hints.get(domain, provider.OTHER)]
        for index, field in plan.fields:
            value = row[index]
            cells.append(_READ[field](value) if value else "")
    except errors.Invalid as error:
        raise Refused(value[:200], _reason(value, error)) from error
    if plan.attributes:
        known = {name: row[index].strip() for index, name in plan.attributes}
        kept = {name: value for name, value in known.items() if value}
        cells.append(json.dumps(kept, ensure_ascii=False) if kept else "")
    return cells


def merge(plan: Plan, older: Sequence[str], newer: Sequence[str]) -> list[str]:
    """Join two rows about one person: the newer wins where it knows anything."""
    cells = [new or old for old, new in zip(older, newer, strict=True)]
    if plan.attributes and older[-1] and newer[-1]:
        both = json.loads(older[-1]) | json.loads(newer[-1])
        cells[-1] = json.dumps(both, ensure_ascii=False)
    return cells


def _reason(value: str, error: errors.Invalid) -> str:
    """Say why, also when there is nothing to complain about."""
    return str(error) if value.strip() else "no address"


def _clean(cell: str) -> str:
    """Make one line of a cell, without characters that nobody sees.

    Bidirectional controls would make a name read as another; the joiners are
    letters of Persian and Hindi.  Raises Invalid.
    """
    if "\0" in cell:
        raise errors.Invalid("the row holds NUL")
    if len(cell) > MAX_CELL:
        raise errors.Invalid(f"a cell is longer than {MAX_CELL:,} characters")
    return "".join(
        character
        for character in " ".join(cell.split())
        if character in "\u200c\u200d"
        or unicodedata.category(character) not in {"Cc", "Cf"}
    )


def _state(cell: str) -> str:
    """Return codes of two letters in capitals, everything else as it is."""
    text = cell.strip()
    return text.upper() if len(text) == 2 else text  # USPS


@lru_cache(maxsize=1024)
def _time_zone(cell: str) -> str:
    """Return an IANA name."""
    text = cell.strip()
    found = _ZONES.get(text.lower(), text)
    if found and found not in _zones():
        message = f"{errors.quote(text)} is no time zone: write America/Chicago"
        raise errors.Invalid(message)
    return found


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def _language(cell: str) -> str:
    """Return a BCP 47 tag."""
    text = cell.strip().replace("_", "-")
    found = _LANGUAGES.get(text.lower(), text)
    if found and not _LANGUAGE.fullmatch(found):
        raise errors.Invalid(f"{errors.quote(text)} is no language: write en or es-MX")
    return found


@lru_cache(maxsize=1 << 16)
def instant(cell: str) -> str:
    """Return ISO 8601 with an offset; a time without one is UTC."""
    text = cell.strip()
    if not text:
        return ""
    american = _US_DATE.fullmatch(text)
    if american:
        month, day, year, time = american.groups()
        text = f"{year}-{month:0>2}-{day:0>2}T{(time or '00:00').rjust(5, '0')}"
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        message = f"{errors.quote(cell)} is no date: write 2026-11-03 or 11/03/2026"
        raise errors.Invalid(message) from error


@lru_cache(maxsize=1 << 16)
def _money(cell: str) -> str:
    """Return an amount with two places.  No float touches it."""
    text = cell.strip()
    if not text:
        return ""
    match = _MONEY.fullmatch(text)
    if match is not None and (match[1] or match[2]):
        amount = Decimal((match[1] or "0").replace(",", "") + (match[2] or ""))
        if amount <= MAX_MONEY and amount == round(amount, 2):
            return f"{amount:.2f}"
    message = f"{errors.quote(cell)} is no amount: write 25, 25.50 or $1,250.00"
    raise errors.Invalid(message)


@lru_cache(maxsize=4096)
def _count(cell: str) -> str:
    """Return a whole number; spreadsheets write 3 as 3.0 too."""
    text = cell.strip().removesuffix(".0").replace(",", "")
    if text and not (text.isascii() and text.isdigit() and int(text) <= MAX_COUNT):
        raise errors.Invalid(f"{errors.quote(cell)} is no number of gifts: write 3")
    return text


@lru_cache(maxsize=1024)
def _boolean(cell: str) -> str:
    """Return true or false."""
    text = cell.strip().lower()
    if text and text not in _TRUE | _FALSE:
        raise errors.Invalid(f"{errors.quote(cell)} is neither yes nor no")
    return ("true" if text in _TRUE else "false") if text else ""


_WORDS = (
    Field.FIRST_NAME,
    Field.LAST_NAME,
    Field.STREET,
    Field.CITY,
    Field.ZIP,
    Field.COUNTRY,
)
_READ: Mapping[Field, Callable[[str], str]] = {
    **dict.fromkeys(
        _WORDS,
        str.strip,
    ),
    Field.STATE: _state,
    Field.TIME_ZONE: _time_zone,
    Field.LANGUAGE: _language,
    Field.SIGNED_UP_AT: instant,
    Field.GIFT_COUNT: _count,
    Field.GIFT_SUM: _money,
    Field.HIGHEST_GIFT: _money,
    Field.LATEST_GIFT: _money,
    Field.LATEST_GIFT_AT: instant,
    Field.RECURRING: _boolean,
}
