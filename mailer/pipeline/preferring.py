"""Show a person what they get, and the message that they got."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mailer import errors
from mailer.core.delivery import BlastId
from mailer.core.tracking import Ring, Token
from mailer.mail import message, template
from mailer.store import blasts, database, preferences, subscribers
from mailer.store.preferences import Standing

PATIENCE = 2.0  # seconds; then the page does without the database

__all__ = ["House", "Standing", "show", "view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the settings say that stands in messages."""

    organization: Mapping[str, str]
    public_url: str
    ring: Ring


async def show(pool: database.Pool, token: Token) -> Standing | None:
    """Return how it stands with a person; None when nobody has that number.

    Raises Unavailable when the database does not say so soon enough.
    """
    try:
        async with asyncio.timeout(PATIENCE), database.connection(pool) as tx:
            return await preferences.of(
                tx, subscriber=token.subscriber, blast=token.blast
            )
    except TimeoutError as error:
        raise errors.Unavailable("the database takes too long") from error


async def view(
    pool: database.Pool, house: House, token: Token, urls: Mapping[int, str]
) -> str:
    """Return the message of a token as a page, with what is known of the person now.

    *urls* are the links that were corrected.  Raises NotFound when there is none (a
    person who is erased has none), Unavailable, and Invalid when it can't be filled.
    """
    try:
        async with asyncio.timeout(PATIENCE), database.connection(pool) as tx:
            got = await preferences.got(
                tx, subscriber=token.subscriber, blast=token.blast
            )
            people = await subscribers.by_ids(tx, [token.subscriber])
            if got is None or not people:
                raise errors.NotFound("no such message")
            body = await blasts.content(tx, got.hash)
    except TimeoutError as error:
        raise errors.Unavailable("the database takes too long") from error
    arm, expires_at = body["variants"][got.variant - 1], body["expires_at"]
    composer = message.Composer(
        template.Compiled.from_document(arm["compiled"]),
        blast=message.Blast(
            id=BlastId(got.blast),
            name=got.name,
            topic=got.topic,
            organization=house.organization,
            public_url=house.public_url,
            ring=house.ring,
            deadline=datetime.fromisoformat(expires_at) if expires_at else None,
        ),
        variant=got.variant,
        sender=arm["from"],
    )
    return composer.view(people[0], urls)
