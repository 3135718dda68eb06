"""Every query of every `.sql` file, asked of the real schema."""

from importlib import resources

import pytest

from mailer.core import blast, delivery, suppression
from mailer.store import database

NOUNS = sorted(
    file.name.removesuffix(".sql")
    for file in resources.files("mailer.store").joinpath("sql").iterdir()
    if file.name.endswith(".sql")
)

# Enumeration of the schema -> the words of core.
WORDS = {
    "blast_state": {state.value for state in blast.State},
    "suppression_reason": {reason.value for reason in suppression.Reason},
    "delivery_state": {state.value for state in delivery.State},
}


@pytest.mark.parametrize("noun", NOUNS)
async def test_every_query_prepares(noun: str, db: database.Pool) -> None:
    wrong = {}
    async with database.transaction(db) as tx:
        for name, query in database.load(noun).items():
            try:
                async with tx.raw.transaction():
                    await tx.raw.prepare(query.sql)
                    if "\nCREATE TEMP " in query.sql:  # later queries use it
                        await tx.raw.execute(query.sql)
            except Exception as error:  # noqa: BLE001 - all of them at once
                wrong[name] = f"{type(error).__name__}: {error}"

    assert wrong == {}


@pytest.mark.parametrize("noun", NOUNS)
def test_every_query_says_what_it_is_for(noun: str) -> None:
    for name, query in database.load(noun).items():
        assert query.sql.startswith("-- "), f"{noun}.{name} has no sentence of intent"


@pytest.mark.parametrize("kind", WORDS)
async def test_the_schema_and_core_have_the_same_words(
    kind: str, db: database.Pool
) -> None:
    async with database.connection(db) as tx:
        found = await tx.raw.fetch(
            "SELECT enumlabel FROM pg_enum WHERE enumtypid = $1::text::regtype", kind
        )

    assert {row["enumlabel"] for row in found} == WORDS[kind]


async def test_every_counter_of_a_final_state_is_in_the_rollup(
    db: database.Pool,
) -> None:
    async with database.connection(db) as tx:
        found = await tx.raw.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'rollup'::regclass"
        )

    columns = {row["attname"] for row in found}
    assert {state.value for state in delivery.FINAL} <= columns
