"""What a domain publishes about its mail, read and judged.

DKIM keys (RFC 6376 §3.6.1, RFC 8463), SPF (RFC 7208), DMARC (RFC 9989).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailer.core.signature import Key

LOOKUPS = 10  # RFC 7208 §4.6.4: of one evaluation
WALK = 8  # RFC 9989 §4.10: records that are asked for, at most


class Level(StrEnum):
    """What a finding means for the mail."""

    OK = "ok"
    WARN = "warn"
    NO = "NO"  # mail will be refused, or lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    level: Level
    name: str  # "dkim s2026._domainkey.example.org"
    text: str


def tags(text: str) -> dict[str, str]:
    """Read ``v=DMARC1; p=none``: names in lower case, values as they are."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def dkim(key: Key, texts: Sequence[str]) -> Finding:
    """Compare the TXT records at the key's place with the key."""
    level, text = _dkim(key, [tags(one) for one in texts])
    return Finding(level=level, name=f"dkim {key.host}", text=text)


def _dkim(key: Key, found: Sequence[Mapping[str, str]]) -> tuple[Level, str]:
    records = [one for one in found if "p" in one and one.get("v", "DKIM1") == "DKIM1"]
    publish = f'publish {key.host} TXT "{key.record}"'
    if not records:
        return Level.NO, f"not published, no signature verifies: {publish}"
    if len(records) > 1:
        return Level.NO, f"{len(records)} records where one may be: leave one"
    (record,) = records
    kind = key.algorithm.partition("-")[0]
    if "".join(record["p"].split()) == "":
        return Level.NO, "revoked (p= is empty): make a new key, with a new selector"
    if record.get("k", "rsa") != kind or "".join(record["p"].split()) != key.public:
        return Level.NO, f"another key is published than signs here: {publish}"
    if "sha256" not in record.get("h", "sha256"):
        return Level.NO, "h= of the record forbids sha256: leave it out"
    if not {"*", "email"} & set(re.split(r"[\s:]+", record.get("s", "*"))):
        return Level.NO, "s= of the record forbids email: leave it out"
    if "y" in record.get("t", "").split(":"):
        return Level.WARN, "says t=y, testing: providers may take it for unsigned"
    return Level.OK, "published as it signs here"


def walk(domain: str) -> Iterator[str]:
    """Yield where a DMARC record of *domain* may be: RFC 9989 §4.10, the tree walk."""
    labels = domain.split(".")
    yield f"_dmarc.{domain}"
    for size in range(min(len(labels), WALK) - 1, 0, -1):
        yield f"_dmarc.{'.'.join(labels[-size:])}"


def is_dmarc(text: str) -> bool:
    """Tell whether a TXT record is one of DMARC."""
    return re.match(r"v\s*=\s*DMARC1\s*(;|$)", text) is not None


def dmarc(domain: str, place: str | None, text: str, signers: Sequence[Key]) -> Finding:
    """Judge the record found at *place*, if any, for mail from *domain*."""
    level, said = _dmarc(domain, place, tags(text), signers)
    return Finding(level=level, name=f"dmarc {domain}", text=said)


def _dmarc(
    domain: str, place: str | None, found: Mapping[str, str], signers: Sequence[Key]
) -> tuple[Level, str]:
    if place is None:
        return Level.NO, (
            "not published, Gmail, Yahoo and Microsoft refuse bulk mail: publish "
            f'_dmarc.{domain} TXT "v=DMARC1; p=none; rua=mailto:dmarc@{domain}"'
        )
    policy = found.get("p", "none" if "rua" in found else "")
    if place != f"_dmarc.{domain}":
        policy = found.get("sp", policy)
    said = f"p={policy} by {place}"
    if policy not in {"none", "quarantine", "reject"}:
        return Level.NO, f"{place} says p={policy}: write none, quarantine or reject"
    if found.get("adkim") == "s" and signers and signers[0].domain != domain:
        return Level.NO, (
            f"{said} says adkim=s, and {signers[0].domain} signs: not aligned; say "
            f"adkim=r or add a key of {domain}"
        )
    if "rua" not in found:
        return Level.WARN, f"{said}; without rua= nobody tells you what fails"
    return Level.OK, said


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One mechanism or modifier of an SPF record."""

    name: str  # "ip4", "include", "redirect", …
    value: str = ""
    qualifier: str = "+"

    @property
    def is_lookup(self) -> bool:
        """Tell whether it counts for the limit of lookups."""
        return self.name in {"include", "a", "mx", "ptr", "exists", "redirect"}


_TERM = re.compile(r"([+?~-]?)([a-z][a-z0-9_.-]*)(?:[:=](.*)|(/.*))?", re.IGNORECASE)
_MECHANISMS = frozenset({
    "all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists", "redirect", "exp",
})  # fmt: skip


def is_spf(text: str) -> bool:
    """Tell whether a TXT record is one of SPF."""
    return re.match(r"v=spf1( |$)", text, re.IGNORECASE) is not None


def spf(text: str) -> list[Term]:
    """Read an SPF record.  ValueError names what nobody understands."""
    terms = []
    for word in text.split()[1:]:
        match = _TERM.fullmatch(word)
        if match is None or (
            match[2].lower() not in _MECHANISMS and "=" not in word
        ):  # unknown modifiers are left alone (§6)
            message = f'"{word}" is no SPF'
            raise ValueError(message)
        value = match[3] if match[3] is not None else match[4] or ""
        terms.append(
            Term(name=match[2].lower(), value=value, qualifier=match[1] or "+")
        )
    return terms
