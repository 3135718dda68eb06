import pytest

from mailer import errors
from mailer.store import database, subscribers
from tests import given


async def test_people_come_in_the_order_of_their_ids_and_strangers_are_left_out(
    db: database.Pool,
) -> None:
    ada = await given.subscriber(db, "ada@example.org", attributes={"ward": "7"})
    bo = await given.subscriber(db, "bo@example.org", gift_count=2, gift_sum=50)

    async with database.connection(db) as tx:
        found = await subscribers.by_ids(tx, [bo.id, 10**12, ada.id, bo.id])

    assert found == [ada, bo]
    assert (ada.attributes, bo.giving.count) == ({"ward": "7"}, 2)


async def test_a_stranger_is_said_to_be_one(db: database.Pool) -> None:
    async with database.connection(db) as tx:
        with pytest.raises(errors.NotFound, match="no subscriber has the address"):
            await subscribers.get(tx, address="eve@example.org")


async def test_any_text_comes_back_from_a_copy_as_it_was(db: database.Pool) -> None:
    name = 'back\\slash \\N \\t "quoted" ünï'

    found = await given.subscriber(
        db, "ada@example.org", first_name=name, attributes={"note": name}
    )

    assert (found.first_name, found.attributes) == (name, {"note": name})
