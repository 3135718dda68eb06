"""Mailbox providers, sources and their lanes: who receives, what sends, how fast."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

OTHER = "other"  # every domain that no provider of the rules claims

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|sec|min|m|h|hour|d|day)")
_SECONDS = {
    "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
}  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)")
_UNITS = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
    "w": 604800.0,
}  # fmt: skip

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")  # names, IPv4, IPv6
_MOST = 100_000  # connections, messages
_FASTEST = 1e6  # messages a second: more is a slip of the finger

BURST = 2.0  # seconds of the rate that may go out at once


def seconds(text: str) -> float:
    """Read a duration like ``"2h"`` or ``"500ms"``, in seconds.  ValueError if not."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        message = f'"{text}" is no duration: write "90s", "15m", "2h" or "7d"'
        raise ValueError(message)
    return float(match[1]) * _UNITS[match[2]]


def duration(text: str) -> timedelta:
    """Read a duration like ``"2h"`` or ``"365d"``.  ValueError if it is none."""
    try:
        return timedelta(seconds=seconds(text))
    except OverflowError as error:
        message = f'"{text}" is too long'
        raise ValueError(message) from error


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second; infinite when unlimited."""

    per_second: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read ``"300/min"``, ``"6000/h"``, ``"2/s"`` or ``"unlimited"``.

        Raises ValueError, which says what would be right; zero is refused.
        """
        if text.strip() == "unlimited":
            return cls(math.inf)
        match = _RATE.fullmatch(text.strip())
        if match is None:
            message = (
                f'"{text}" is no rate: write "100/min", "6000/h", "2/s" or "unlimited"'
            )
            raise ValueError(message)
        if float(match[1]) == 0:
            message = f'"{text}" would send nothing: leave the provider out instead'
            raise ValueError(message)
        per_second = float(match[1]) / _SECONDS[match[2]]
        if per_second > _FASTEST:
            message = f'"{text}" is faster than any server: write "unlimited"'
            raise ValueError(message)
        return cls(per_second)

    @property
    def is_unlimited(self) -> bool:
        """Tell whether nothing needs to be counted."""
        return math.isinf(self.per_second)

    @property
    def burst(self) -> float:
        """Return how many messages may go out at once: about two seconds' worth."""
        return max(1.0, self.per_second * BURST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A mailbox provider and what it bears, for one warm source."""

    name: str
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()  # suffixes of MX hosts
    connections: int = 2
    messages: int = 20  # on one connection
    rate: Rate = field(default_factory=lambda: Rate(20 / 60))
    ceiling: Rate = field(default_factory=lambda: Rate(120 / 60))
    retry: tuple[timedelta, ...] = ()  # waits between attempts; the last repeats


class Kind(StrEnum):
    """How a source reaches the provider."""

    RELAY = "relay"
    DIRECT = "direct"


class Tls(StrEnum):
    """Whether a connection is encrypted."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What sends: a relay, or this machine straight to the MX hosts.

    `address` is the local IP that it sends from, `certificate` and `key` are the
    files by which this client says who it is.

    `connections`, `messages`, `rate` and `retry` replace those of the provider: a
    relay of one's own, the demo and the bench are not held to real speeds.
    """

    name: str
    kind: Kind = Kind.RELAY
    pool: str = "default"
    host: str = "127.0.0.1"
    port: int = 25
    tls: Tls = Tls.OPPORTUNISTIC
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    helo: str | None = None
    address: str | None = None
    certificate: str | None = None
    key: str | None = None
    connections: int | None = None
    messages: int | None = None
    rate: Rate | None = None
    retry: tuple[timedelta, ...] | None = None  # waits between attempts

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            message = f"port {self.port}: write a number from 1 to 65535"
            raise ValueError(message)
        for name in ("host", "helo"):
            value = getattr(self, name)
            if value is not None and not _HOST.fullmatch(value):
                message = f'{name} "{value}": write a name like mail.example.org'
                raise ValueError(message)
        if self.address is not None:
            _demand_address(self.address)
        for name in ("connections", "messages"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _MOST:
                message = f"{name} {value}: write a number from 1 to {_MOST}"
                raise ValueError(message)
        if self.retry == ():
            message = 'retry: write at least one wait, like ["15m"]'
            raise ValueError(message)


def _demand_address(text: str) -> None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        ip = ipaddress.IPv4Address(0)
    if ip.is_unspecified or ip.is_multicast:
        message = f'address "{text}": write an IP address of this machine, 192.0.2.25'
        raise ValueError(message)


def hints(providers: Iterable[Provider]) -> Mapping[str, str]:
    """Return the provider's name by domain: a hint until the MX was asked."""
    return {
        domain: provider.name for provider in providers for domain in provider.domains
    }


def receiving(host: str, *, providers: Iterable[Provider], hint: str = OTHER) -> str:
    """Return the name of the provider whose server *host* is: the live MX decides.

    A host that nobody claims belongs to *hint* only if that one is not known by MX.
    """
    known = tuple(providers)
    for provider in known:
        if any(_is_below(host, suffix) for suffix in provider.mx):
            return provider.name
    has_mx = any(one.mx for one in known if one.name == hint)
    return OTHER if has_mx else hint


def _is_below(host: str, suffix: str) -> bool:
    if suffix[:1] in {".", "-"}:
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Provider x source: the unit of rate, connections and backoff."""

    provider: str
    source: str
    pool: str
    connections: int
    messages: int
    rate: Rate


def lane(provider: Provider, source: Source) -> Lane:
    """Join *provider* and *source*: what the source says wins."""
    return Lane(
        provider=provider.name,
        source=source.name,
        pool=source.pool,
        connections=source.connections or provider.connections,
        messages=source.messages or provider.messages,
        rate=source.rate or provider.rate,
    )
