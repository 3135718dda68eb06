"""PostgreSQL connections, transactions, and queries that live in ``.sql`` files.

Each statement stands in ``store/sql/<noun>.sql`` under a line ``-- name: …``
followed by one comment line of intent, with ``:named`` parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from mailer import errors

Row = Mapping[str, Any]

_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
# A parameter is :word, but ::type is a cast and quoted text is left alone.
_PARAMETER = re.compile(r"'(?:[^']|'')*'|--[^\n]*|::|:([a-z_][a-z0-9_]*)")

_LOST = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory
    asyncpg.ReadOnlySQLTransactionError,  # a standby, in the middle of a failover
    asyncpg.DeadlockDetectedError,  # we were chosen to give way: once more
    asyncpg.IdleInTransactionSessionTimeoutError,  # we were suspended in one
    TimeoutError,  # a statement took longer than `COMMAND_TIMEOUT`
)

# What asyncpg raises for an address that is wrong or a server that refuses us.
_CONNECT = (asyncpg.PostgresError, asyncpg.InterfaceError)

# What the database says of a value that it will never take.
REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

OLDEST = 15  # UNIQUE NULLS NOT DISTINCT, MERGE
FROZEN = "10s"  # that a transaction may wait for us between two statements
CONNECT_TIMEOUT = 10.0  # seconds; a database that does not answer is unavailable
COMMAND_TIMEOUT = 300.0  # seconds; a launch of millions takes minutes, a hang more
SHORT = 20.0  # seconds; of a process whose statements are all small


@dataclass(frozen=True, slots=True)
class Query:
    """One statement: its name, its text with ``$n``, its parameters in order."""

    name: str
    sql: str
    names: tuple[str, ...]

    def arguments(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return *given* in the order of ``$1 …``.  TypeError on a wrong name."""
        if given.keys() != set(self.names):
            wrong = sorted(given.keys() ^ set(self.names))
            message = f"{self.name}: missing or unknown parameters {wrong}"
            raise TypeError(message)
        return tuple(given[name] for name in self.names)


def parse(noun: str, text: str) -> dict[str, Query]:
    """Cut the text of a ``.sql`` file into its named queries."""
    found: dict[str, Query] = {}
    heads = list(_NAME.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=True):
        name = f"{noun}.{head[1]}"
        if head[1] in found:
            message = f"{name} is defined twice"
            raise ValueError(message)
        found[head[1]] = query(name, text[head.end() : end].strip().rstrip(";"))
    return found


def query(name: str, text: str) -> Query:
    """Turn the ``:named`` parameters of one statement into ``$n``."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    sql = _PARAMETER.sub(number, text)
    return Query(name, sql, tuple(names))


def load(noun: str) -> dict[str, Query]:
    """Read the queries of ``store/sql/<noun>.sql``."""
    file = resources.files("mailer.store").joinpath("sql", f"{noun}.sql")
    return parse(noun, file.read_text("utf-8"))


class Connection:
    """One connection, in a transaction where `transaction` made it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw  # asyncpg's; used by store modules only (COPY, cursors)

    async def rows(self, query: Query, /, **given: Any) -> list[Row]:
        """Return every row."""
        found: list[Row] = await self.raw.fetch(query.sql, *query.arguments(given))
        return found

    async def row(self, query: Query, /, **given: Any) -> Row | None:
        """Return the first row, or None."""
        found: Row | None = await self.raw.fetchrow(query.sql, *query.arguments(given))
        return found

    async def value(self, query: Query, /, **given: Any) -> Any:
        """Return the first column of the first row, or None."""
        return await self.raw.fetchval(query.sql, *query.arguments(given))

    async def run(self, query: Query, /, **given: Any) -> int:
        """Execute, and return the number of rows that it touched."""
        status = await self.raw.execute(query.sql, *query.arguments(given))
        last = status.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def many(self, query: Query, /, given: Iterable[Mapping[str, Any]]) -> None:
        """Execute once for each mapping of parameters, pipelined."""
        await self.raw.executemany(query.sql, [query.arguments(one) for one in given])

    async def copy(
        self, table: str, *, columns: Sequence[str], records: Iterable[Sequence[Any]]
    ) -> int:
        """COPY *records* into *table*, in binary, and return how many."""
        status = await self.raw.copy_records_to_table(
            table, columns=columns, records=records
        )
        return int(status.rpartition(" ")[2])


class Pool:
    """A bounded set of connections to one database."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    async def close(self) -> None:
        """Close every connection, waiting for those in use."""
        await self.raw.close()


class _Raw(asyncpg.Connection):  # type: ignore[misc, no-any-unimported, unused-ignore]
    """A connection on which nobody leaves a trace: nothing to reset after each use.

    No session locks, no LISTEN, no SET that matters to the next but SET LOCAL: a
    transaction pooler between us and the server would break them too.
    """

    def get_reset_query(self) -> str:
        return ""


async def _prepare(raw: Any) -> None:
    """Refuse an old server; teach a new connection our types."""
    version = raw.get_server_version()
    if version.major < OLDEST:
        message = (
            f"the database is PostgreSQL {version.major}.{version.minor}: mailer needs "
            f"{OLDEST} or newer"
        )
        raise errors.Unavailable(message)
    await raw.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


async def _prepare_brief(raw: Any) -> None:
    """Do the same for a process that, suspended or gone, must not hold its locks.

    Behind a transaction pooler the limit may be lost: nothing breaks.
    """
    await _prepare(raw)
    await raw.execute(f"SET idle_in_transaction_session_timeout = '{FROZEN}'")


@asynccontextmanager
async def opened(
    url: str,
    *,
    size: int = 10,
    at_once: bool = True,
    patience: float = COMMAND_TIMEOUT,
) -> AsyncIterator[Pool]:
    """Connect to *url* with at most *size* connections, *at_once* or when needed.

    A statement that takes longer than *patience* seconds fails as one whose
    connection was lost: a host that is gone closes none.  Where that is `SHORT`, nor
    does a transaction wait for us for longer than `FROZEN`.
    Raises Unavailable when nobody answers there.
    """
    try:
        raw = await asyncpg.create_pool(
            url,
            min_size=int(at_once),
            max_size=size,
            init=_prepare if patience > SHORT else _prepare_brief,
            connection_class=_Raw,
            timeout=CONNECT_TIMEOUT,
            command_timeout=patience,
        )
    except errors.MailerError:
        raise  # Unavailable is a ConnectionError too
    except (OSError, TimeoutError, ValueError, *_CONNECT) as error:
        reason = str(error) or type(error).__name__  # a TimeoutError says nothing
        message = f"the database does not answer ({reason}): see MAILER_DATABASE_URL"
        raise errors.Unavailable(message) from error
    try:
        yield Pool(raw)
    finally:
        await raw.close()


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """Borrow a connection, without a transaction around it."""
    try:
        async with AsyncExitStack() as stack:
            try:
                raw = await stack.enter_async_context(pool.raw.acquire())
            except FileNotFoundError as error:  # the socket of one that restarts
                raise ConnectionError(str(error)) from error
            yield Connection(raw)
    except errors.MailerError:
        raise  # Unavailable is a ConnectionError too
    except _LOST as error:
        message = f"the database went away: {type(error).__name__}: {error}"
        raise errors.Unavailable(message) from error


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Borrow a connection inside a transaction: all of it happens, or nothing."""
    async with connection(pool) as tx, tx.raw.transaction():
        yield tx
