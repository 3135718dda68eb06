"""What a rehearsal is given: the people of a blast and its content, in a database of
its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.core import audience, blast, segment
from mailer.store import blasts, database, deliveries, rehearsals

PAGE = 20_000  # people copied at once
ACTOR = "rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The blast that is rehearsed, as it is now."""

    found: blasts.Blast
    spec: blast.Spec
    body: Mapping[str, Any]
    arms: Sequence[tuple[str, str]]
    links: Sequence[tuple[int, int, str]]


async def copy(
    real: database.Pool,
    scratch: database.Pool,
    given: Copy,
    *,
    send_at: datetime,
    expires_at: datetime,
    tell: Callable[[int], None],
) -> blasts.Blast:
    """Copy who may get the blast, and the blast; it is scheduled there afterwards.

    Reads *real* and writes *scratch*.  Who is in the segment, excluded or suppressed is
    asked of the real database, so that nothing else has to be copied.  *tell* hears
    how many people are there.
    """
    whom = audience.of(given.body, offset=deliveries.AUDIENCE_PARAMETERS)
    after, count = 0, 0
    async with database.connection(real) as reader:
        while True:
            ids = await deliveries.audience(
                reader, whom, topic=given.found.topic, after=after, limit=PAGE
            )
            if not ids:
                break
            after = ids[-1]
            async with database.transaction(scratch) as tx:
                await rehearsals.copy_people(reader, tx, ids)
            count += len(ids)
            tell(count)
    async with database.connection(scratch) as tx:
        await rehearsals.analyze(tx)
    async with database.transaction(scratch) as tx:
        return await _schedule(tx, given, send_at=send_at, expires_at=expires_at)


async def _schedule(
    tx: database.Connection, given: Copy, *, send_at: datetime, expires_at: datetime
) -> blasts.Blast:
    """Add the blast under its real number, and bring it where it may be launched."""
    body = {
        **given.body,
        "segment": segment.EVERYONE,  # of those who were copied
        "exclude": [],
        "segments": {},
    }
    await rehearsals.number_next(tx, given.found.id)
    await blasts.insert(
        tx,
        given.spec,
        file=given.found.file,
        hash=blast.digest(body),
        expires_at=expires_at,
    )
    found = await blasts.get(tx, given.spec.name)
    await blasts.keep_variants(tx, found.id, given.arms)
    await blasts.keep_links(tx, found.id, given.links)
    await blasts.approve(tx, found, body=body)
    for move in (blast.Move.PROOF, blast.Move.APPROVE, blast.Move.SCHEDULE):
        await blasts.move(tx, found, move, actor=ACTOR)
        found = await blasts.get(tx, found.name)
    await blasts.schedule(tx, found, send_at=send_at, expires_at=expires_at)
    return await blasts.get(tx, found.name)
