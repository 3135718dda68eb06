"""What the DNS said of domains: a cache that all processes share, and its changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.core.exchange import Mx, Why
from mailer.store import database

SQL = database.load("domains")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the DNS said of a domain, and for how many seconds that holds."""

    name: str
    provider: str
    why: Why
    hosts: tuple[Mx, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What is known of a domain, and since when its provider is another."""

    name: str
    provider: str
    why: Why
    hosts: tuple[Mx, ...]
    asked_at: datetime
    good_until: datetime
    is_good: bool  # until then
    before: str | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A domain whose provider is another one now."""

    name: str
    before: str
    after: str


async def known(tx: database.Connection, names: Sequence[str]) -> Mapping[str, Domain]:
    """Return what is known of *names*, whether it still holds or not."""
    rows = await tx.rows(SQL["known"], names=list(names))
    return {row["name"]: _domain(row) for row in rows}


def _domain(row: database.Row) -> Domain:
    values = dict(row)
    pairs = zip(values.pop("preferences"), values.pop("hosts"), strict=True)
    hosts = tuple(Mx(preference=number, host=host) for number, host in pairs)
    why = Why(values.pop("why"))
    return Domain(**values, why=why, hosts=hosts)


async def keep(tx: database.Connection, said: Iterable[Said]) -> list[Moved]:
    """Write down what the DNS said, each name once; return who moved."""
    chosen = list(said)
    rows = await tx.rows(
        SQL["keep"],
        names=[one.name for one in chosen],
        providers=[one.provider for one in chosen],
        whys=[one.why.value for one in chosen],
        hosts=[" ".join(mx.host for mx in one.hosts) for one in chosen],
        preferences=[
            " ".join(str(mx.preference) for mx in one.hosts) for one in chosen
        ],
        seconds=[one.seconds for one in chosen],
    )
    return [Moved(**row) for row in rows]


async def largest(tx: database.Connection, *, limit: int) -> list[str]:
    """Return the domains at which we have most people."""
    return [row["domain"] for row in await tx.rows(SQL["largest"], limit=limit)]


async def peopled(tx: database.Connection, names: Sequence[str]) -> list[str]:
    """Return those of *names* at which we have people."""
    return [row["name"] for row in await tx.rows(SQL["peopled"], names=list(names))]
