"""Builders: what a test takes for granted, said in a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mailer.core import blast
from mailer.core import subscriber as people_of
from mailer.core.delivery import SubscriberId
from mailer.core.suppression import Reason, key
from mailer.mail import template
from mailer.store import blasts, database, subscribers, suppressions

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


def content(**changes: Any) -> dict[str, Any]:
    """Return the content of a blast to everyone, as an approval freezes it."""
    body: dict[str, Any] = {
        "name": "eoq",
        "topic": "fundraising",
        "segment": "everyone",
        "exclude": [],
        "segments": {},
        "reply_to": None,
        "pool": "default",
        "priority": 0,
        "in_doubt": "hold",
        "holdout": 0.0,
        "send_at": None,
        "expires_at": None,
        "metric": "revenue",
        "variants": [variant("only")],
    }
    return body | changes


def variant(name: str, **changes: Any) -> dict[str, Any]:
    """Return a compiled variant: one link, a first name with a default."""
    compiled = template.Compiled(
        subject=changes.pop("subject", "Hours left"),
        preheader="",
        html=changes.pop(
            "html",
            '<img src="{{ pixel_url }}" alt=""><p>Hi {{ first_name | default("Friend")'
            ' }}</p><a href="{{ link_0 }}">Give</a>'
            '<a href="{{ unsubscribe_url }}">Unsubscribe</a>',
        ),
        text=changes.pop("text", "Give ({{ link_0 }})\n{{ unsubscribe_url }}\n"),
        links=(template.Link(index=0, url="https://example.org/give", values=()),),
    )
    return {
        "name": name,
        "from": "Example for Congress <team@example.org>",
        "compiled": compiled.document(),
        **changes,
    }


async def approved(
    db: database.Pool, body: Mapping[str, Any] | None = None, **fields: Any
) -> str:
    """Add a blast of *body* that is scheduled for now, and return its name."""
    body = body or content()
    fields = {
        "send_at": "mailer_now()",
        "expires_at": "mailer_now() + interval '1 day'",
        **fields,
    }
    hash = blast.digest(body)
    async with database.transaction(db) as tx:
        await blasts.keep(tx, hash, body)
        await tx.raw.execute(
            "INSERT INTO blast (name, state, topic, file, hash, proofed_hash,"
            " approved_hash, priority, send_at, expires_at)"
            f" VALUES ($1, 'scheduled', $2, 'x', $3, $3, $3, $4,"
            f" {fields['send_at']}, {fields['expires_at']})",
            body["name"],
            body["topic"],
            hash,
            body["priority"],
        )
        found = await blasts.get(tx, body["name"])
        arms = body["variants"]
        await blasts.keep_variants(tx, found.id, [(arm["name"], "x") for arm in arms])
        links = [
            (link["index"], position, link["url"])
            for position, arm in enumerate(arms[:1], 1)
            for link in arm["compiled"]["links"]
        ]
        await blasts.keep_links(tx, found.id, links)
    return str(body["name"])


async def states(db: database.Pool, name: str) -> dict[str, str]:
    """Return the state of each recipient of a blast, by address."""
    found = await rows(
        db,
        "SELECT s.email, d.state::text FROM delivery d"
        " JOIN blast b ON b.id = d.blast_id JOIN subscriber s ON s.id = d.subscriber_id"
        " WHERE b.name = $1 ORDER BY s.email",
        name,
    )
    return dict(found)
