"""Mailbox providers, sources and their lanes: who receives, what sends, how fast."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
_SLOWEST = 1 / 86400  # one a day: less is a slip of the finger, too

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


def span(wait: timedelta) -> str:
    """Write a duration as `duration` reads it: ``15m``."""
    left = wait.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if left >= size and left % size == 0:
            return f"{left / size:g}{unit}"
    return f"{left:g}s"


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
        if per_second < _SLOWEST:
            message = f'"{text}" is less than one a day: write "1/d" or more'
            raise ValueError(message)
        return cls(per_second)

    def __str__(self) -> str:
        """Write the rate as `parse` reads it."""
        if self.is_unlimited:
            return "unlimited"
        for unit, seconds in (("min", 60), ("h", 3600), ("d", 86400)):
            count = self.per_second * seconds
            if count >= 1 or unit == "d":
                return f"{round(count, 2):.10g}/{unit}"
        raise AssertionError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one source may do at one provider; what is None says nothing."""

    connections: int | None = None
    messages: int | None = None  # on one connection
    rate: Rate | None = None
    ceiling: Rate | None = None
    retry: tuple[timedelta, ...] | None = None  # waits between attempts

    def __post_init__(self) -> None:
        _demand_limits(self)


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

    `connections`, `messages`, `rate`, `ceiling` and `retry` replace those of every
    provider: a relay of one's own, the demo and the bench are not held to real
    speeds.  `provider` has what differs for one of them, and wins over both.
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
    ceiling: Rate | None = None
    warmup: bool = False  # it is new to every provider: `core.warmup` says how much
    retry: tuple[timedelta, ...] | None = None  # waits between attempts
    provider: Mapping[str, Limits] = field(default_factory=dict)

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
        _demand_limits(self)


def _demand_limits(limits: Limits | Source) -> None:
    for name in ("connections", "messages"):
        value = getattr(limits, name)
        if value is not None and not 1 <= value <= _MOST:
            message = f"{name} {value}: write a number from 1 to {_MOST}"
            raise ValueError(message)
    if limits.retry == ():
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Provider x source: the unit of rate, connections and backoff."""

    provider: str
    source: str
    pool: str
    connections: int
    messages: int
    rate: Rate


def limited(provider: Provider, source: Source) -> Provider:
    """Return *provider* as it is for *source*, key by key.

    What the source says of this provider wins, then what it says of all, then what
    the provider bears.  A rate without a ceiling is a ceiling, too, where it is a
    limit of the source for all; for one provider it lifts the ceiling if need be.
    """
    own = source.provider.get(provider.name, Limits())
    ceiling = source.ceiling or source.rate or provider.ceiling
    if own.rate is not None and own.rate.per_second > ceiling.per_second:
        ceiling = own.rate
    return replace(
        provider,
        connections=own.connections or source.connections or provider.connections,
        messages=own.messages or source.messages or provider.messages,
        rate=own.rate or source.rate or provider.rate,
        ceiling=own.ceiling or ceiling,
        retry=own.retry or source.retry or provider.retry,
    )


def lane(provider: Provider, source: Source) -> Lane:
    """Join *provider* and *source*: what the source says wins."""
    held = limited(provider, source)
    return Lane(
        provider=provider.name,
        source=source.name,
        pool=source.pool,
        connections=held.connections,
        messages=held.messages,
        rate=held.rate,
    )
