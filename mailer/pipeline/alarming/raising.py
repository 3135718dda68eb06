"""Raise an alarm, or end one, where nothing else is written: never a failure itself."""

from __future__ import annotations

import structlog

from mailer.core.alarm import Kind
from mailer.store import alarms, database

log = structlog.get_logger()


async def raise_(pool: database.Pool, kind: Kind, subject: str, detail: str) -> bool:
    """Raise an alarm; tell whether it could be: a database may be away."""
    try:
        async with database.transaction(pool) as tx:
            await alarms.raise_(tx, kind, subject, detail)
    except Exception as error:  # noqa: BLE001 -- telling must stop nothing
        log.warning("alarm.unraised", kind=kind.value, error=str(error))
        return False
    return True


async def clear(pool: database.Pool, kind: Kind, subject: str, *, why: str) -> bool:
    """Say that the cause of an alarm is gone; tell whether that could be written."""
    try:
        async with database.transaction(pool) as tx:
            await alarms.clear(tx, kind, subject, why=why)
    except Exception as error:  # noqa: BLE001 -- telling must stop nothing
        log.warning("alarm.uncleared", kind=kind.value, error=str(error))
        return False
    return True
