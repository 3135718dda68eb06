"""Alarms and the notices by which people are told.

Every step may raise one: ``await alarms.raise_(tx, Kind.LANE, subject, detail)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from mailer import errors
from mailer.core import alarm
from mailer.core import blast as blasts
from mailer.core import doubt as doubts
from mailer.core.alarm import Alarm, Event, Kind
from mailer.core.delivery import BlastId
from mailer.store import database

SQL = database.load("alarms")

DETAIL = 1000  # characters; a provider's reply may be a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to one address, ours to deliver until its lease ends."""

    id: UUID
    alarm_id: int
    channel: str
    address: str
    body: Mapping[str, Any]
    attempts: int  # this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A notice of an open alarm that did not reach its address yet."""

    alarm_id: int
    channel: str
    address: str
    attempts: int
    error: str


async def raise_(tx: database.Connection, kind: Kind, subject: str, detail: str) -> int:
    """Raise an alarm, or count one more of the open one; return its number."""
    return await _raise(tx, kind, subject, detail, more=1)


async def doubt(tx: database.Connection, blast: BlastId, count: int) -> None:
    """Raise an alarm when a lost worker left *count* messages of a blast in doubt.

    They are counted already, in this transaction.
    """
    if count:
        row = await tx.row(SQL["blast"], id=blast)
        assert row is not None
        at = doubts.resend_at(
            blasts.Doubt(row["rule"]),
            state=blasts.State(row["state"]),
            since=row["now"],
            expires_at=row["expires_at"],
        )
        text = doubts.lost(count, row["in_doubt"], again_at=at)
        await raise_(tx, Kind.IN_DOUBT, f"blast {row['name']}", text)


async def sustain(
    tx: database.Connection, kind: Kind, subject: str, detail: str
) -> int:
    """Have an alarm open for a state that lasts: nothing is counted."""
    return await _raise(tx, kind, subject, detail, more=0)


async def _raise(
    tx: database.Connection, kind: Kind, subject: str, detail: str, *, more: int
) -> int:
    found: int = await tx.value(
        SQL["raise"],
        kind=kind,
        subject=subject,
        detail=detail.replace("\0", "")[:DETAIL],
        more=more,
        again=alarm.AGAIN,
    )
    return found


async def clear(tx: database.Connection, kind: Kind, subject: str, *, why: str) -> bool:
    """Say that the cause is gone; tell whether an alarm was open."""
    return bool(await tx.run(SQL["clear"], kind=kind, subject=subject, why=why))


async def lapse(tx: database.Connection) -> int:
    """End the taken alarms of which nothing was heard for long."""
    return await tx.run(SQL["lapse"], forgotten=alarm.FORGOTTEN)


async def take(
    tx: database.Connection, id: int, *, who: str, note: str | None
) -> tuple[Alarm, Alarm]:
    """Say who looks after an alarm; return it before and after.

    Raises NotFound when there is none, Conflict when its cause is gone.
    """
    before = await get(tx, id)
    if await tx.value(SQL["take"], id=id, who=who, note=note) is None:
        message = f"alarm {id} is over: {before.cleared_why or 'its cause is gone'}"
        raise errors.Conflict(message)
    return before, await get(tx, id)


async def get(tx: database.Connection, id: int) -> Alarm:
    """Return one alarm.  NotFound: there is none."""
    row = await tx.row(SQL["get"], id=id)
    if row is None:
        message = f"there is no alarm {id}: mailer alarm list"
        raise errors.NotFound(message)
    return _alarm(row)


async def open_(tx: database.Connection) -> list[Alarm]:
    """Return the alarms that are open, the oldest first."""
    return [_alarm(row) for row in await tx.rows(SQL["open"])]


async def everything(tx: database.Connection, *, limit: int) -> list[Alarm]:
    """Return the latest alarms, open or not, the newest first."""
    return [_alarm(row) for row in await tx.rows(SQL["all"], limit=limit)]


async def unsettled(tx: database.Connection) -> list[Alarm]:
    """Return the alarms of which people may have to be told something."""
    return [_alarm(row) for row in await tx.rows(SQL["unsettled"])]


async def lock(tx: database.Connection, id: int) -> Alarm | None:
    """Hold an alarm until the transaction ends; None: another process does."""
    row = await tx.row(SQL["lock"], id=id)
    return None if row is None else _alarm(row)


async def tell(tx: database.Connection, id: int, event: Event) -> int:
    """Remember what people are told of an alarm; return the number of the round.

    What was to be said before and did not arrive is let go.
    """
    await tx.run(SQL["drop"], alarm=id)
    found: int = await tx.value(SQL["tell"], id=id, event=event)
    return found


async def owe(
    tx: database.Connection,
    id: int,
    *,
    round: int,
    addresses: Sequence[tuple[str, str]],
    body: Mapping[str, Any],
) -> None:
    """Add a notice to each of *addresses*: channel and address."""
    await tx.many(
        SQL["owe"],
        [
            {
                "alarm": id,
                "round": round,
                "channel": channel,
                "address": address,
                "body": body,
            }
            for channel, address in addresses
        ],
    )


async def claim(
    tx: database.Connection, *, lease: timedelta, limit: int
) -> list[Notice]:
    """Take up to *limit* notices that are due; nobody else has them for *lease*."""
    rows = await tx.rows(SQL["claim"], lease=lease, limit=limit)
    return [Notice(**row) for row in rows]


async def sent(tx: database.Connection, id: UUID) -> None:
    """Remember that a notice was delivered."""
    await tx.run(SQL["sent"], id=id)


async def unsent(
    tx: database.Connection, id: UUID, *, error: str, wait: timedelta
) -> None:
    """Put a notice off that could not be delivered."""
    await tx.run(SQL["unsent"], id=id, error=error[:DETAIL], wait=wait)


async def undelivered(tx: database.Connection) -> list[Undelivered]:
    """Return the notices of open alarms that could not be delivered yet."""
    return [Undelivered(**row) for row in await tx.rows(SQL["undelivered"])]


async def clock(tx: database.Connection) -> datetime:
    """Return the time by the database's clock."""
    found: datetime = await tx.value(SQL["clock"])
    return found


async def counts(tx: database.Connection) -> dict[Kind, int]:
    """Return how many alarms of each kind are open."""
    found = dict.fromkeys(Kind, 0)
    for row in await tx.rows(SQL["counts"]):
        found[Kind(row["kind"])] = row["count"]
    return found


def _alarm(row: database.Row) -> Alarm:
    told = row["told"]
    known = {**row, "kind": Kind(row["kind"]), "told": Event(told) if told else None}
    return Alarm(**known)
