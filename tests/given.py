"""Builders: what a test takes for granted, said in a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mailer.core import subscriber as people_of
from mailer.core.delivery import SubscriberId
from mailer.core.suppression import Reason, key
from mailer.store import database, subscribers, suppressions

NOON = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


async def subscriber(
    db: database.Pool, email: str, **fields: object
) -> people_of.Subscriber:
    """Return a person with this address; `fields` are the columns of an import.

    ``attributes`` is a mapping; giving is ``gift_count``, ``gift_sum``,
    ``highest_gift``, ``latest_gift``, ``latest_gift_at``, ``recurring``.
    """
    address = people_of.normalise(email)
    fields = {"provider": "other", "signed_up_at": NOON, **fields}
    cells = {
        "email": address.email,
        "address": address.address,
        "domain": address.domain,
        **{name: _cell(value) for name, value in fields.items()},
    }
    data = subscribers.encode([list(cells.values())])
    async with database.transaction(db) as tx:
        await subscribers.merge(tx, columns=list(cells), data=data)
        return await subscribers.get(tx, address=address.address)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


async def people(
    db: database.Pool, emails: Sequence[str], **fields: object
) -> list[SubscriberId]:
    """Return the ids of people with these addresses, who share their fields."""
    return [(await subscriber(db, email, **fields)).id for email in emails]


async def suppression(
    db: database.Pool,
    address: str,
    *,
    reason: str = "unsubscribe",
    topic: str | None = None,
) -> None:
    """Suppress an address or an ``@domain``."""
    wanted = suppressions.Wanted(
        address=key(address), reason=Reason(reason), topic=topic
    )
    async with database.transaction(db) as tx:
        await suppressions.add(tx, [wanted], source="given")


async def rows(db: database.Pool, statement: str, *values: object) -> list[Any]:
    """Return what the database holds, row by row, as tuples."""
    async with database.connection(db) as tx:
        return [tuple(row) for row in await tx.raw.fetch(statement, *values)]
