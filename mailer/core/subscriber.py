"""A person with an address: what is known about them, and how addresses compare.

Addresses follow RFC 5321 and 6531 as email-validator reads them, IDNA 2008 and
UTS #46 for domains.  Plus tags and dots belong to the address and are kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import email_validator

from mailer import errors
from mailer.core.delivery import SubscriberId
from mailer.core.preference import Mode

MAX_INPUT = 1000  # characters looked at; RFC 5321 §4.5.3.1 allows 254 octets

# What spreadsheets and web forms leave round an address.  CR and LF are no such edge.
_EDGES = " \t\xa0\u200b\ufeff"

_ATEXT = r"[A-Za-z0-9_!#$%&'*+/=?^`{|}~-]"  # RFC 5322 §3.2.3
_LOCAL = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123 §2.1
_HOST = re.compile(rf"(?:{_LABEL}\.)+[A-Za-z]{{2,63}}")
_LOCAL_LENGTH = 64  # RFC 5321 §4.5.3.1.1
_HOST_LENGTH = 189  # with the longest local part and the @ it makes 254

# Left to email-validator, which refuses special-use names (RFC 6761) and writes
# the mailboxes of RFC 2142 in lower case.
_SPECIAL = (".arpa", ".invalid", ".local", ".localhost", ".onion")
_ROLES = frozenset(
    [
        "info",
        "marketing",
        "sales",
        "support",
        "abuse",
        "noc",
        "security",
        "postmaster",
        "hostmaster",
        "usenet",
        "news",
        "webmaster",
        "www",
        "uucp",
        "ftp",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address in the three forms that we keep."""

    email: str  # as it is written on an envelope; domain as A-label
    address: str  # for comparison: lower case
    domain: str  # A-label, lower case

    @property
    def needs_smtputf8(self) -> bool:
        """Tell whether only servers that offer SMTPUTF8 (RFC 6531) can take it."""
        return not self.email.isascii()


@dataclass(frozen=True, slots=True, kw_only=True)
class Giving:
    """What a person has given: history from imports, and what the hooks told."""

    count: int = 0
    sum: Decimal = Decimal(0)
    highest: Decimal | None = None
    latest: Decimal | None = None
    latest_at: datetime | None = None
    recurring: bool = False


NO_GIVING = Giving()


class Subscriber(NamedTuple):
    """A person with an address who may be mailed (or may not: suppression).

    No dataclass, for there is one for each message: those that are frozen take four
    times as long to make.
    """

    id: SubscriberId
    email: str
    address: str
    domain: str
    provider: str
    signed_up_at: datetime
    first_name: str | None = None
    last_name: str | None = None
    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    time_zone: str | None = None
    language: str | None = None
    attributes: Mapping[str, str] = MappingProxyType({})
    tracking: Mode | None = None  # what the person chose
    giving: Giving = NO_GIVING


def normalise(raw: str) -> Address:
    """Read an address that somebody wrote.  Raises Invalid, which says why not."""
    email, address, domain = parts(raw)
    return Address(email=email, address=address, domain=domain)


def parts(raw: str) -> tuple[str, str, str]:
    """Return email, address and domain, without an object for each of millions.

    The common ASCII address is checked by ourselves, 20 times faster; a law in
    the tests holds this to what `thorough` says.
    """
    text = raw.strip(_EDGES)
    local, at, domain = text.partition("@")
    if at and len(local) <= _LOCAL_LENGTH and _LOCAL.fullmatch(local):
        host = _host(domain)
        lowered = local.lower()
        if host and lowered not in _ROLES:
            return f"{local}@{host}", f"{lowered}@{host}", host
    return thorough(text)


@lru_cache(maxsize=1 << 16)  # a list has millions of addresses in thousands of domains
def _host(domain: str) -> str:
    """Return a plain domain in lower case, or "" where a closer look is due."""
    if len(domain) > _HOST_LENGTH or not _HOST.fullmatch(domain) or "--" in domain:
        return ""
    lowered = domain.lower()
    return "" if lowered.endswith(_SPECIAL) else lowered


def thorough(text: str) -> tuple[str, str, str]:
    """Ask email-validator.  Full-width and other compatibility forms are unfolded."""
    if len(text) > MAX_INPUT:
        raise errors.Invalid("the address is too long")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise errors.Invalid("the address holds a line break or control character")
    try:
        found = email_validator.validate_email(
            unicodedata.normalize("NFKC", text),
            check_deliverability=False,
            strict=True,  # at most 64 octets before the @
            test_environment=True,  # .test is ours to use (RFC 6761 §6.2)
        )
    except email_validator.EmailNotValidError as error:
        raise errors.Invalid(str(error)) from error
    domain = found.ascii_domain.lower()
    if "." not in domain:
        raise errors.Invalid("The part after the @-sign is not valid: no period.")
    local = found.local_part or ""
    lowered = unicodedata.normalize("NFKC", local.lower())
    return f"{local}@{domain}", f"{lowered}@{domain}", domain
