"""What the columns of a file of people mean, and how their cells are read.

Header names are those that CRMs and fundraising platforms export.  A name that
nobody knows becomes an attribute, under its slug.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from json.encoder import encode_basestring

from mailer import errors
from mailer.core import cell, provider, subscriber
from mailer.errors import Problem

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the rows of one file are read."""

    width: int  # cells in the header
    email: int  # where the address stands
    words: tuple[int, ...]  # columns that are taken as they are
    read: tuple[tuple[int, cell.Reader], ...]  # columns that are looked at
    attributes: tuple[tuple[int, str], ...]
    names: tuple[str, ...]  # of the cells that `person` returns
    meanings: Mapping[str, str]  # header → what it was taken for, to be shown


class Refused(errors.Invalid):
    """A row cannot be used: the value to look at, and why."""

    def __init__(self, value: str, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason


def slug(name: str) -> str:
    """Return a header as a name that templates can use: ``Ward #`` is ``ward``."""
    text = unicodedata.normalize("NFKD", name.casefold())
    found = re.sub(r"[^a-z0-9]+", "_", text.encode("ascii", "ignore").decode()).strip(
        "_"
    )[:60]
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
    for index, name in enumerate(header):
        meaning = _meaning(name, overrides)
        if meaning is not None:
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
    return _plan(header, {name: where[0] for name, where in meanings.items()})


def _plan(header: Sequence[str], found: Mapping[str, int]) -> Plan:
    """Sort the columns by how their cells are read, once for all rows."""
    known = {Field(name): index for name, index in found.items() if name in SYNONYMS}
    words = {field: known[field] for field in known if field in _WORDS}
    read = {field: known[field] for field in known if field in _READ}
    attributes = {name: index for name, index in found.items() if name not in SYNONYMS}
    return Plan(
        width=len(header),
        email=known[Field.EMAIL],
        words=tuple(words.values()),
        read=tuple((index, _READ[field]) for field, index in read.items()),
        attributes=tuple((index, f'"{name}": ') for name, index in attributes.items()),
        names=(
            *("address", "email", "domain", "provider"),
            *map(str, words),
            *map(str, read),
            *(["attributes"] if attributes else []),
        ),
        meanings={
            header[index]: name if name in SYNONYMS else f"attribute {name}"
            for name, index in found.items()
        },
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
        if not text.isprintable() or len(text) > cell.MAX_LENGTH:
            row = list(map(cell.clean, row))
        row = list(map(str.strip, row))
        cells = [address, email, domain, hints.get(domain, provider.OTHER)]
        cells += [row[index] for index in plan.words]
        for index, read in plan.read:
            value = row[index]
            cells.append(read(value) if value else "")
    except errors.Invalid as error:
        raise Refused(value[:200], _reason(value, error)) from error
    if plan.attributes:
        cells.append(_object(plan, row))
    return cells


def _object(plan: Plan, row: Sequence[str]) -> str:
    """Write the attributes of a row as JSON; json.dumps takes ten times as long."""
    members = [
        name + encode_basestring(row[index])
        for index, name in plan.attributes
        if row[index]
    ]
    return "{" + ", ".join(members) + "}" if members else ""


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


_WORDS = (
    Field.FIRST_NAME,
    Field.LAST_NAME,
    Field.STREET,
    Field.CITY,
    Field.ZIP,
    Field.COUNTRY,
)
_READ: Mapping[Field, cell.Reader] = {
    Field.STATE: cell.state,
    Field.TIME_ZONE: cell.time_zone,
    Field.LANGUAGE: cell.language,
    Field.SIGNED_UP_AT: cell.instant,
    Field.GIFT_COUNT: cell.count,
    Field.GIFT_SUM: cell.money,
    Field.HIGHEST_GIFT: cell.money,
    Field.LATEST_GIFT: cell.money,
    Field.LATEST_GIFT_AT: cell.instant,
    Field.RECURRING: cell.boolean,
}
