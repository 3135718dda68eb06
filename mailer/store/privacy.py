"""What is kept of people: by their wish, for a time, and nothing once erased."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from mailer.core import event
from mailer.core.event import Kind
from mailer.core.preference import Mode
from mailer.core.tracking import Label
from mailer.store import database
from mailer.store.events import Known

SQL = database.load("privacy")

_NO_LINK = -1  # of an open


async def modes(tx: database.Connection, ids: Collection[int]) -> dict[int, Mode]:
    """Return how much people let be kept, of those who said so."""
    rows = await tx.rows(SQL["modes"], ids=list(ids))
    return {row["subscriber_id"]: Mode(row["tracking"]) for row in rows}


async def count(tx: database.Connection, given: Iterable[Known]) -> None:
    """Count opens and clicks that name nobody."""
    humans: Counter[tuple[int, str, int, datetime]] = Counter()
    machines: Counter[tuple[int, str, int, datetime]] = Counter()
    for one in given:
        if (
            one.kind not in {Kind.OPEN, Kind.CLICK}
            or not one.is_anybody
            or one.blast is None
        ):
            continue
        link = one.link if one.kind is Kind.CLICK else _NO_LINK
        key = one.blast, one.kind.value, link, event.hour(one.at)
        (humans if one.label is Label.HUMAN else machines)[key] += 1
    keys = sorted({*humans, *machines})
    if keys:
        await tx.run(
            SQL["count"],
            blasts=[key[0] for key in keys],
            kinds=[key[1] for key in keys],
            links=[key[2] for key in keys],
            hours=[key[3] for key in keys],
            humans=[humans[key] for key in keys],
            machines=[machines[key] for key in keys],
        )


async def purge(tx: database.Connection, *, before: datetime, limit: int) -> int:
    """Remove up to *limit* raw events from before an instant; return how many."""
    return await tx.run(SQL["purge"], before=before, limit=limit)


async def export(tx: database.Connection, *, address: str) -> dict[str, Any] | None:
    """Return everything that is known of a person, or None of nobody."""
    found = await tx.value(SQL["export"], address=address)
    if found is None:
        return None
    return dict(json.loads(found) if isinstance(found, str) else found)


async def erase(tx: database.Connection, *, address: str) -> bool:
    """Forget a person but for the hash that keeps them out; False: nobody was there.

    What is known of an address without a person goes as well.
    """
    id = await tx.value(SQL["find"], address=address)
    await tx.run(SQL["remember"], address=address)
    for name in ("suppressions", "confirmations", "audit", "changes"):
        await tx.run(SQL[f"forget_{name}"], address=address)
    await tx.run(SQL["forget_donations"], id=id, address=address)
    if id is None:
        return False
    for name in ("deliveries", "events", "engagements", "subscriber"):
        await tx.run(SQL[f"forget_{name}"], id=id)
    await tx.run(SQL["tell"], id=id)
    return True
