"""Launch what is due: freeze the audience into the ledger and release its chunks."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

import structlog

from mailer import errors
from mailer.core import audience, blast
from mailer.core.delivery import State
from mailer.store import blasts, database, deliveries, subscribers

ACTOR = "scheduler"
CHUNK = 400  # deliveries in a chunk, at most: a write to lease it, one to finish
PARTS = 100  # chunks of a small blast, so that all connections have work
FEW = 10  # deliveries in a chunk, at least
DUE = timedelta(days=1)  # what is launched is due, also by a clock that is set back
SLOWEST = 2_000  # rows a second; two busy cores write 45,000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What a launch wrote."""

    name: str
    rows: int
    owed: int
    chunks: int


async def launch_due(pool: database.Pool) -> list[Launched]:
    """Launch every blast whose time has come, the most urgent first."""
    async with database.connection(pool) as tx:
        names = await blasts.due(tx)
    launched = []
    for name in names:
        try:
            launched.append(await launch(pool, name))
        except errors.Conflict:
            continue  # another machine was faster, or a person paused it
    return launched


async def launch(pool: database.Pool, name: str) -> Launched:
    """Write the ledger of a scheduled blast and let its messages start.

    All of it in one transaction: a crash leaves the blast launching, with nothing
    written, and the next call does it again with the same seed.
    """
    async with database.transaction(pool) as tx:
        found = await blasts.get(tx, name)
        if found.state is not blast.State.LAUNCHING:
            await blasts.move(tx, found, blast.Move.LAUNCH, actor=ACTOR)
        await blasts.launching(tx, found, seed=secrets.randbits(63))
    async with database.transaction(pool) as tx:
        found = await blasts.get(tx, name)
        # First: whoever else launches it now waits for this row, and then conflicts.
        await blasts.move(tx, found, blast.Move.SEND, actor=ACTOR)
        assert found.approved_hash is not None, "the schema keeps it from here on"
        assert found.send_at is not None
        assert found.seed is not None
        body = await blasts.content(tx, found.approved_hash)
        placed = await deliveries.launch(
            tx,
            found.id,
            audience=audience.of(body, offset=deliveries.LAUNCH_PARAMETERS),
            topic=found.topic,
            draw=deliveries.Draw(
                variants=len(body["variants"]),
                seed=found.seed,
                holdout=body["holdout"],
            ),
            # A launch that its time limit ends begins again, for ever.
            patience=database.COMMAND_TIMEOUT + await subscribers.count(tx) / SLOWEST,
        )
        owed = sum(one.count for one in placed if one.state is State.OWED)
        count = await deliveries.cut(
            tx,
            found.id,
            placed,
            pool=body["pool"],
            start_at=found.send_at - DUE,
            size=_size(owed, variants=len(body["variants"])),
        )
    rows = sum(one.count for one in placed)
    log.info("blast.launched", blast=name, rows=rows, owed=owed, chunks=count)
    return Launched(name=name, rows=rows, owed=owed, chunks=count)


def _size(owed: int, *, variants: int) -> int:
    """Return how many deliveries a chunk has: a multiple of the variants."""
    wanted = min(CHUNK, max(FEW, owed // PARTS))
    return max(1, wanted // variants) * variants
