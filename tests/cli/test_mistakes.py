"""What is wrong is said in one line, with what would be right; usage exits with 2."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mailer.store import database
from tests import given, program
from tests.program import Done, Program
from tests.sink import Sink

HUGE = "9" * 20  # no bigint
NOWHERE = "postgresql://127.0.0.1:1/none"


@pytest.fixture
async def house(database_url: str, sink: Sink, tmp_path: Path) -> Program:
    """A workspace as `mailer init` makes it."""
    root = tmp_path / "workspace"
    return await program.made(root, database=database_url, sink=sink.port)


async def tried(house: Program, mistakes: Sequence[Sequence[str]]) -> list[Done]:
    """Make mistakes, all at the same time, and return how each ended."""
    async with asyncio.TaskGroup() as people:
        tasks = [people.create_task(house.run(*words)) for words in mistakes]
    return [task.result() for task in tasks]


@pytest.mark.timeout(60)
async def test_a_mistake_is_one_line_that_says_what_would_be_right(
    house: Program,
) -> None:
    house.write("blasts/odd.toml", 'name = "odd"\ntopik = "news"\n')
    mistakes = {
        ("import", "no-such.csv"): "mailer: no-such.csv: no such file",
        ("blast", "show", "nobody"): "mailer: there is no blast nobody: ",
        ("report", "nobody"): "mailer: there is no blast nobody: ",
        ("segment", "count", "activ-donors"): 'did you mean "active-donors"?',
        ("provider", "show", "yaho"): 'did you mean "yahoo"?',
        ("provider", "resolve", "no domain"): '"no domain" is no domain: write one',
        ("provider", "explain", "odd"): '"odd" is no SMTP reply: write one as',
        ("template", "check", "apeal"): 'did you mean "appeal"?',
        ("subscriber", "show", "nobody@example.org"): "nobody@example.org",
        ("suppress", "remove", "nobody@example.org"): "nobody@example.org",
        ("suppress", "add", "no address"): "@-sign",
        ("suppress", "add", "a@example.org", "--topic", "News"): 'topic "News": use',
        ("init", str(house.root.parent)): "holds other things",
    }

    ended = await tried(house, list(mistakes))

    for done, told in zip(ended, mistakes.values(), strict=True):
        assert (done.status, told in done.line) == (1, True), done


@pytest.mark.timeout(60)
async def test_what_is_not_utf8_is_shown_and_kept_with_a_mark(house: Program) -> None:
    odd = os.fsdecode(b"no\xff.csv")
    (house.root / odd).write_text("email\nada@example.org\n", "utf-8")
    await house.say("blast", "new", "hello")

    shown = await house.run("blast", "show", os.fsdecode(b"\xff"))
    cancelled = await house.run("blast", "cancel", "hello", f"--why={odd}")
    history = await house.say("blast", "show", "hello")
    imported = await house.run("import", house.root / odd)

    assert shown.line.startswith("mailer: there is no blast \ufffd: ")
    assert (cancelled.status, cancelled.out) == (0, "hello is cancelled\n")
    assert history.endswith("ada: cancel (draft -> cancelled) no\ufffd.csv\n")
    assert imported.status == 0, imported.err


@pytest.mark.timeout(60)
async def test_every_fault_of_a_file_is_told_with_its_place(house: Program) -> None:
    house.write("blasts/odd.toml", 'name = "odd"\ntopik = "news"\npriority = "high"\n')

    done = await house.run("blast", "new", "odd")

    lines = done.err.splitlines()
    assert (done.status, done.out) == (1, "")
    assert lines[0].startswith("mailer: blasts/odd.toml")
    assert 'blasts/odd.toml:2: topik: unknown key: did you mean "topic"?' in done.err
    assert any("blasts/odd.toml:3: priority" in line for line in lines)


@pytest.mark.timeout(60)
async def test_wrong_usage_exits_with_2(house: Program) -> None:
    mistakes = [
        ["blats"],
        ["blast", "shedule", "x"],
        ["blast", "proof", "x"],
        ["blast", "schedule", "x", "--at", "tomorrow"],
        ["blast", "schedule", "x", "--at", "2026-12-31T18:00"],
        ["run", "--workers", "-1"],
        ["blast", "show", "x", "--state", "lost"],
        ["sink", "--port", "99999"],
        ["demo", "--people", "-5"],
        ["blast", "show", "x", "--state", "sent", "--limit", "-5"],
        ["blast", "show", "x", "--state", "sent", "--limit", HUGE],
        ["alarm", "list", "--all", "--limit", HUGE],
        ["alarm", "take", HUGE],
        ["bounce", "review", "show", HUGE],
        ["segment", "sample", "everyone", "--seed", HUGE],
    ]

    ended = await tried(house, mistakes)

    assert [done.status for done in ended] == [2] * len(mistakes)
    assert all("Error: " in done.err for done in ended)
    assert "has no offset: add one, like -05:00" in ended[4].err


@pytest.mark.timeout(60)
async def test_a_move_that_is_not_allowed_says_what_comes_first(
    house: Program, db: database.Pool
) -> None:
    name = await given.approved(db)
    await given.rows(db, "UPDATE blast SET state = 'done' RETURNING 1")

    ended = await tried(
        house, [["blast", move, name] for move in ("pause", "resume", "cancel")]
    )

    assert [done.status for done in ended] == [1, 1, 1]
    assert [done.line for done in ended] == [
        f"mailer: blast {name} is done: cannot {move}"
        for move in ("pause", "resume", "cancel")
    ]


@pytest.mark.timeout(60)
async def test_what_cannot_be_had_is_named_with_its_cure(house: Program) -> None:
    away = replace(
        house, environment={**house.environment, "MAILER_DATABASE_URL": NOWHERE}
    )
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", house.public)

    async with taken:
        port = await house.run("serve")
        second = await house.run("run")
    database_away = await away.run("blast", "list")
    nowhere = await replace(house, root=house.root.parent).run("blast", "list")

    assert port.status == database_away.status == nowhere.status == 1
    assert port.line == (
        f"mailer: 127.0.0.1:{house.public} is taken: "
        "set [public] port in config/settings.toml"
    )
    assert (second.status, second.out) == (1, "")
    assert second.line.startswith(f"mailer: 127.0.0.1:{house.public}: ")
    assert database_away.line.startswith("mailer: the database does not answer (")
    assert database_away.line.endswith("): see MAILER_DATABASE_URL")
    assert f"run `mailer init {house.root.parent}`" in nowhere.line


@pytest.mark.timeout(60)
async def test_a_file_of_which_every_row_was_refused_is_a_failure(
    house: Program, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("email\nnobody\n", "utf-8")

    done = await house.run("import", file)

    assert (done.status, "refused" in done.out) == (1, True)


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("priority = 99999999999999999999", "write -1000 to 1000"),
        ('subject = ""', "write 1 to 500"),
        ('subject = "Hi\\r\\nBcc: all@example.org"', "write one line"),
        ('from = "nobody"', 'write "Name <name@example.org>"'),
    ],
)
@pytest.mark.timeout(60)
async def test_what_no_mail_can_be_is_refused_in_its_file(
    house: Program, line: str, cure: str
) -> None:
    text = (house.root / "blasts/example.toml").read_text("utf-8")
    text = text.replace('name = "example" ', 'name = "odd" ', 1)
    key = line.partition(" ")[0]
    kept = [one for one in text.splitlines() if not one.startswith(f"{key} ")]
    house.write("blasts/odd.toml", "\n".join([line, *kept]))

    done = await house.run("blast", "new", "odd")

    assert (done.status, cure in done.err) == (1, True), done
    assert "Traceback" not in done.err
