"""How much of the workers' journals is settled, and in which life of the database.

A journal is replayed whole when the database is not the one that it was settled in.
A restore says so itself: it changes the identity.  After a failover or a recovery to
a point in time the server's timeline is another one than the identity was made on.
A disk that was set back shows neither: but then the count of a journal's batches is
lower than its worker knows it to be, because each batch is counted in the transaction
that settles it.  Whoever notices changes the identity, so that everybody replays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from mailer.store import database

SQL = database.load("journals")


NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How much of a journal is in the ledger of which life of the database."""

    identity: UUID | None  # None: the life of the server ended, nobody has noticed
    settled: int  # batches

    def is_within(self, other: Standing | None) -> bool:
        """Tell whether all of this is in *other* still."""
        return (
            self.identity is not None
            and other is not None
            and self.identity == other.identity
            and self.settled <= other.settled
        )


async def begin(tx: database.Connection, owner: str) -> Standing:
    """Begin to count the batches of *owner*, or go on; return where it stands."""
    await tx.run(SQL["tidy"])
    await change_identity(tx, known=NOBODY)  # where the server has begun a new life
    await tx.run(SQL["begin"], owner=owner)
    return (await standings(tx, [owner]))[owner]


async def count(tx: database.Connection, owner: str) -> int:
    """Count the batch of this transaction; return how many that are now."""
    found: int = await tx.value(SQL["count"], owner=owner)
    return found


async def standings(
    tx: database.Connection, owners: Sequence[str]
) -> dict[str, Standing]:
    """Return where the journals of *owners* stand that the database knows."""
    identity = await tx.value(SQL["identity"])
    rows = await tx.rows(SQL["settled"], owners=list(owners))
    return {
        row["owner"]: Standing(identity=identity, settled=row["settled"])
        for row in rows
    }


async def change_identity(tx: database.Connection, *, known: UUID | None) -> None:
    """Have every worker replay its journals and wait a while before it starts anything.

    Nothing happens when the identity is not *known* any more, and the server's life
    is the same; None: whatever they are.
    """
    await tx.run(SQL["change"], known=known)
