"""The part that each simulated mailbox provider plays, read from a TOML file.

What an address meets (unknown user, full mailbox, greylisting …) is a function of
the address: a second run meets the same.  The words are the providers' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from importlib import resources
from pathlib import Path

from mailer import errors
from mailer.core.provider import OTHER, Rate
from mailer.mail.certificate import SELF_SIGNED
from mailer.mail.share import Share
from mailer.mail.trouble import Trouble

NEVER = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a provider says; "\\n" separates the lines of a reply."""

    unknown: str = "550 5.1.1 User unknown"
    full: str = "452 4.2.2 Mailbox full"
    greylisted: str = "450 4.7.1 Greylisted, please try again later"
    slow: str = "451 4.7.1 Too many messages, slow down"
    banned: str = "421 4.7.0 Too many messages, try again later"
    crowded: str = "421 4.7.0 Too many concurrent connections"
    enough: str = "421 4.7.0 Too many messages on this connection"
    refused: str = "554 5.7.1 Message refused by policy"
    accepted: str = "250 2.0.0 OK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How a provider gets to know a client address: its limit grows with use."""

    start: Rate
    factor: Decimal = Decimal("1.5")
    every: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if self.start.is_unlimited or not self.every or self.factor < 1:
            message = "trust: write a start, a time, and a factor of at least 1"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What is different from some time on, until a later phase names it again."""

    at: timedelta  # since the first connection
    latency: timedelta | None = None
    tarpit: timedelta | None = None
    connections: int | None = None
    messages: int | None = None
    rate: Rate | None = None
    burst: int | None = None
    patience: int | None = None
    penalty: timedelta | None = None
    greylisted: Share | None = None
    closed: str | None = None  # "": open again

    def changed(self, part: Part) -> Part:
        """Return *part* from this phase on."""
        news = {
            one.name: value
            for one in fields(self)
            if one.name != "at" and (value := getattr(self, one.name)) is not None
        }
        return replace(part, **news)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How one provider behaves."""

    name: str
    domains: tuple[str, ...] = ()
    latency: timedelta = NEVER  # before RCPT and the final dot are answered
    connections: int | None = None  # at once; the next one is told `crowded`
    messages: int | None = None  # on one connection, then `enough` and it closes
    rate: Rate = field(default_factory=lambda: Rate.parse("unlimited"))
    burst: int = 20  # messages that may come at once before `slow` is said
    patience: int = 50  # `slow` replies in ten minutes, then it bans
    penalty: timedelta = NEVER  # how long all is answered by `banned`
    unknown: Share = field(default_factory=Share)  # no such user
    full: Share = field(default_factory=Share)  # mailbox full, each time
    greylisted: Share = field(default_factory=Share)  # put off on the first try
    greylisting: timedelta = NEVER  # how long a second try is too early
    refused: Share = field(default_factory=Share)  # at the dot: policy
    broken: Share = field(default_factory=Share)  # hangs up in the body, first try
    dropped: Share = field(default_factory=Share)  # takes it, hangs up unanswered
    closed: str = ""  # answered to everybody, if set: an outage
    tarpit: timedelta = NEVER  # more, before each answer, for whom was told `slow`
    trust: Trust | None = None  # earned from a low rate up to `rate`
    says: Words = field(default_factory=Words)
    phase: tuple[Phase, ...] = ()  # what changes while it plays

    def __post_init__(self) -> None:
        times = [phase.at for phase in self.phase]
        if times != sorted(times):
            message = f"phases of {self.name}: write them in the order of their times"
            raise ValueError(message)


class Handshake(StrEnum):
    """What comes of STARTTLS."""

    GOOD = "good"
    REFUSED = "refused"  # offered, but answered by 454
    BROKEN = "broken"  # answered by 220, and then by what is no TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the connection is encrypted."""

    certificate: str = SELF_SIGNED  # or "expired", or a PEM file that has the key too
    handshake: Handshake = Handshake.GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All parts of a play, and what goes wrong in it."""

    provider: Mapping[str, Part] = field(default_factory=dict)
    trouble: tuple[Trouble, ...] = ()
    tls: Tls | None = None  # none: STARTTLS is not offered

    def __post_init__(self) -> None:
        owners: dict[str, str] = {}
        for part in self.provider.values():
            for domain in part.domains:
                other = owners.setdefault(domain, part.name)
                if other != part.name:
                    message = f'"{domain}" belongs to {other} and to {part.name}'
                    raise ValueError(message)

    def casting(self) -> Mapping[str, Part]:
        """Return the part by domain; OTHER plays for every other domain."""
        cast = {
            domain: part for part in self.provider.values() for domain in part.domains
        }
        return cast | {OTHER: self.provider.get(OTHER, Part(name=OTHER))}


def unhurried(play: Scenario) -> Scenario:
    """Return *play* without what depends on time: limits, waits and troubles.

    Who is unknown, full or refused stays so.
    """
    unlimited = Rate.parse("unlimited")
    parts = {
        name: replace(
            part,
            latency=NEVER,
            connections=None,
            rate=unlimited,
            penalty=NEVER,
            greylisting=NEVER,
            tarpit=NEVER,
            trust=None,
            closed="",
            phase=(),
        )
        for name, part in play.provider.items()
    }
    return replace(play, provider=parts, trouble=())


def path(name: str) -> Path:
    """Return the file of a shipped scenario, or *name* as a file.

    Raises NotFound, which names the shipped ones.
    """
    folder = Path(str(resources.files("mailer.mail"))) / "scenarios"
    found = folder / f"{name}.toml"
    if found.is_file():
        return found
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
    message = f"{name}: no such scenario: name a file, or one of {known}"
    raise errors.NotFound(message)
