"""Look again at the domains that matter, by itself; say when a listed one moves."""

from __future__ import annotations

import structlog

from mailer import settings
from mailer.core import exchange
from mailer.core.alarm import Kind
from mailer.pipeline.resolving.asking import Asker
from mailer.store import alarms, database, domains

LARGEST = 200  # domains of most people that are looked at

log = structlog.get_logger()


async def refresh(pool: database.Pool, chosen: settings.Settings) -> list[str]:
    """Look again at domains whose time is over: the listed ones, and the largest.

    Only those at which we have people.  A listed one that is received by another
    provider than before, and than the list says, raises an alarm, until it is back.
    Returns the names that moved; DNS that is down changes nothing.
    """
    hints = exchange.hints(chosen.providers)
    async with database.connection(pool) as tx:
        listed = await domains.peopled(tx, sorted(hints))
        names = [*listed, *await domains.largest(tx, limit=LARGEST)]
        names = list(dict.fromkeys(names))
        known = await domains.known(tx, names)
    due = [one for one in names if one not in known or not known[one].is_good]
    asker = Asker(pool=pool, chosen=chosen, answers={})
    trouble = await asker.ask(due)
    if trouble:
        log.info("domains.unasked", error=trouble)
    for one in asker.moved:
        log.info("domain.moved", domain=one.name, before=one.before, after=one.after)
        if one.name not in hints:
            continue
        subject = f"domain {one.name}"
        text = f"Its mail was received by {one.before} and is by {one.after} now."
        async with database.transaction(pool) as tx:
            if one.after == hints[one.name]:
                why = f"{one.after} receives it, as config/providers.toml says"
                await alarms.clear(tx, Kind.MOVED, subject, why=why)
            else:
                await alarms.raise_(tx, Kind.MOVED, subject, text)
    return [one.name for one in asker.moved]
