"""Who receives the mail of one domain: from what is kept, or fresh."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

from mailer import errors, settings
from mailer.core import exchange, subscriber
from mailer.core.exchange import TAKES_NONE, Receiver, Why
from mailer.core.provider import OTHER
from mailer.mail.exchanges import Found
from mailer.pipeline.resolving.asking import (
    Answer,
    exchanges,
    judge,
    kept,
    note,
    rejudge,
)
from mailer.store import database, domains

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An MX host of a domain, and whose it is."""

    preference: int
    host: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Who receives the mail of a domain, and why."""

    domain: str
    provider: str
    why: Why
    said: str  # why, as a sentence
    hint: str
    hosts: tuple[Host, ...]
    is_cached: bool
    asked_at: datetime | None  # of what is cached
    good_until: datetime | None
    before: str | None  # the provider until changed_at
    changed_at: datetime | None
    trouble: str  # why the DNS could not say
    takes_none: bool  # mail for it bounces


async def resolve(
    pool: database.Pool, chosen: settings.Settings, text: str, *, fresh: bool = False
) -> Resolved:
    """Say who receives the mail of a domain or address: from what is kept, or *fresh*.

    Works without the database, and without DNS: what was last so is left then, or the
    hint, and `trouble` says so.  Raises Invalid when *text* is no domain.
    """
    name = domain(text)
    hint = exchange.hints(chosen.providers).get(name, OTHER)
    known: domains.Domain | None = None
    try:
        async with database.connection(pool) as tx:
            known = (await domains.known(tx, [name])).get(name)
    except errors.Unavailable as error:
        log.warning("domains.away", error=str(error))
    if known is not None and known.is_good and not fresh:
        return _resolved(
            name, hint, rejudge(known, hint, chosen.providers), known=known
        )
    found = await _found(chosen, name)
    if found.trouble and known is not None:
        last = rejudge(known, hint, chosen.providers)
        return _resolved(name, hint, last, known=known, trouble=found.trouble)
    if found.trouble:
        nobody = Answer(Receiver(provider=hint, why=Why.HINT, claims={}), ())
        return _resolved(name, hint, nobody, trouble=found.trouble)
    answer = judge(found, hint, chosen.providers)
    await kept(pool, [note(name, answer, found.seconds)])
    return _resolved(name, hint, answer)


def domain(text: str) -> str:
    """Return the domain of *text*, which is one or an address, as A-labels."""
    name = text.strip().rpartition("@")[2].rstrip(".")
    try:
        return subscriber.normalise(f"postmaster@{name}").domain
    except errors.Invalid as error:
        message = f'{errors.quote(text)} is no domain: write one like "gmail.com"'
        raise errors.Invalid(message) from error


async def _found(chosen: settings.Settings, name: str) -> Found:
    try:
        return await exchanges(chosen).find(name)
    except errors.Unavailable as error:
        return Found(trouble=str(error))


def _resolved(
    name: str,
    hint: str,
    answer: Answer,
    *,
    known: domains.Domain | None = None,
    trouble: str = "",
) -> Resolved:
    judged = answer.receiver
    return Resolved(
        domain=name,
        provider=judged.provider,
        why=judged.why,
        said=exchange.sentence(judged.why, judged.provider, judged.claims),
        hint=hint,
        hosts=tuple(
            Host(
                preference=one.preference,
                host=one.host,
                provider=judged.claims.get(one.host, OTHER),
            )
            for one in answer.hosts
        ),
        is_cached=known is not None,
        asked_at=known.asked_at if known else None,
        good_until=known.good_until if known else None,
        before=known.before if known else None,
        changed_at=known.changed_at if known else None,
        trouble=trouble,
        takes_none=judged.why in TAKES_NONE,
    )
