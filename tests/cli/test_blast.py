import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from mailer import cli
from mailer.cli import looking
from mailer.core import blast as blasts
from mailer.core.delivery import BlastId
from mailer.pipeline import closing, launching, scheduling
from mailer.store import blasts as kept
from mailer.store import database, deliveries
from tests import given

Mailer = Callable[..., Result]


@pytest.fixture
def mailer(workspace: Path) -> Mailer:
    """Run a command in the workspace."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(
            cli.commands, ["-C", str(workspace), "--as", "tess", *arguments]
        )

    return run


def test_a_new_blast_has_a_file_of_its_own_name_to_edit(
    mailer: Mailer, workspace: Path
) -> None:
    result = mailer("blast", "new", "hello")

    assert result.output == (
        "hello is draft\nEdit blasts/hello.toml, then: mailer blast check hello\n"
    )
    assert 'name = "hello" ' in (workspace / "blasts/hello.toml").read_text("utf-8")


def test_the_history_of_a_blast_says_who_did_what_and_why(mailer: Mailer) -> None:
    mailer("blast", "new", "hello")
    mailer("blast", "cancel", "hello", "--why", "typo")

    first, *history = mailer("blast", "show", "hello").output.splitlines()

    assert first == "hello is cancelled"
    assert [line[len("  2026-11-23 06:59:12 ") :] for line in history] == [
        "tess: new (draft)",
        "tess: cancel (draft -> cancelled) typo",
    ]


def test_a_list_says_why_a_blast_stands_still(mailer: Mailer) -> None:
    mailer("blast", "new", "hello")
    mailer("blast", "cancel", "hello", "--why", "typo")

    assert "typo" in mailer("blast", "list").output
    assert "typo" in mailer("blast", "watch", "hello", "--once").output


@pytest.fixture
def expired(workspace: Path, database_url: str) -> Path:
    """A workspace whose blast has expired: two people missed it, one is held out."""

    async def prepare() -> None:
        async with database.opened(database_url) as db:
            await given.people(db, [f"p{one}@example.org" for one in range(3)])
            name = await given.approved(db, given.content(holdout=0.34))
            await launching.launch(db, name)
            await given.rows(db, "UPDATE clock SET shift = interval '2 days'")
            await closing.close_due(db)

    asyncio.run(prepare())
    return workspace


def test_nobody_is_lost_in_what_is_shown_of_a_blast_that_expired(
    mailer: Mailer, expired: Path
) -> None:
    assert expired.is_dir()
    watched = mailer("blast", "watch", "eoq", "--once").output.splitlines()
    shown = mailer("blast", "show", "eoq").output.splitlines()
    _, _, counts = json.loads(mailer("blast", "show", "eoq", "--json").output)

    heads, numbers = watched[-2].split(), watched[-1].split()
    assert heads[-3:] == ["suppressed", "out", "expired"], watched
    assert [numbers[1], *numbers[-2:]] == ["3", "1", "2"]
    assert shown[1] == "  3 recipients: 1 held out, 2 expired"
    assert (counts["recipients"], counts["held_out"], counts["expired"]) == (3, 1, 2)


def test_the_table_of_a_large_blast_that_has_everything_fits_100_columns() -> None:
    known = deliveries.Progress(
        provider="microsoft",
        recipients=2_000_000,
        sent=1_000_000,
        deferrals=100_000,
        bounced=20_000,
        in_doubt=1_000,
        suppressed=100_000,
        held_out=100_000,
        expired=500_000,
        cancelled=0,
        failed=10_000,
    )
    found = kept.Blast(
        id=BlastId(1), name="eoq", state=blasts.State.EXPIRED, resumes=None,
        topic="news", file="x", hash="", proofed_hash=None, preflight_hash=None,
        approved_hash=None, send_at=None, expires_at=None, priority=0, seed=None,
        reason=None, created_at=given.NOON, launched_at=None, ended_at=None,
    )  # fmt: skip
    seen = scheduling.Watched(
        at=given.NOON, blast=found, progress=[known], lanes=[], next_start=None,
        alarms=[],
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=200)

    console.print(looking.picture(seen, rate=None))

    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[-1].split() == [
        "microsoft", "2,000,000", "1,000,000", "269,000", "100,000", "20,000", "1,000",
        "100,000", "100,000", "500,000", "10,000",
    ]  # fmt: skip
    assert max(len(line.rstrip()) for line in lines) <= 100
