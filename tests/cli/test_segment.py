import asyncio
import json
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from mailer import cli, errors
from mailer.core.segment import grammar, tree
from mailer.settings import workspace as folders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path, workspace: Path) -> Path:
    """A workspace with its shipped segments, and the database of the test."""
    folders.make(tmp_path / "team")
    return tmp_path / "team"


async def fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        """
        INSERT INTO subscriber (address, email, domain, provider, first_name,
                                signed_up_at)
        SELECT lower(email), email, split_part(email, '@', 2), provider, name, now()
        FROM (VALUES ('Ada@example.org', 'other', 'Ada'),
                     ('bo@gmail.test', 'google', 'Bo'),
                     ('cy@gmail.test', 'google', 'Cy')) AS p (email, provider, name);
        INSERT INTO giving (subscriber_id, imported_count, imported_sum,
                            imported_highest, imported_latest, imported_latest_at)
        SELECT id, 2, 1075, 1050, 25, now() - interval '30 days' FROM subscriber
        WHERE first_name <> 'Cy';
        INSERT INTO suppression (address, reason, source)
        VALUES ('bo@gmail.test', 'manual', 'test');
        """
    )
    await connection.close()


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli.commands, ["-C", str(root), "segment", *arguments])


def as_json(root: Path, *arguments: str) -> Any:
    return json.loads(run(root, *arguments, "--json").output)


def test_segments_are_listed_with_what_they_say(root: Path) -> None:
    lines = run(root, "list").output.splitlines()
    assert "active-donors    Gave in the last year" in lines
    found = {one["name"]: one for one in as_json(root, "list")}
    assert found["everyone"]["file"] is None
    assert found["never-gave"]["sentence"] == "People who never gave."


async def test_people_are_counted_by_provider(root: Path, database_url: str) -> None:
    await fill(database_url)

    found = await in_thread(as_json, root, "count", "active-donors")
    shown = await in_thread(run, root, "count", "active-donors")

    assert found == {
        "name": "active-donors",
        "total": 2,
        "mailable": 1,
        "providers": [
            {"provider": "google", "total": 1, "mailable": 0},
            {"provider": "other", "total": 1, "mailable": 1},
        ],
    }
    assert re.search(r"all +2 +1", shown.output)


async def test_a_sample_shows_people(root: Path, database_url: str) -> None:
    await fill(database_url)
    (found,) = await in_thread(as_json, root, "sample", "never-gave")
    assert (found["email"], found["gifts"], found["given"]) == ("cy@gmail.test", 0, "0")
    shown = await in_thread(run, root, "sample", "major-donors")
    assert "Ada@example.org" in shown.output
    assert "1,075.00" in shown.output


async def test_a_segment_is_explained(root: Path, database_url: str) -> None:
    await fill(database_url)
    found = await in_thread(as_json, root, "explain", "major-donors")
    assert found["sentence"] == (
        "People who gave at least 500 at once or gave at least 2,000 in all."
    )
    assert found["parameters"] == ["500", "2000"]
    assert found["counted"]["total"] == 2
    shown = await in_thread(run, root, "explain", "major-donors")
    assert "$1  500" in shown.output


def test_a_segment_that_does_not_exist_is_named_with_the_nearest(root: Path) -> None:
    result = run(root, "count", "active-doners")
    assert isinstance(result.exception, errors.NotFound)
    assert str(result.exception).endswith('did you mean "active-donors"?')


@pytest.mark.parametrize("name", ["", "list", "count", "sample", "explain"])
def test_each_command_has_an_example(name: str, root: Path) -> None:
    result = run(root, *([name] if name else []), "--help")
    assert "Example: mailer segment" in result.output


def test_every_condition_test_and_field_is_in_the_docs() -> None:
    docs = (ROOT / "docs/segments.md").read_text("utf-8")
    words = {*grammar.KINDS, *grammar.TESTS, *tree.FIELDS, *tree.Measure}
    assert [
        word for word in words if not re.search(rf"`[^`]*\b{word}\b[^`]*`", docs)
    ] == []


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Run a command, which has its own loop, outside of the test's."""
    return await asyncio.to_thread(function, *arguments)
