"""Who receives the mail of a domain: its MX hosts say so (RFC 5321 §5.1).

The list of domains of a provider is a hint only, until the DNS was asked and while
it cannot say.  Suffixes are compared as KumoMTA does it: in lower case, without the
last dot, and every MX of a domain has to be the provider's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import assert_never

from mailer.core.provider import OTHER, Provider

_LABELS = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+"
_DOMAIN = re.compile(_LABELS)
_SUFFIX = re.compile(rf"[.-]?{_LABELS}")
_PATTERN = re.compile(r"[a-z0-9_.*-]+\.[a-z0-9_-]+\.[a-z0-9_-]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Why(StrEnum):
    """Why a domain belongs to a provider, or to none."""

    MX = "mx"  # every MX host is the provider's
    NOBODY = "nobody"  # its MX hosts are no provider's of the rules
    MIXED = "mixed"  # its MX hosts are not all the same provider's
    IMPLICIT = "implicit"  # no MX: the domain's own address takes its mail
    NULL = "null"  # null MX: it takes no mail (RFC 7505)
    NONE = "none"  # no such domain, or neither MX nor address
    HINT = "hint"  # the DNS cannot say


TAKES_NONE = frozenset({Why.NULL, Why.NONE})  # mail for it bounces


@dataclass(frozen=True, slots=True, kw_only=True)
class Mx:
    """One host that takes mail for a domain; "" says that it takes none."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """The provider of a domain and why; *claims* has whose each MX host is."""

    provider: str
    why: Why
    claims: Mapping[str, str]  # host -> provider


def hints(providers: Iterable[Provider]) -> Mapping[str, str]:
    """Return the provider's name by domain: a hint until the MX was asked."""
    return {
        domain: provider.name for provider in providers for domain in provider.domains
    }


def claimed(host: str, *, providers: Iterable[Provider]) -> str | None:
    """Return whose server *host* is; of several suffixes the longest wins."""
    found = [
        (len(suffix), one.name)
        for one in providers
        for suffix in one.mx
        if is_below(host.lower().rstrip("."), suffix)
    ]
    return max(found)[1] if found else None


def is_below(host: str, suffix: str) -> bool:
    """Tell whether *host* is one of *suffix*, which may hold ``*``."""
    if "*" in suffix:
        return fnmatchcase(host, suffix)
    if suffix[:1] in {".", "-"}:
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


def receiver(
    hosts: Sequence[str], *, providers: Iterable[Provider], hint: str = OTHER
) -> Receiver:
    """Return who receives the mail of a domain with these MX *hosts*, at least one.

    A set that mixes providers belongs to none: neither one's limits would be kept.
    What nobody claims belongs to *hint* only if that one is not known by its MX.
    """
    known = tuple(providers)
    found = {host: claimed(host, providers=known) for host in hosts}
    names = set(found.values())
    claims = {host: name or OTHER for host, name in found.items()}
    if len(names) == 1 and (name := next(iter(names))) is not None:
        return Receiver(provider=name, why=Why.MX, claims=claims)
    has_mx = any(one.mx for one in known if one.name == hint)
    why = Why.NOBODY if names == {None} else Why.MIXED
    return Receiver(provider=OTHER if has_mx else hint, why=why, claims=claims)


def wrong_domain(text: str) -> str | None:
    """Say what is wrong with a domain of a provider, or None."""
    if _DOMAIN.fullmatch(text):
        return None
    return f'"{text}": write a domain in lower case and without @ or *, "gmail.com"'


def wrong_suffix(text: str) -> str | None:
    """Say what is wrong with a suffix of MX hosts, or None."""
    if _PATTERN.fullmatch(text) if "*" in text else _SUFFIX.fullmatch(text):
        return None
    return (
        f'"{text}": write the end of host names in lower case, with at least two '
        'labels, ".google.com", or a pattern, "us-smtp-*.example.com"'
    )


def wrong_name(text: str) -> str | None:
    """Say what is wrong with the name of a provider, or None."""
    if _NAME.fullmatch(text):
        return None
    return f'"{text}": name a provider in small letters, digits, "-" and "_"'


def sentence(why: Why, provider: str, claims: Mapping[str, str]) -> str:
    """Say why a domain belongs to *provider*."""
    match why:
        case Why.MX:
            return f"every MX host is one of {provider}"
        case Why.NOBODY:
            return "its MX hosts are those of no provider in config/providers.toml"
        case Why.MIXED:
            names = ", ".join(sorted(set(claims.values())))
            return f"its MX hosts are not all one provider's: {names}"
        case Why.IMPLICIT:
            return "no MX: its own address takes its mail"
        case Why.NULL:
            return "null MX: it takes no mail, and what is sent there bounces"
        case Why.NONE:
            return "no such domain, or one without MX and address: mail bounces"
        case Why.HINT:
            return "DNS cannot say: this is the hint of config/providers.toml"
        case _:
            assert_never(why)
