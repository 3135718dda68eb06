"""A link is led elsewhere after sending; only to where a link may lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer import errors
from mailer.pipeline import correcting, linking
from mailer.store import database
from tests import given

WRONG = [
    "http://example.org/", "javascript:alert(1)", "//evil.test", "https://good@evil.test",
    "https:/\\evil.test", "https://example.org/a b", "https://example.org/\r\nX: y",
    "https://exämple.org/", "/donate", "",
]  # fmt: skip


async def test_a_link_of_an_old_blast_leads_elsewhere_at_the_next_look(
    db: database.Pool, tmp_path: Path
) -> None:
    name = await given.approved(db)
    old = "UPDATE blast SET ended_at = now() - interval '30 days'"
    await given.rows(db, old)
    links = linking.Links(db, tmp_path / "links.json")
    await links.refresh(whole=True)
    before = links.of(1)

    done = await correcting.correct(
        db, name, link=0, to="https://example.org/{v0}?x=%7e", actor="ada"
    )
    await links.refresh(whole=False)

    assert done.before == before[0]
    assert links.of(1) == {**before, 0: "https://example.org/{v0}?x=%7e"}
    assert await correcting.listed(db, name) == links.of(1)
    audit = await given.rows(db, "SELECT actor, action, before, after FROM audit")
    assert ("ada", "link 0", done.before, done.after) in audit


@pytest.mark.parametrize("url", WRONG)
async def test_a_link_is_led_nowhere_unsafe(url: str, db: database.Pool) -> None:
    name = await given.approved(db)
    before = await correcting.listed(db, name)

    with pytest.raises(errors.Invalid):
        await correcting.correct(db, name, link=0, to=url, actor="ada")

    assert await correcting.listed(db, name) == before


async def test_what_is_not_there_is_not_corrected(db: database.Pool) -> None:
    name = await given.approved(db)

    with pytest.raises(errors.NotFound, match="no link 9"):
        await correcting.correct(
            db, name, link=9, to="https://example.org/", actor="ada"
        )
