from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mailer import errors
from mailer.core.subscriber import Giving
from mailer.pipeline import importing
from mailer.store import database, subscribers
from tests import given

HINTS = {"gmail.test": "google"}

PEOPLE = """\
Email Address,First Name,Last,City,State,Postal Code,TZ,Lang,Signup Date,Gifts,\
Total Given,HPC,Last Gift,Last Gift Date,Monthly,Ward #
Ada@gmail.test,Ada,Rivers,Madison,wi,53703,Central,English,2024-05-01,3,\
"$1,120.50",1000,20.50,11/03/2025,yes,7
bo@example.org,Bo,,Köln,,,,,2024-05-01T10:00:00-05:00,,,,,,,
"""


def written(folder: Path, text: str, *, name: str = "people.csv") -> Path:
    """Return a file with this text."""
    path = folder / name
    path.write_bytes(text.encode())
    return path


async def run(
    db: database.Pool, path: Path, *, batch: int = importing.BATCH, dry: bool = False
) -> importing.Imported:
    """Import *path*."""
    options = importing.Options(hints=HINTS, batch=batch, dry_run=dry)
    return await importing.import_csv(db, path, actor="tests", options=options)


def counts(found: importing.Imported) -> dict[str, int]:
    """Return what was counted, without the zeros."""
    names = ("created", "updated", "unchanged", "duplicates", "refused")
    counted = {name: getattr(found, name) for name in names}
    assert sum(counted.values()) == found.rows
    return {name: count for name, count in counted.items() if count}


async def everybody(db: database.Pool) -> list[tuple[object, ...]]:
    """Return all that the database knows about people, but for ids and times."""
    return await given.rows(
        db,
        """
        SELECT s.address, s.email, s.domain, s.provider, s.first_name, s.last_name,
               s.street, s.city, s.state, s.zip, s.country, s.time_zone, s.language,
               s.attributes, g.imported_count, g.imported_sum, g.imported_highest,
               g.imported_latest, g.imported_latest_at, g.live_count, g.live_sum,
               g.recurring
        FROM subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id
        ORDER BY s.address
        """,
    )


async def test_people_are_imported_whole(db: database.Pool, tmp_path: Path) -> None:
    found = await run(db, written(tmp_path, PEOPLE))

    assert counts(found) == {"created": 2}
    async with database.connection(db) as tx:
        ada = await subscribers.get(tx, address="ada@gmail.test")
        bo = await subscribers.get(tx, address="bo@example.org")
    assert (ada.email, ada.domain, ada.provider) == (
        "Ada@gmail.test", "gmail.test", "google",
    )  # fmt: skip
    assert (ada.first_name, ada.last_name, ada.city) == ("Ada", "Rivers", "Madison")
    assert (ada.state, ada.zip, ada.country) == ("WI", "53703", None)
    assert (ada.time_zone, ada.language) == ("America/Chicago", "en")
    assert ada.signed_up_at == datetime(2024, 5, 1, tzinfo=UTC)
    assert ada.attributes == {"ward": "7"}
    assert ada.giving == Giving(
        count=3,
        sum=Decimal("1120.50"),
        highest=Decimal(1000),
        latest=Decimal("20.50"),
        latest_at=datetime(2025, 11, 3, tzinfo=UTC),
        recurring=True,
    )
    assert (bo.city, bo.last_name, bo.attributes) == ("Köln", None, {})
    assert bo.provider == "other"
    assert bo.signed_up_at == datetime(2024, 5, 1, 15, tzinfo=UTC)
    assert bo.giving == Giving()


async def test_the_same_file_again_changes_nothing(
    db: database.Pool, tmp_path: Path
) -> None:
    path = written(tmp_path, PEOPLE)
    await run(db, path)
    before = await given.rows(db, "SELECT * FROM subscriber ORDER BY id")

    found = await run(db, path)

    assert counts(found) == {"unchanged": 2}
    assert await given.rows(db, "SELECT * FROM subscriber ORDER BY id") == before


async def test_an_unknown_cell_erases_nothing(
    db: database.Pool, tmp_path: Path
) -> None:
    await run(db, written(tmp_path, PEOPLE))
    before = await everybody(db)

    found = await run(
        db,
        written(
            tmp_path,
            "email,first_name,last_name,state,signed_up_at,gift_count,highest_gift,ward\n"
            "ada@GMAIL.test,,,,,,,\n",
        ),
    )

    assert counts(found) == {"updated": 1}  # the spelling of the address
    after = await everybody(db)
    assert after[0][1] == "ada@gmail.test"
    assert [row[2:] for row in after] == [row[2:] for row in before]


