import csv
import io
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from mailer import errors
from mailer.core.suppression import Reason, outranks
from mailer.pipeline import suppressing
from mailer.pipeline.suppressing import Scope
from mailer.store import database, suppressions
from mailer.store.suppressions import Wanted
from tests import given


async def entries(db: database.Pool) -> list[tuple[object, ...]]:
    """Return every entry."""
    return await given.rows(
        db, "SELECT address, topic, reason FROM suppression ORDER BY address, topic"
    )


async def add(
    db: database.Pool, text: str, reason: str = "manual", topic: str | None = None
) -> suppressing.Changed:
    """Suppress, as somebody at the command line does."""
    scope = Scope(reason=Reason(reason), topic=topic, note="by phone")
    return await suppressing.add(db, text, scope=scope, actor="tess")


async def test_an_address_is_suppressed_audited_and_told_to_the_workers(
    db: database.Pool,
) -> None:
    found = await add(db, " ADA@example.org")

    assert found.changed
    assert (found.entry.address, found.entry.note) == ("ada@example.org", "by phone")
    assert await entries(db) == [("ada@example.org", None, "manual")]
    assert await given.rows(db, "SELECT address FROM change") == [("ada@example.org",)]
    assert await given.rows(
        db, "SELECT actor, object, action, before, after, why FROM audit"
    ) == [
        ("tess", "suppression ada@example.org", "add", None, "manual", "by phone"),
    ]


async def test_again_is_neither_changed_nor_audited(db: database.Pool) -> None:
    await add(db, "@example.org")

    found = await add(db, "@EXAMPLE.org")

    assert not found.changed
    assert await given.rows(db, "SELECT count(*) FROM audit") == [(1,)]


@pytest.mark.parametrize(("old", "new"), [*product(Reason, Reason)])
async def test_sql_and_core_agree_on_what_replaces_what(
    db: database.Pool, old: Reason, new: Reason
) -> None:
    await add(db, "ada@example.org", old)

    found = await add(db, "ada@example.org", new)

    assert found.changed == outranks(new, old)
    assert await entries(db) == [
        ("ada@example.org", None, new if outranks(new, old) else old)
    ]


async def test_an_entry_that_has_run_out_is_renewed_and_told_again(
    db: database.Pool,
) -> None:
    async with database.transaction(db) as tx:
        past = given.NOON - timedelta(days=365 * 20)
        temporary = Wanted(
            address="ada@example.org", reason=Reason.COMPLAINT, expires_at=past
        )
        await suppressions.add(tx, [temporary], source="test")

    found = await add(db, "ada@example.org", "bounce")

    assert found.changed
    assert (found.entry.reason, found.entry.expires_at) == ("bounce", None)
    assert await given.rows(db, "SELECT count(*) FROM change") == [(2,)]


@pytest.mark.parametrize("reason", ["unsubscribe", "complaint"])
async def test_what_the_person_said_is_lifted_only_by_the_person(
    db: database.Pool, reason: str
) -> None:
    await add(db, "ada@example.org", reason)

    for nothing in (None, "", "  "):
        with pytest.raises(errors.Conflict, match="only the person lifts that"):
            await suppressing.remove(
                db, "ada@example.org", topic=None, actor="tess", confirmed=nothing
            )
    assert await entries(db) == [("ada@example.org", None, reason)]

    await suppressing.remove(
        db, "ada@example.org", topic=None, actor="tess", confirmed="web form"
    )
    assert await entries(db) == []
    assert await given.rows(
        db, "SELECT action, before, after, why FROM audit ORDER BY id"
    ) == [
        ("add", None, reason, "by phone"),
        ("remove", reason, None, "web form"),
    ]


async def test_a_bounce_is_lifted_by_an_operator(db: database.Pool) -> None:
    await add(db, "ada@example.org", "bounce", topic="news")

    with pytest.raises(errors.NotFound, match="not suppressed on every topic"):
        await suppressing.remove(db, "ada@example.org", topic=None, actor="tess")
    entry = await suppressing.remove(db, "ada@example.org", topic="news", actor="tess")

    assert (entry.reason, await entries(db)) == (Reason.BOUNCE, [])


