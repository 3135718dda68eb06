import asyncio

import pytest

from mailer import errors
from mailer.store import database, migrate


def test_named_parameters_become_numbered() -> None:
    found = database.query("x", "SELECT ':no', :a::text, :b, :a -- :c")
    assert found.sql == "SELECT ':no', $1::text, $2, $1 -- :c"
    assert found.names == ("a", "b")


async def test_a_database_that_hangs_is_given_up_soon_and_asked_again(
    database_url: str,
) -> None:
    async with database.opened(database_url, size=1, patience=0.2) as pool:
        async with asyncio.timeout(10):
            with pytest.raises(errors.Unavailable, match="TimeoutError"):
                async with database.connection(pool) as tx:
                    await tx.raw.execute("SELECT pg_sleep(60)")
            async with database.connection(pool) as tx:
                assert await tx.raw.fetchval("SELECT 1") == 1


async def suspended(db: database.Pool) -> None:
    """Fall asleep in a transaction, and go on when its time is over."""
    async with database.transaction(db) as frozen:
        limit = "SHOW idle_in_transaction_session_timeout"
        assert await frozen.raw.fetchval(limit) == database.FROZEN
        # As if the time were over: nobody waits ten seconds here.
        await frozen.raw.execute(
            "SET LOCAL idle_in_transaction_session_timeout = '50ms'"
        )
        await frozen.raw.execute("LOCK TABLE blast")
        async with database.connection(db) as other:
            await other.raw.fetch("SELECT FROM blast")
        await frozen.raw.fetchval("SELECT 1")


async def test_a_process_that_is_suspended_in_a_transaction_holds_its_locks_no_longer(
    database_url: str,
) -> None:
    async with (
        database.opened(database_url, patience=database.SHORT) as pool,
        asyncio.timeout(10),
    ):
        await migrate.ensure(pool)
        with pytest.raises(errors.Unavailable):
            await suspended(pool)
