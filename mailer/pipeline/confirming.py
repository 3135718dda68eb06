"""Ask by mail whether an address is a person's own: sign-ups and new addresses.

Anybody can write any address into a form on a website: that alone
subscribes nobody by itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from mailer import errors
from mailer.core import provider, tracking
from mailer.core.tracking import Purpose, Token
from mailer.mail import notice as letters
from mailer.mail import route
from mailer.settings import Settings, dns
from mailer.store import confirmations, database
from mailer.store.confirmations import Question

TIMEOUT = 60.0  # seconds for one letter
LEASE = timedelta(seconds=120)  # longer than that
TRIES = 8
WAIT = timedelta(minutes=2)  # then again
AT_ONCE = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Words:
    subject: str
    joins: str
    moves: str
    end: str


_ENGLISH = _Words(
    subject="Please confirm your email address",
    joins="Somebody, we think you, asked for emails from {who} at this address.",
    moves="Somebody, we think you, wants emails from {who} at this address.",
    end="To say yes, open this page and press the button:\n\n{url}\n\n"
    "If that was not you, do nothing: you will get no more of these.",
)
_SPANISH = _Words(
    subject="Confirme su dirección de correo",
    joins="Alguien, creemos que usted, pidió correos de {who} en esta dirección.",
    moves="Alguien, creemos que usted, quiere los correos de {who} en esta dirección.",
    end="Para confirmarlo, abra esta página y pulse el botón:\n\n{url}\n\n"
    "Si no fue usted, no haga nada: no recibirá más.",
)


async def deliver(pool: database.Pool, settings: Settings, *, now: datetime) -> int:
    """Send what is owed, and return how many were taken.

    Any number of processes may do this at once: each question is sent by one.
    """
    async with database.transaction(pool) as tx:
        mine = await confirmations.claim(tx, lease=LEASE, tries=TRIES, limit=AT_ONCE)
    count = 0
    for one in mine:
        try:
            async with asyncio.timeout(TIMEOUT):
                await _send(one, settings, now=now)
        except (errors.Unavailable, errors.Invalid, TimeoutError) as error:
            said = str(error) or f"not done within {TIMEOUT:.0f} s"
            log.warning("confirmation.unsent", id=one.id, error=said)
            async with database.transaction(pool) as tx:
                await confirmations.unsent(tx, one.id, error=said, wait=WAIT)
            continue
        async with database.transaction(pool) as tx:
            await confirmations.sent(tx, one.id)
        count += 1
    return count


async def _send(one: Question, settings: Settings, *, now: datetime) -> None:
    who = settings.organization.name
    say = _SPANISH if one.asked.get("language") == "es" else _ENGLISH
    token = Token(blast=0, subscriber=one.id)
    sealed = tracking.seal(settings.keys, Purpose.CONFIRM, token)
    begin = (say.moves if one.is_move else say.joins).format(who=who)
    end = say.end.format(url=f"{settings.public.url}/y/{sealed}")
    letter = letters.write(
        id=f"confirm-{one.id}",
        thread=f"confirm-{one.id}",
        date=now,
        sender=settings.organization.from_,
        to=one.email,
        subject=say.subject,
        text=f"{begin}\n\n{end}\n\n{who}\n{settings.organization.address}\n",
        signers=settings.signers,
        name=who,
    )
    sources = sorted(
        settings.sources, key=lambda source: source.kind is provider.Kind.DIRECT
    )
    router = route.routing(
        sources,
        servers=[dns.server(name) for name in settings.dns.servers],
        inside=settings.dns.inside,
    )
    await letters.send(letter, sources, router=router)
