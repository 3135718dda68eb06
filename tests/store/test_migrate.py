from mailer.store import database, migrate


async def test_a_migrated_database_needs_nothing(db: database.Pool) -> None:
    await migrate.ensure(db)

    async with database.connection(db) as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM blast") == 0
        assert await tx.raw.fetchval("SELECT mailer_now() = now()")
