import asyncio

import pytest

from mailer import errors
from mailer.store import database


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
