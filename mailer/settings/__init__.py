"""The workspace's settings: TOML files, the shipped rules, and the environment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mailer import errors
from mailer.core import (
    bounce,
    preference,
    provider,
    segment,
    signature,
    tracking,
)
from mailer.core import cap as caps
from mailer.settings import (
    alarms,
    breaker,
    dkim,
    document,
    providers,
    relays,
    returns,
    secret,
    sources,
)
from mailer.settings.dns import Dns
from mailer.settings.document import parse, read
from mailer.settings.relays import Relays
from mailer.settings.workspace import SETTINGS, existing, shipped

__all__ = ["Relays", "Settings", "load", "parse", "read", "segments", "shipped"]

PROVIDERS = Path("config", "providers.toml")
BOUNCES = Path("config", "bounces.toml")
SEGMENTS = Path("segments")
DEADLINES = Path("config", "deadlines.toml")

_SENDER = re.compile(r"[^<>\r\n]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[!-~]*)?")
_MOST_PROCESSES = 256

_MINUTES = (15, 30, 60, 120, 240)  # facts: providers ask for 15 minutes and more


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """Who writes: the words that templates use and the law wants to see."""

    name: str
    committee: str
    address: str
    disclaimer: str
    tax_line: str
    website: str
    from_: str
    help_: str

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.website):
            message = f'website "{self.website}": write a url like https://example.org'
            raise ValueError(message)
        if not _SENDER.fullmatch(self.from_):
            message = f'from "{self.from_}": write "Name <name@example.org>"'
            raise ValueError(message)

    @property
    def words(self) -> dict[str, str]:
        """Return what templates may say of it, by their names for it."""
        return {
            "organization": self.name,
            "committee": self.committee,
            "postal_address": self.address,
            "disclaimer": self.disclaimer,
            "tax_line": self.tax_line,
            "website": self.website,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens, and how others write it."""

    host: str = "127.0.0.1"
    port: int
    url: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            message = f"port {self.port}: write a number from 0 to 65535"
            raise ValueError(message)
        url = self.url or f"http://{self.host}:{self.port}"
        if not _URL.fullmatch(url):
            message = f'"{url}": write a url like https://mail.example.org'
            raise ValueError(message)
        object.__setattr__(self, "url", url.rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What is done with the links of messages."""

    own_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a topic is called in another language."""

    title: str
    describes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as people read it, and how much is kept of what they do with it."""

    title: str
    describes: str = ""
    tracking: preference.Mode = preference.Mode.FULL
    translated: Mapping[str, Named] = field(default_factory=dict)  # by language

    def named(self, language: str) -> Named:
        """Return its name and description in *language*, else in ours."""
        own = Named(title=self.title, describes=self.describes)
        return self.translated.get(language, own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a deferred message is tried again."""

    schedule: tuple[timedelta, ...] = tuple(timedelta(minutes=one) for one in _MINUTES)

    def __post_init__(self) -> None:
        if not self.schedule:
            message = 'schedule: write at least one wait, like ["15m"]'
            raise ValueError(message)
        for _, message in providers.of_retry("schedule", self.schedule):
            raise ValueError(f"schedule: {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signup:
    """Who may sign up from where, and for what."""

    topics: tuple[str, ...] = ()  # none: nobody can
    origins: tuple[str, ...] = ()  # of pages that may ask, besides ours
    confirm: bool = True  # ask by mail whether the address is theirs

    def __post_init__(self) -> None:
        for origin in self.origins:
            if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin):
                message = f'origin "{origin}": write https://www.example.org'
                raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What is kept of people."""

    keep_days: int = 400  # of raw events: a year, and the same weeks of the last one

    def __post_init__(self) -> None:
        if not 7 <= self.keep_days <= 36500:
            message = f"keep_days {self.keep_days}: write 7 to 36500"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What this machine does."""

    processes: int | None = None
    endpoints: int = 1  # processes that answer clicks, opens and unsubscribes

    def __post_init__(self) -> None:
        for name in ("processes", "endpoints"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _MOST_PROCESSES:
                message = f"{name} {value}: write 1 to {_MOST_PROCESSES}"
                raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What config/settings.toml holds."""

    organization: Organization
    public: Address = field(default_factory=lambda: Address(port=8080))
    private: Address = field(default_factory=lambda: Address(port=8081))
    links: Links = field(default_factory=Links)
    topic: Mapping[str, Topic] = field(default_factory=dict)
    source: Mapping[str, provider.Source]
    cap: Mapping[str, caps.Cap] = field(default_factory=dict)
    dkim: Mapping[str, dkim.Signer] = field(default_factory=dict)
    dns: Dns = field(default_factory=Dns)
    retry: Retry = field(default_factory=Retry)
    work: Work = field(default_factory=Work)
    signup: Signup = field(default_factory=Signup)
    privacy: Privacy = field(default_factory=Privacy)
    alarms: alarms.Alarms = field(default_factory=alarms.Alarms)
    bounces: returns.Returns = field(default_factory=returns.Returns)
    breaker: breaker.Breaker = field(default_factory=breaker.Breaker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """What config/deadlines.toml holds."""

    deadline: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """What config/providers.toml holds."""

    provider: Mapping[str, provider.Provider] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounces:
    """What config/bounces.toml holds."""

    rule: Mapping[str, bounce.Rule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The user and password that a sender of webhooks shows."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a workspace says about itself."""

    database: str | None = field(default=None, repr=False)  # may hold a password
    organization: Organization
    public: Address
    private: Address
    links: Links
    sources: tuple[provider.Source, ...]
    providers: tuple[provider.Provider, ...]
    bounces: bounce.Rules
    deadlines: Mapping[str, datetime]
    retry: tuple[timedelta, ...]
    workers: int | None
    actblue: Credentials | None
    keys: tracking.Ring = field(repr=False)
    caps: tuple[caps.Cap, ...] = ()
    relays: Relays = field(default_factory=Relays)
    signers: tuple[signature.Key, ...] = ()
    dns: Dns = field(default_factory=Dns)
    alarms: alarms.Alarms = field(default_factory=alarms.Alarms)
    returns: returns.Returns = field(default_factory=returns.Returns)
    breaker: breaker.Breaker = field(default_factory=breaker.Breaker)
    endpoints: int = 1
    topics: Mapping[str, Topic] = field(default_factory=dict)
    signup: Signup = field(default_factory=Signup)
    keep: timedelta = timedelta(days=400)  # raw events
    fingerprint: str = ""


def load(root: Path, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of the workspace at *root*.

    Raises NotFound when *root* is no workspace, Invalid with every problem.
    """
    environment = os.environ if environment is None else environment
    existing(root)
    file, deadlines, known, bounces, keys, database, actblue, posted = _all(
        lambda: read(root / SETTINGS, File, file=str(SETTINGS)),
        lambda: layered(root, DEADLINES, Deadlines, base=None),
        lambda: layered(root, PROVIDERS, Providers, base=shipped(PROVIDERS)),
        lambda: layered(root, BOUNCES, Bounces, base=shipped(BOUNCES)),
        lambda: secret.ring(root, environment=environment),
        lambda: secret.get("MAILER_DATABASE_URL", environment=environment),
        lambda: _actblue(environment=environment),
        lambda: relays.load(environment=environment),
    )
    providers.demand(
        root,
        providers.Parts(
            providers=known.provider,
            rules=bounces.rule,
            sources=file.source,
            caps=file.cap,
        ),
        providers.Files(settings=SETTINGS, providers=PROVIDERS, bounces=BOUNCES),
    )
    loaded = Settings(
        database=database,
        organization=file.organization,
        public=file.public,
        private=file.private,
        links=file.links,
        sources=sources.complete(
            root, file.source, file=SETTINGS, environment=environment
        ),
        providers=tuple(known.provider.values()),
        bounces=bounce.Rules(rules=tuple(bounces.rule.values())),
        deadlines=deadlines.deadline,
        retry=file.retry.schedule,
        workers=file.work.processes,
        caps=tuple(file.cap.values()),
        endpoints=file.work.endpoints,
        topics=file.topic,
        signup=file.signup,
        keep=timedelta(days=file.privacy.keep_days),
        actblue=actblue,
        relays=posted,
        keys=keys,
        signers=dkim.keys(root, file.dkim, file=SETTINGS),
        dns=file.dns,
        alarms=alarms.complete(
            root,
            file.alarms,
            sources=file.source,
            file=SETTINGS,
            environment=environment,
        ),
        returns=file.bounces,
        breaker=file.breaker,
    )
    return dataclasses.replace(loaded, fingerprint=fingerprint(loaded))


def _all(*steps: Callable[[], Any]) -> list[Any]:
    """Return what each step returns, or raise the problems of all of them."""
    found: list[Any] = []
    problems: list[errors.Problem] = []
    for step in steps:
        try:
            found.append(step())
        except errors.Invalid as error:
            problems.extend(error.problems)
    if problems:
        raise errors.Invalid(problems)
    return found


def segments(root: Path) -> dict[str, Mapping[str, Any]]:
    """Return the documents of the workspace's segments by name, as JSON can hold them.

    Each was read by `segment.parse` and every reference followed: raises Invalid
    with all problems of all files.
    """
    found: dict[str, segment.Segment] = {}
    problems: list[errors.Problem] = []
    places: dict[str, dict[str, int]] = {}
    for path in sorted((root / SEGMENTS).glob("*.toml")):
        file = str(SEGMENTS / path.name)
        try:
            values, places[file] = document.load(path, file=file)
            found[path.stem] = segment.parse(path.stem, values, file=file)
        except errors.Invalid as error:
            problems += document.relocated(error, places.get(file, {})).problems
    if problems:
        raise errors.Invalid(problems)
    try:
        segment.check(found)
    except errors.Invalid as error:
        raise errors.Invalid(
            [
                one
                for problem in error.problems
                for one in document.relocated(
                    errors.Invalid(problem), places.get(problem.file or "", {})
                ).problems
            ]
        ) from None
    return {name: one.document for name, one in found.items()}


def layered(
    root: Path, path: Path, into: type[document.T], *, base: Path | None
) -> document.T:
    """Read the file *path* of the workspace, laid over that of *base* key by key."""
    values: dict[str, Any] = {}
    places: dict[str, int] = {}
    if base is not None and base.is_file():
        values, places = document.load(base, file=str(path))
    own = root / path
    if own.is_file() and (base is None or own.resolve() != base.resolve()):
        above, places = document.load(own, file=str(path))
        values = document.overridden(values, above)
    return parse(values, into, file=str(path), places=places)


def _actblue(*, environment: Mapping[str, str]) -> Credentials | None:
    user = secret.get("MAILER_ACTBLUE_USER", environment=environment)
    password = secret.get("MAILER_ACTBLUE_PASSWORD", environment=environment)
    if user is None and password is None:
        return None
    if user is None or password is None:
        message = "set both MAILER_ACTBLUE_USER and MAILER_ACTBLUE_PASSWORD, or neither"
        raise errors.Invalid(message)
    return Credentials(user=user, password=password)


def fingerprint(chosen: Settings) -> str:
    """Return what must be the same on every machine, as 16 hex digits."""
    shared = (
        chosen.organization,
        chosen.public.url,
        chosen.links,
        [sources.shared(one) for one in chosen.sources],  # repr hides passwords
        chosen.providers,
        chosen.bounces,
        chosen.deadlines,
        chosen.retry,
        chosen.caps,
        sorted((number, key.hex()) for number, key in chosen.keys.keys.items()),
        chosen.keys.current,
        {name: one.tracking for name, one in chosen.topics.items()},
        chosen.alarms,  # without the secret: repr hides it
        chosen.signers,  # their public halves: repr hides the others
        chosen.returns.shared,
    )
    text = json.dumps(shared, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
