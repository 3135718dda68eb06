"""Look one person up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailer.core import subscriber, suppression
from mailer.store import database, subscribers, suppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that is known about a person."""

    subscriber: subscriber.Subscriber
    suppressions: tuple[suppression.Suppression, ...]
    history: Mapping[str, int]  # what they got and did, as counts


async def person(pool: database.Pool, email: str) -> Known:
    """Return what is known about *email*, however it is spelt.

    Raises Invalid when it is no address, NotFound when nobody has it.
    """
    wanted = subscriber.normalise(email)
    async with database.transaction(pool) as tx:
        found = await subscribers.get(tx, address=wanted.address)
        return Known(
            subscriber=found,
            suppressions=tuple(
                await suppressions.about(tx, address=found.address, domain=found.domain)
            ),
            history=await subscribers.history(tx, subscriber=found.id),
        )
