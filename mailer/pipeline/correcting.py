"""Lead a link elsewhere after its message was sent: the token in the mail stays."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailer import errors
from mailer.mail import links as rules
from mailer.store import blasts, database, links

_FILLED = re.compile(r"\{(?:v\d+|refcode2)\}")  # for each person


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """Where a link led, and where it leads."""

    blast: str
    link: int
    before: str
    after: str


async def correct(
    pool: database.Pool, name: str, *, link: int, to: str, actor: str
) -> Corrected:
    """Lead the *link* of a blast to the address *to*, also in mail that is out.

    It is in force on every machine within seconds.  Raises NotFound, and Invalid when
    *to* is no address that a link may lead to.
    """
    fault = rules.fault(_FILLED.sub("x", to))
    if fault is not None:
        raise errors.Invalid(f"{to}: {fault}")
    async with database.transaction(pool) as tx:
        found = await blasts.get(tx, name)
        before = await links.correct(tx, found.id, index=link, url=to)
        if before is None:
            message = f"{found.object} has no link {link}: `mailer blast link {name}`"
            raise errors.NotFound(message)
        await blasts.audit(
            tx,
            actor=actor,
            object=found.object,
            action=f"link {link}",
            before=before,
            after=to,
        )
    return Corrected(blast=name, link=link, before=before, after=to)


async def listed(pool: database.Pool, name: str) -> dict[int, str]:
    """Return where the links of a blast lead.  Raises NotFound."""
    async with database.connection(pool) as tx:
        found = await blasts.get(tx, name)
        return (await links.of(tx, found.id)).get(found.id, {})