async def test_find_names_who_must_not_be_mailed_and_the_strongest_reason(
    db: database.Pool,
) -> None:
    ada, bo, cy, dee, eve = await given.people(
        db,
        [
            "ada@example.org", "bo@example.com", "cy@example.net",
            "dee@mail.example.org", "eve@example.com",
        ],
    )  # fmt: skip
    await add(db, "ada@example.org", "import")
    await add(db, "@example.org", "manual")
    await add(db, "ada@example.org", "complaint", topic="news")
    await add(db, "bo@example.com", "unsubscribe", topic="news")
    await add(db, "cy@example.net", "bounce")
    ids = [eve, dee, cy, bo, ada]

    async with database.transaction(db) as tx:
        news = await suppressions.find(tx, ids, topic="news")
        events = await suppressions.find(tx, ids, topic="events")

    assert [(one.subscriber_id, one.address, one.reason) for one in news] == [
        (ada, "ada@example.org", "complaint"),
        (bo, "bo@example.com", "unsubscribe"),
        (cy, "cy@example.net", "bounce"),
    ]
    assert [(one.subscriber_id, one.address, one.reason) for one in events] == [
        (ada, "@example.org", "manual"),
        (cy, "cy@example.net", "bounce"),
    ]


LIST = """\
E-Mail,Reason,Topic,Note
Ada@example.org,,,
bo@example.org,complaint,,called us spam
@example.com,,news,
nobody,,,
cy@example.org,whim,,
dee@example.org,,,
"""


async def test_a_list_is_added_and_lifts_nothing(
    db: database.Pool, tmp_path: Path
) -> None:
    await given.subscriber(db, "ada@example.org")
    await add(db, "dee@example.org", "unsubscribe")
    await add(db, "bo@example.org", "import")
    path = tmp_path / "list.csv"
    path.write_text(LIST)

    found = await suppressing.import_csv(
        db, path, actor="tess", scope=Scope(reason=Reason.IMPORT)
    )

    assert (found.rows, found.added, found.strengthened) == (6, 2, 1)
    assert (found.known, found.refused) == (1, 2)
    assert await entries(db) == [
        ("@example.com", "news", "import"),
        ("ada@example.org", None, "import"),
        ("bo@example.org", None, "complaint"),
        ("dee@example.org", None, "unsubscribe"),
    ]
    assert (tmp_path / "list.refused.csv").read_bytes().decode().splitlines() == [
        '"line","value","reason"',
        '"5","nobody","An email address must have an @-sign."',
        '"6","whim","""whim"" is no reason: write one of bounce, complaint, '
        'import, manual, pause, unsubscribe"',
    ]
    assert await given.rows(
        db, "SELECT count(*) FROM audit WHERE why = 'import of list.csv'"
    ) == [(3,)]


async def test_addresses_alone_need_no_header(
    db: database.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("ada@example.org\n\n@example.com\nada@example.org\n")

    found = await suppressing.import_csv(
        db, path, actor="tess", scope=Scope(reason=Reason.UNSUBSCRIBE, topic="news")
    )

    assert (found.rows, found.added, found.known) == (3, 2, 1)
    assert await entries(db) == [
        ("@example.com", "news", "unsubscribe"),
        ("ada@example.org", "news", "unsubscribe"),
    ]


async def test_a_list_without_addresses_is_refused(
    db: database.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    path.write_text("name,city\nAda,Town\n")

    with pytest.raises(errors.Invalid, match=r"csv:1: no column with addresses"):
        await suppressing.import_csv(db, path, actor="tess", scope=Scope())


async def test_an_export_is_harmless_audited_and_comes_back_whole(
    db: database.Pool, tmp_path: Path
) -> None:
    await add(db, "@example.org", "manual", topic="news")
    await add(db, "=cmd@example.org", "unsubscribe")
    before = await given.rows(
        db, "SELECT address, topic, reason, note FROM suppression ORDER BY address"
    )
    buffer = io.StringIO(newline="")

    count = await suppressing.export(db, buffer.write, actor="tess")

    rows = list(csv.reader(io.StringIO(buffer.getvalue(), newline="")))
    assert (count, [row[0] for row in rows]) == (
        2, ["address", "'@example.org", "'=cmd@example.org"],
    )  # fmt: skip
    assert ("tess", "suppressions", "export", "2 entries") in await given.rows(
        db, "SELECT actor, object, action, after FROM audit"
    )
    await given.rows(db, "DELETE FROM suppression RETURNING id")
    path = tmp_path / "list.csv"
    path.write_text(buffer.getvalue())
    await suppressing.import_csv(db, path, actor="tess", scope=Scope())
    assert before == await given.rows(
        db, "SELECT address, topic, reason, note FROM suppression ORDER BY address"
    )


async def test_a_listing_searches_addresses_and_notes(db: database.Pool) -> None:
    await add(db, "ada@example.org", "manual")
    await add(db, "bo@example.com", "bounce")

    everything = await suppressing.listing(db, search="PHONE", limit=1)
    bounces = await suppressing.listing(db, reason=Reason.BOUNCE)
    nothing = await suppressing.listing(db, search="%")

    assert everything.total == 2
    assert [entry.address for entry in everything.entries] == ["bo@example.com"]
    assert [entry.address for entry in bounces.entries] == ["bo@example.com"]
    assert nothing.total == 0
