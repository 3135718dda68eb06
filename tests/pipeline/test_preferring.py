"""What people chose is obeyed at launch and at lease; /v shows what they got."""

from __future__ import annotations

import pytest

from mailer import errors
from mailer.core.preference import Choice
from mailer.core.tracking import Ring, Token
from mailer.pipeline import launching, preferring
from mailer.store import database, preferences
from tests import given
from tests.pipeline.conftest import Workshop
from tests.pipeline.test_sending import settled
from tests.sink import Sink

ADA, BO, CY = (f"{name}@yahoo.test" for name in ("ada", "bo", "cy"))
RING = Ring(keys={1: bytes(32)}, current=1)
HOUSE = preferring.House(
    organization={"organization": "Example"}, public_url="https://x.test", ring=RING
)


async def choose(db: database.Pool, person: int, choice: Choice) -> None:
    [(now,)] = await given.rows(db, "SELECT now()")
    async with database.transaction(db) as tx:
        await preferences.choose(tx, subscriber=person, choice=choice, at=now)


async def launched(db: database.Pool, name: str) -> str:
    found = await given.approved(db, given.content(name=name))
    await launching.launch(db, found)
    return found


async def test_who_wants_fewer_gets_no_second_message_too_early(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    ada, _ = await given.people(db, [ADA, BO])
    await choose(db, ada, Choice(every=7))
    await launched(db, "one")
    async with workshop.working():
        await settled(db, 2)

    two = await launched(db, "two")
    before = await given.states(db, two)
    await given.rows(
        db, "UPDATE delivery SET settled_at = settled_at - interval '8 days'"
    )
    three = await launched(db, "three")

    assert before == {ADA: "suppressed", BO: "owed"}
    assert await given.states(db, three) == {ADA: "owed", BO: "owed"}


async def test_who_chose_after_the_launch_is_asked_about_at_the_lease(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    ada, bo, _ = await given.people(db, [ADA, BO, CY])
    one = await launched(db, "one")
    two = await launched(db, "two")
    await choose(db, ada, Choice(every=30))
    await choose(db, bo, Choice(pause=14))

    async with workshop.working():
        await settled(db, 6)

    assert await given.states(db, one) == {ADA: "sent", BO: "suppressed", CY: "sent"}
    assert await given.states(db, two) == {
        ADA: "suppressed",
        BO: "suppressed",
        CY: "sent",
    }
    assert sink.heard.count(ADA) == 1


async def test_the_view_is_the_message_without_anything_that_speaks_for_the_person(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    [ada] = await given.people(db, [ADA], first_name="Ada")
    await launched(db, "one")
    token = Token(blast=1, subscriber=ada)
    with pytest.raises(errors.NotFound):
        await preferring.view(db, HOUSE, token, {})
    async with workshop.working():
        await settled(db, 1)

    text = await preferring.view(db, HOUSE, token, {0: "https://example.org/right"})

    assert "Ada" in text
    assert "https://example.org/right" in text
    for purpose in "coupv":
        assert f"https://x.test/{purpose}/" not in text