async def test_what_is_known_better_is_changed(
    db: database.Pool, tmp_path: Path
) -> None:
    await run(db, written(tmp_path, PEOPLE))

    found = await run(
        db,
        written(
            tmp_path,
            "email,state,signed_up_at,highest_gift,precinct\n"
            "ada@gmail.test,MI,2020-01-02,2000,12\n"
            "bo@example.org,,,5,\n",
        ),
    )

    assert counts(found) == {"updated": 2}
    async with database.connection(db) as tx:
        ada = await subscribers.get(tx, address="ada@gmail.test")
        bo = await subscribers.get(tx, address="bo@example.org")
    assert (ada.state, ada.city) == ("MI", "Madison")
    assert ada.signed_up_at == datetime(2020, 1, 2, tzinfo=UTC)
    assert ada.attributes == {"ward": "7", "precinct": "12"}
    assert (ada.giving.highest, ada.giving.count) == (Decimal(2000), 3)
    assert (bo.giving.highest, bo.giving.count) == (Decimal(5), 1)


async def test_imported_giving_replaces_imported_giving_only(
    db: database.Pool, tmp_path: Path
) -> None:
    ada = await given.subscriber(db, "ada@example.org", gift_count=2, gift_sum=30)
    await given.rows(
        db, "UPDATE giving SET live_count = 1, live_sum = 5 RETURNING subscriber_id"
    )

    await run(db, written(tmp_path, "email,gifts,total_given\nada@example.org,4,90\n"))

    (row,) = await given.rows(db, "SELECT count, sum, live_sum FROM giving")
    assert ada.giving.count == 2
    assert row == (5, Decimal(95), Decimal(5))


REFUSED = """\
email,first_name,state,highest_gift,time_zone,signed_up_at
ada@example.org,Ada,WI,25,,
not an address,Bo,WI,25,,
,Cy,WI,25,,
dee@example.org,Dee,WI,lots,,
eve@example.org,"E\0ve",WI,25,,
=cmd|'/c calc'!A0@example.org,Fay,WI,25,,
gus@example.org,Gus,WI,25,Mars/Olympus,
hal@example.org,Hal,WI
ida@example.org,Ida,WI,25,,soon
"jo@example.org
Bcc: kim@example.org",Jo,WI,25,,
"""

REPORT = '''\
"line","value","reason"
"3","not an address","An email address must have an @-sign."
"4","","no address"
"5","lots","""lots"" is no amount: write 25, 25.50 or $1,250.00"
"6","eve@example.org","the row holds NUL"
"7","'=cmd|'/c calc'!A0@example.org","The email address contains invalid characters \
before the @-sign: SPACE."
"8","Mars/Olympus","""Mars/Olympus"" is no time zone: write America/Chicago"
"9","hal@example.org,Hal,WI","3 cells, the header has 6"
"10","soon","""soon"" is no date: write 2026-11-03 or 11/03/2026"
"11","jo@example.org
Bcc: kim@example.org","the address holds a line break or control character"
'''


async def test_refused_rows_are_written_beside_the_input(
    db: database.Pool, tmp_path: Path
) -> None:
    path = written(tmp_path, REFUSED)

    found = await run(db, path)

    report = tmp_path / "people.refused.csv"
    assert counts(found) == {"created": 1, "refused": 9}
    assert found.refused_file == str(report)
    assert report.read_bytes().decode().replace("\r\n", "\n") == REPORT
    assert await given.rows(db, "SELECT address FROM subscriber") == [
        ("ada@example.org",)
    ]


async def test_a_repaired_file_takes_the_report_away(
    db: database.Pool, tmp_path: Path
) -> None:
    await run(db, written(tmp_path, "email\nada\n"))
    assert (tmp_path / "people.refused.csv").exists()

    found = await run(db, written(tmp_path, "email\nada@example.org\n"))

    assert counts(found) == {"created": 1}
    assert not (tmp_path / "people.refused.csv").exists()


