import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from mailer import errors
from mailer.store import database, migrate, processes

FIRST = migrate.Migration(number=1, name="first", sql="CREATE TABLE a (id integer)")
SECOND = migrate.Migration(number=2, name="second", sql="CREATE TABLE b (id integer)")
BROKEN = migrate.Migration(
    number=2, name="broken", sql="CREATE TABLE b (id integer); SELECT 1 / 0"
)


@pytest.fixture
async def empty(
    database_server: str, database_url: str
) -> AsyncIterator[database.Pool]:
    """A database in which nothing was ever made."""
    raw = await asyncpg.connect(database_url)
    await raw.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await raw.close()
    async with database.opened(database_url) as pool:
        yield pool


async def numbers(pool: database.Pool) -> list[int]:
    async with database.connection(pool) as tx:
        return [row["number"] for row in await tx.rows(migrate.SQL["applied"])]


async def tables(pool: database.Pool) -> list[str]:
    async with database.connection(pool) as tx:
        return list(
            await tx.raw.fetchval(
                "SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_tables"
                " WHERE schemaname = 'public' AND tablename <> 'migration'"
            )
            or ()
        )


def test_the_files_are_named_and_numbered_in_order() -> None:
    shipped = migrate.shipped()
    numbers = [one.number for one in shipped]

    assert numbers == sorted(set(numbers))  # a gap is another branch's
    for one in shipped:
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", one.name), one.name


async def test_a_migrated_database_needs_nothing(db: database.Pool) -> None:
    assert await migrate.ensure(db) == []
    assert await numbers(db) == [one.number for one in migrate.shipped()]


async def test_nothing_pending_takes_no_lock(db: database.Pool) -> None:
    async with database.transaction(db) as other:
        await other.run(migrate.SQL["lock"])

        assert await migrate.ensure(db) == []


async def test_pending_migrations_are_applied_in_order(empty: database.Pool) -> None:
    await migrate.ensure(empty, migrations=[FIRST])

    done = await migrate.ensure(empty, migrations=[FIRST, SECOND])

    assert [step.name for step in done] == ["second"]
    assert await tables(empty) == ["a", "b"]


async def test_a_migration_that_fails_leaves_the_ones_before_it(
    empty: database.Pool,
) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.ensure(empty, migrations=[FIRST, BROKEN])

    assert await tables(empty) == ["a"]
    assert await numbers(empty) == [1]


async def test_two_processes_apply_a_migration_once(empty: database.Pool) -> None:
    both: Sequence[migrate.Migration] = [FIRST, SECOND]
    done: list[migrate.Step] = []

    async def ensured() -> None:
        done.extend(await migrate.ensure(empty, migrations=both))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(ensured())

    assert sorted(step.number for step in done) == [1, 2]


async def test_a_newer_schema_is_refused(empty: database.Pool) -> None:
    await migrate.ensure(empty, migrations=[FIRST, SECOND])

    with pytest.raises(errors.Conflict, match="newer mailer: it has migration 0002"):
        await migrate.ensure(empty, migrations=[FIRST])


async def test_a_schema_that_is_not_ours_is_refused(empty: database.Pool) -> None:
    await migrate.ensure(empty, migrations=[FIRST])
    edited = migrate.Migration(number=1, name="first", sql="CREATE TABLE c ()")

    with pytest.raises(errors.Conflict, match=r"migration 0001 .* is not the one"):
        await migrate.ensure(empty, migrations=[edited])


async def test_a_breaking_migration_waits_for_running_processes(
    db: database.Pool,
) -> None:
    last = migrate.shipped()[-1].number
    breaking = migrate.Migration(
        number=last + 1, name="less", sql="-- breaking\nDROP TABLE clock CASCADE"
    )
    async with database.transaction(db) as tx:
        await processes.enter(
            tx, "w1", kind="worker", host="h", boot="b", pid=7, fingerprint="f"
        )

    with pytest.raises(
        errors.Conflict, match=r"stop them first, worker on h \(pid 7\)"
    ):
        await migrate.ensure(db, migrations=[*migrate.shipped(), breaking])

    async with database.transaction(db) as tx:
        await processes.leave(tx, "w1")
    await migrate.ensure(db, migrations=[*migrate.shipped(), breaking])
    async with database.connection(db) as tx:
        assert await migrate.is_outdated(tx)


async def test_status_names_what_is_applied_and_what_is_pending(
    db: database.Pool,
) -> None:
    steps = await migrate.status(db)

    assert [step.number for step in steps] == [one.number for one in migrate.shipped()]
    assert all(step.applied_at is not None for step in steps)


async def test_an_address_without_a_server_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable, match="does not answer"):
        async with database.opened("postgresql://127.0.0.1:1/x"):
            pass


async def test_an_address_that_is_none_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable, match="does not answer"):
        async with database.opened("mysql://example.org/x"):
            pass
