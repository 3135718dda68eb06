"""The ledger: who is owed what, and what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from mailer.core.delivery import BlastId, State, SubscriberId
from mailer.store import database

SQL = database.load("deliveries")

_STATES = {state.value: state for state in State}
_AUDIENCE = "/* audience */ true"
_HELD_OUT = "/* held out */ false"
# The lowest ranks of another draw: an exact share of each provider's people.
_IS_HELD_OUT = """row_number() OVER (
    PARTITION BY provider, is_suppressed ORDER BY hashint8extended(id, {seed} # 1), id
) <= round({share} * count(*) OVER (PARTITION BY provider, is_suppressed))"""


class Predicate(Protocol):
    """A segment as SQL over ``subscriber s LEFT JOIN giving g``."""

    @property
    def sql(self) -> str:
        """The condition, its parameters numbered."""

    @property
    def parameters(self) -> Sequence[object]:
        """The values of the parameters, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Rows of a new ledger with the same fate: how many, from where to where."""

    round: int
    provider: str
    variant: int | None
    state: State
    count: int
    first: int
    last: int


class Result(NamedTuple):
    """What came of one delivery, to be written into the ledger."""

    seq: int
    state: State
    attempts: int
    at: datetime
    code: int | None = None
    reply: str | None = None


class Settled(NamedTuple):
    """A row that a result has changed."""

    seq: int
    before: State
    after: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a blast is at one provider."""

    provider: str
    recipients: int
    sent: int
    deferrals: int
    bounced: int
    in_doubt: int
    suppressed: int
    held_out: int
    expired: int
    cancelled: int
    failed: int

    @property
    def left(self) -> int:
        """Return how many are still owed a message."""
        ends = self.sent + self.bounced + self.in_doubt + self.suppressed
        return (
            self.recipients
            - ends
            - self.held_out
            - self.expired
            - self.cancelled
            - self.failed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One recipient of a blast, by name."""

    seq: int
    email: str | None
    provider: str
    variant: int | None
    state: State
    attempts: int
    settled_at: datetime | None
    code: int | None
    reply: str | None
    resent_at: datetime | None  # when it was sent again, as it was in doubt


LAUNCH_PARAMETERS = len(SQL["launch"].names)
AUDIENCE_PARAMETERS = len(SQL["audience"].names)
SIZE_PARAMETERS = len(SQL["size_up"].names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many of an audience are at a provider, and how many of these suppressed."""

    provider: str
    people: int
    suppressed: int


async def audience(
    tx: database.Connection, predicate: Predicate, *, topic: str, after: int, limit: int
) -> list[SubscriberId]:
    """Return the next people of an audience that may be mailed, by number.

    The parameters of *predicate* are numbered from `AUDIENCE_PARAMETERS` + 1.
    """
    given = {"topic": topic, "after": after, "limit": limit}
    found = await _over(tx, SQL["audience"], predicate, given)
    return [row["id"] for row in found]


async def size_up(
    tx: database.Connection, predicate: Predicate, *, topic: str
) -> list[Size]:
    """Count an audience by provider, the largest first.

    The parameters of *predicate* are numbered from `SIZE_PARAMETERS` + 1.
    """
    found = await _over(tx, SQL["size_up"], predicate, {"topic": topic})
    return [Size(**row) for row in found]


async def _over(
    tx: database.Connection,
    query: database.Query,
    predicate: Predicate,
    given: Mapping[str, object],
) -> list[database.Row]:
    """Run *query* with *predicate* in the place of its marker."""
    assert _AUDIENCE in query.sql
    sql = query.sql.replace(_AUDIENCE, predicate.sql)
    rows: list[database.Row] = await tx.raw.fetch(
        sql, *query.arguments(given), *predicate.parameters
    )
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How an audience is dealt out; *holdout* is the share of each provider's people
    that gets nothing.
    """

    variants: int
    seed: int
    holdout: float = 0.0


async def launch(
    tx: database.Connection,
    blast: BlastId,
    *,
    audience: Predicate,
    topic: str,
    draw: Draw,
    patience: float = database.COMMAND_TIMEOUT,
) -> list[Placed]:
    """Write the ledger of *blast* in one statement; return what was placed where.

    *patience* is how many seconds it may take.  The parameters of *audience* are
    numbered from `LAUNCH_PARAMETERS` + 1.
    """
    query = SQL["launch"]
    assert _AUDIENCE in query.sql
    given = query.arguments(
        {
            "blast": blast,
            "topic": topic,
            "variants": draw.variants,
            "seed": draw.seed,
        }
    )
    sql = query.sql.replace(_AUDIENCE, audience.sql)
    if draw.holdout > 0:
        assert _HELD_OUT in sql
        seed_parameter = f"${query.names.index('seed') + 1}"
        expression = _IS_HELD_OUT.format(seed=seed_parameter, share=float(draw.holdout))
        sql = sql.replace(_HELD_OUT, expression)
    rows = await tx.raw.fetch(sql, *given, *audience.parameters, timeout=patience)
    return [Placed(**{**row, "state": State(row["state"])}) for row in rows]


async def cut(
    tx: database.Connection,
    blast: BlastId,
    placed: Sequence[Placed],
    *,
    pool: str,
    start_at: datetime,
    size: int,
) -> int:
    """Cut the owed rows into chunks of at most *size*, and return how many."""
    await tx.run(SQL["insert_rounds"], blast=blast)
    runs = _runs(placed)
    count = await tx.run(
        SQL["insert_chunks"],
        blast=blast,
        pool=pool,
        start_at=start_at,
        size=size,
        rounds=[round for round, _provider in runs],
        providers=[provider for _round, provider in runs],
        firsts=[first for first, _last in runs.values()],
        lasts=[last for _first, last in runs.values()],
    )
    await tx.run(
        SQL["roll_up_launch"],
        blast=blast,
        variants=[one.variant or 0 for one in placed],
        providers=[one.provider for one in placed],
        states=[one.state.value for one in placed],
        counts=[one.count for one in placed],
    )
    return count


def _runs(placed: Sequence[Placed]) -> dict[tuple[int, str], tuple[int, int]]:
    """Return from where to where the owed rows of each round and provider reach."""
    owed: defaultdict[tuple[int, str], list[Placed]] = defaultdict(list)
    for one in placed:
        if one.state is State.OWED:
            owed[one.round, one.provider].append(one)
    runs = {}
    for key, parts in sorted(owed.items()):
        first = min(part.first for part in parts)
        last = max(part.last for part in parts)
        # The ledger is sorted so that they lie together.
        assert sum(part.count for part in parts) == last - first + 1
        runs[key] = first, last
    return runs


async def settle(
    tx: database.Connection, blast: BlastId, results: Sequence[Result]
) -> list[Settled]:
    """Write *results* where the ledger waits for them; return what changed.

    Idempotent: a result that is there already changes nothing.
    """
    last = {result.seq: result for result in results}  # the last word of each
    ordered = [last[seq] for seq in sorted(last)]
    rows = await tx.rows(
        SQL["settle"],
        blast=blast,
        seqs=[result.seq for result in ordered],
        states=[result.state for result in ordered],
        attempts=[result.attempts for result in ordered],
        codes=[result.code for result in ordered],
        replies=[result.reply for result in ordered],
        ats=[result.at for result in ordered],
    )
    return [
        Settled(row["seq"], _STATES[row["before"]], _STATES[row["after"]])
        for row in rows
    ]


async def behind(
    tx: database.Connection, blast: BlastId, results: Sequence[Result]
) -> list[Result]:
    """Return those of *results* that the ledger does not have as they are."""
    rows = await tx.rows(
        SQL["behind"],
        blast=blast,
        seqs=[result.seq for result in results],
        states=[result.state.value for result in results],
        attempts=[result.attempts for result in results],
    )
    missing = {row["seq"] for row in rows}
    return [result for result in results if result.seq in missing]


async def suppress_bounced(
    tx: database.Connection,
    bounced: Sequence[tuple[SubscriberId, str]],
    *,
    source: str,
) -> None:
    """Keep bad addresses from being mailed again."""
    await tx.run(
        SQL["suppress_bounced"],
        subscribers=[subscriber for subscriber, _reply in bounced],
        replies=[reply for _subscriber, reply in bounced],
        source=source,
    )


async def states(tx: database.Connection, blast: BlastId) -> dict[State, int]:
    """Count the deliveries of *blast* by state, from the ledger itself."""
    rows = await tx.rows(SQL["states"], blast=blast)
    return {State(row["state"]): row["count"] for row in rows}


async def progress(tx: database.Connection, blast: BlastId) -> list[Progress]:
    """Return how far *blast* is, the largest provider first."""
    return [Progress(**row) for row in await tx.rows(SQL["progress"], blast=blast)]


async def listed(
    tx: database.Connection, blast: BlastId, *, states: Sequence[State], limit: int
) -> list[Listed]:
    """Name the recipients of *blast* in one of *states*."""
    rows = await tx.rows(
        SQL["listed"],
        blast=blast,
        states=[state.value for state in states],
        limit=limit,
    )
    return [Listed(**{**row, "state": State(row["state"])}) for row in rows]


async def close(
    tx: database.Connection, blast: BlastId, *, state: State, first: int, last: int
) -> None:
    """End what is still owed between two positions, as expired or cancelled."""
    await tx.run(SQL["close"], blast=blast, state=state.value, first=first, last=last)


async def close_chunks(tx: database.Connection, blast: BlastId) -> None:
    """Take the chunks of an ended blast out of the queue."""
    await tx.run(SQL["close_chunks"], blast=blast)


async def last(tx: database.Connection, blast: BlastId) -> int:
    """Return the last position of the ledger of *blast*; 0 when it has none."""
    found: int = await tx.value(SQL["last"], blast=blast)
    return found


async def overdue_doubts(
    tx: database.Connection, blast: BlastId, *, wait: timedelta
) -> list[int]:
    """Return what has been in doubt for *wait* and was not sent again yet.

    Reads the whole ledger of a blast: for those that have doubts.
    """
    rows = await tx.rows(SQL["overdue_doubts"], blast=blast, wait=wait)
    return [row["seq"] for row in rows]


async def owe_again(
    tx: database.Connection, blast: BlastId, seqs: Sequence[int]
) -> list[int]:
    """Owe again what is in doubt of *seqs*, and return which that were."""
    rows = await tx.rows(SQL["owe_again"], blast=blast, seqs=list(seqs))
    return [row["seq"] for row in rows]