TWICE = """\
email,first_name,city,ward,gift_count
ada@example.org,Ada,Madison,7,2
bo@example.org,Bo,,,
ADA@example.org,,Detroit,,
ada@EXAMPLE.org,Adele,,8,3
"""


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
async def test_the_last_row_about_a_person_wins_whatever_the_batch(
    db: database.Pool, tmp_path: Path, batch: int
) -> None:
    found = await run(db, written(tmp_path, TWICE), batch=batch)

    assert counts(found) == {"created": 2, "duplicates": 2}
    async with database.connection(db) as tx:
        ada = await subscribers.get(tx, address="ada@example.org")
    assert (ada.email, ada.first_name, ada.city) == (
        "ada@example.org", "Adele", "Detroit",
    )  # fmt: skip
    assert (ada.attributes, ada.giving.count) == ({"ward": "8"}, 3)


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    db: database.Pool, tmp_path: Path, batch: int
) -> None:
    await given.subscriber(db, "ada@example.org", first_name="Ada", gift_count=1)
    await given.subscriber(db, "bo@example.org", first_name="Bo", provider="other")
    path = written(tmp_path, TWICE + "cy@example.org,Cy,,,\nnobody,,,,\n")
    tables = ("subscriber", "giving", "audit", "change")
    before = [await given.rows(db, f"SELECT * FROM {table}") for table in tables]

    dry = await run(db, path, batch=batch, dry=True)

    after = [await given.rows(db, f"SELECT * FROM {table}") for table in tables]
    assert after == before
    assert not (tmp_path / "people.refused.csv").exists()
    assert [refusal.line for refusal in dry.samples] == [7]
    real = await run(db, path, batch=batch)
    assert counts(dry) == counts(real) == {
        "created": 1, "updated": 1, "unchanged": 1, "duplicates": 2, "refused": 1,
    }  # fmt: skip


async def test_a_suppressed_address_stays_suppressed(
    db: database.Pool, tmp_path: Path
) -> None:
    await given.suppression(db, "ada@example.org", reason="complaint")
    before = await given.rows(db, "SELECT * FROM suppression")

    await run(db, written(tmp_path, "email\nAda@example.org\n"))

    assert await given.rows(db, "SELECT * FROM suppression") == before


HEADERS = {
    "name,city": (
        'people.csv:1: no column with addresses among "name", "city": '
        'say --map "Column=email"'
    ),
    "email,city,City": (
        'people.csv:1: "city" and "City" are both city: say --map "City=-"'
    ),
    "email,E-Mail": (
        'people.csv:1: "email" and "E-Mail" are both email: say --map "E-Mail=-"'
    ),
    "": 'people.csv:1: no column with addresses among : say --map "Column=email"',
}


@pytest.mark.parametrize("header", HEADERS)
async def test_a_header_that_nobody_understands_is_refused(
    db: database.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, f"{header}\nada@example.org,Ada\n" if header else "")

    with pytest.raises(errors.Invalid) as caught:
        await run(db, Path("people.csv"))

    assert str(caught.value) == HEADERS[header]


async def test_a_column_can_be_told_its_meaning(
    db: database.Pool, tmp_path: Path
) -> None:
    path = written(
        tmp_path, "Contact,Email,Donor Since\nada@example.org,none,2020-01-02\n"
    )
    columns = {"Contact": "email", "Email": "-", "Donor Since": "signup date"}

    found = await importing.import_csv(
        db, path, actor="tests", options=importing.Options(columns=columns)
    )

    assert found.columns == {"Contact": "email", "Donor Since": "signed_up_at"}
    async with database.connection(db) as tx:
        ada = await subscribers.get(tx, address="ada@example.org")
    assert ada.signed_up_at == datetime(2020, 1, 2, tzinfo=UTC)


async def test_nothing_is_imported_from_a_file_in_another_encoding(
    db: database.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"email,city\nada@example.org,Town\nbo@example.org,K\xf6ln\n")

    with pytest.raises(errors.Invalid, match=r"csv:3: byte 0xf6 .*--encoding cp1252"):
        await run(db, path, batch=1)

    assert await everybody(db) == []
    options = importing.Options(encoding="cp1252")
    await importing.import_csv(db, path, actor="tests", options=options)
    assert [row[7] for row in await everybody(db)] == ["Town", "Köln"]


async def test_an_unclosed_quote_ends_an_import_that_can_be_repeated(
    db: database.Pool, tmp_path: Path
) -> None:
    good = "".join(f"p{number}@example.org,Town\n" for number in range(6))
    path = written(tmp_path, f'email,city\n{good}bad@example.org,"Town\n{good}')

    with pytest.raises(errors.Invalid, match="csv:8: a quote that this row opens"):
        await run(db, path, batch=4)

    assert len(await everybody(db)) == 4
    path = written(tmp_path, f"email,city\n{good}")
    assert counts(await run(db, path)) == {"created": 2, "unchanged": 4}


async def test_an_import_is_audited(db: database.Pool, tmp_path: Path) -> None:
    await run(db, written(tmp_path, "email\nada@example.org\nnobody\n"))

    assert await given.rows(db, "SELECT actor, object, action, after FROM audit") == [
        (
            "tests", "subscribers", "import",
            "1 created, 0 updated, 0 unchanged, 0 duplicates, "
            "1 refused of 2 rows of people.csv",
        )
    ]  # fmt: skip
