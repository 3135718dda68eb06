"""Proofs: the real message of each variant, in the inbox of somebody who looks."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer import errors
from mailer.core import audience, blast, provider, subscriber
from mailer.core.bounce import Answered
from mailer.core.delivery import NOBODY, Stage
from mailer.mail import route, smtp
from mailer.mail.route import Router
from mailer.mail.session import Session
from mailer.pipeline.scheduling import composing, moving
from mailer.pipeline.scheduling.draft import Draft
from mailer.pipeline.scheduling.moving import Desk
from mailer.settings import dns
from mailer.store import blasts, database, deliveries, subscribers

FRAME = "[PROOF {name}] {{}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One proof that went out."""

    variant: str
    to: str
    subject: str
    like: str  # the subscriber whose message it is


async def proof(
    desk: Desk,
    name: str,
    *,
    to: Sequence[str],
    like: str | None = None,
    now: datetime,
) -> list[Proof]:
    """Send each variant to each of *to*, as the person *like* would get it.

    *like* is an address; without it, the first recipient of the blast.  Links and
    pixel are real but count for nobody.  Raises Unavailable when the source takes
    none of them: then nothing is proofed.
    """
    found, written = await moving.check(desk, name)
    blast.after(
        blast.Move.PROOF, state=found.state, resumes=found.resumes, name=found.name
    )
    addresses = [subscriber.normalise(one) for one in to]
    person = (await _like(desk, found, written, like))._replace(id=NOBODY)
    source = next(one for one in desk.settings.sources if one.pool == written.spec.pool)
    doors = _Doors(source=source, router=_router(desk, source))
    sent = []
    try:
        for variant, composer in composing.composers(desk, found, written).items():
            for address in addresses:
                letter = composer.compose(
                    person,
                    seq=0,
                    date=now,
                    to=address.email,
                    subject=FRAME.format(name=variant),
                    mark=f"-{secrets.token_hex(6)}",
                )
                session = await doors.to(address)
                end = await session.send(letter.sender, letter.recipient, letter.data)
                _demand_accepted(end, address=address.email)
                subject = composer.render(person).subject
                sent.append(
                    Proof(
                        variant=variant,
                        to=address.email,
                        subject=subject,
                        like=person.email,
                    )
                )
    finally:
        await doors.close()
    async with database.transaction(desk.pool) as tx:
        found = await blasts.get(tx, found.name)
        await blasts.mark_proofed(tx, found)
        await blasts.move(
            tx,
            found,
            blast.Move.PROOF,
            actor=desk.actor,
            why=f"to {', '.join(one.email for one in addresses)}",
        )
    return sent


@dataclass(slots=True, kw_only=True)
class _Doors:
    """The connections of one proof: one to the relay, or one to each domain."""

    source: provider.Source
    router: Router | None
    _open: dict[str, Session] = field(default_factory=dict)

    async def to(self, address: subscriber.Address) -> Session:
        """Return the connection that mail to *address* takes."""
        name = address.domain if self.router is not None else self.source.host
        if name not in self._open:
            self._open[name] = await smtp.connect_to(
                self.source, address.domain, router=self.router
            )
        return self._open[name]

    async def close(self) -> None:
        """Say goodbye at each."""
        for session in self._open.values():
            await session.quit()


def _router(desk: Desk, source: provider.Source) -> Router | None:
    asked = desk.settings.dns
    return route.routing(
        [source],
        servers=[dns.server(one) for one in asked.servers],
        inside=asked.inside,
    )


def _demand_accepted(end: object, *, address: str) -> None:
    if isinstance(end, Answered) and end.stage is Stage.DOT and end.reply.code < 400:
        return
    said = str(end.reply) if isinstance(end, Answered) else getattr(end, "reason", end)
    message = f"the proof to {address} was not taken: {said}"
    if isinstance(end, Answered) and end.reply.code < 500:
        message += "; this server asks to try again later"
    raise errors.Unavailable(message)


async def _like(
    desk: Desk, found: blasts.Blast, written: Draft, like: str | None
) -> subscriber.Subscriber:
    async with database.connection(desk.pool) as tx:
        if like is not None:
            address = subscriber.normalise(like).address
            person = await subscribers.get(tx, address=address)
            if person is None:
                message = f"there is no subscriber {like}"
                raise errors.NotFound(message)
            return person
        ids = await deliveries.audience(
            tx,
            audience.of(written.body, offset=deliveries.AUDIENCE_PARAMETERS),
            topic=found.topic,
            after=0,
            limit=1,
        )
        if not ids:
            message = f"blast {found.name} has no recipients: look at its segment"
            raise errors.Conflict(message)
        return (await subscribers.by_ids(tx, ids))[0]
