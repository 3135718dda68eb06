"""``mailer provider release``, ``halt`` and ``history``: one lane, by a person."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli
from mailer.core import lane
from mailer.core.lane import Limits
from mailer.store import database, lanes

LIMITS = Limits(start=5.0, ceiling=20.0, connections=5)


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli.commands, ["-C", str(root), "--as", "ada", "provider", *arguments]
    )


@pytest.fixture
def with_lane(workspace: Path, database_url: str) -> Path:
    """A workspace in whose database there is a lane google/relay."""

    async def made() -> None:
        async with (
            database.opened(database_url) as pool,
            database.transaction(pool) as tx,
        ):
            names = {"provider": "google", "source": "relay"}
            await lanes.add(tx, **names, pool="default", connections=5)
            found = await lanes.lock(tx, **names)
            assert found is not None
            await lanes.allow(
                tx, found, pool="default", limits=LIMITS, is_warming=False
            )
            await lanes.save(tx, found, lane.begun(LIMITS, found.now))

    asyncio.run(made())
    return workspace


def test_a_lane_is_halted_and_released_and_its_history_tells_both(
    with_lane: Path,
) -> None:
    halted = run(with_lane, "halt", "google/relay", "--why", "complaints")
    twice = run(with_lane, "halt", "google/relay", "--why", "again")
    released = run(with_lane, "release", "google/relay", "--why", "list is clean")
    history = run(with_lane, "history", "google").output.splitlines()
    told = json.loads(run(with_lane, "history", "--json").output)

    assert halted.output == "google/relay is halted\n"
    assert twice.exit_code == 1
    assert "lane google/relay is halted: ada: complaints" in str(twice.exception)
    assert released.output == "google/relay is probing\n"
    assert "google/relay release: halted -> probing" in history[0]
    assert history[1].endswith(
        "google/relay refusal: normal -> halted 300/min, 5 connections: ada: complaints"
    )
    assert [one["cause"] for one in told] == ["release", "refusal"]
    assert (told[0]["connections_before"], told[0]["connections_after"]) == (5, 1)


def test_an_unknown_lane_is_refused_with_the_nearest(with_lane: Path) -> None:
    found = run(with_lane, "release", "google/rely")

    assert found.exit_code == 1
    assert 'there is no lane "google/rely": did you mean "google/relay"' in str(
        found.exception
    )


def test_a_lane_that_is_open_need_not_be_released(with_lane: Path) -> None:
    found = run(with_lane, "release", "google/relay")

    assert found.exit_code == 1
    assert "lane google/relay is normal: nothing to release" in str(found.exception)


def test_lanes_that_have_not_changed_have_no_history(with_lane: Path) -> None:
    assert run(with_lane, "history").output == "No lane has changed yet.\n"


@pytest.mark.timeout(90)
def test_watching_a_blast_shows_the_lanes_that_are_not_as_usual(
    with_lane: Path,
) -> None:
    def blast(*arguments: str) -> str:
        words = ["-C", str(with_lane), "--as", "ada", "blast", *arguments]
        return CliRunner().invoke(cli.commands, words).output

    blast("new", "hello")
    before = blast("watch", "hello", "--once")
    run(with_lane, "halt", "google/relay", "--why", "complaints")
    after = " ".join(blast("watch", "hello", "--once").split())

    assert "lane " not in before
    assert (
        "lane google/relay: halted until released (mailer provider release"
        " google/relay), 300/min, 5 of 5 connections: ada: complaints"
    ) in after
