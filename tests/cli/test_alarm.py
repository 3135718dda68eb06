import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli
from mailer.core.alarm import Kind
from mailer.store import alarms, database
from tests import receiver
from tests.program import Program, environment, free_ports


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli.commands, ["-C", str(root), "--as", "root", *arguments]
    )


@pytest.fixture
def workspace_with_alarms(workspace: Path, database_url: str) -> Path:
    """A workspace in which a blast stands still, and a lane is closed."""

    async def raised() -> None:
        async with (
            database.opened(database_url) as pool,
            database.transaction(pool) as tx,
        ):
            await alarms.raise_(tx, Kind.STALLED, "blast eoq", "None for 6 minutes.")
            await alarms.raise_(tx, Kind.LANE, "lane google/relay", "550 5.7.26 [x]")

    asyncio.run(raised())
    return workspace


def test_the_list_says_what_happened_and_what_to_do(
    workspace_with_alarms: Path,
) -> None:
    said = run(workspace_with_alarms, "alarm", "list")

    assert said.exit_code == 0
    words = " ".join(said.output.split())
    assert "1 CRITICAL blast eoq stands still" in words
    assert "None for 6 minutes." in words
    assert "You: See which provider waits: mailer blast watch eoq." in words
    assert "550 5.7.26 [x]" in words
    assert "nobody was told yet Take it: mailer alarm take 2" in words


def test_a_taken_alarm_has_a_name(workspace_with_alarms: Path) -> None:
    taken = run(
        workspace_with_alarms, "alarm", "take", "1", "--by", "Ada", "--note", "on it"
    )
    again = run(workspace_with_alarms, "alarm", "take", "1", "2", "--by", "Bo")
    listed = json.loads(run(workspace_with_alarms, "alarm", "list", "--json").output)

    assert taken.output.startswith("Ada looks after alarm 1: blast eoq stands still")
    assert "Bo looks after alarm 1 (it was Ada's): blast eoq" in again.output
    assert [(one["id"], one["taken_by"], one["note"]) for one in listed] == [
        (1, "Bo", "on it"),
        (2, "Bo", None),
    ]


def test_an_alarm_that_is_not_there_is_told_in_a_line(workspace: Path) -> None:
    said = run(workspace, "alarm", "take", "7")

    assert str(said.exception) == "there is no alarm 7: mailer alarm list"
    assert run(workspace, "alarm", "list").output == "No alarm is open.\n"


async def test_who_runs_mailer_is_told_at_once_that_a_secret_is_missing(
    workspace: Path, database_url: str
) -> None:
    program = Program(
        root=workspace, environment=environment(MAILER_DATABASE_URL=database_url)
    )
    text = program.read("config/settings.toml")
    public, private = free_ports(2)
    text = text.replace("8080", str(public)).replace("8081", str(private))
    program.write("config/settings.toml", f'{text}webhook = "https://x.example.org"\n')

    refused = await program.run("run", "--workers", 0)
    taken = await program.run("alarm", "list")

    assert refused.status == 1
    assert "set MAILER_ALARM_SECRET (or MAILER_ALARM_SECRET_FILE)" in refused.err
    assert (taken.status, taken.out) == (0, "No alarm is open.\n")


async def test_the_doctor_tries_every_channel_and_fails_if_one_does(
    tmp_path: Path,
) -> None:
    program = Program(
        root=tmp_path / "team",
        environment=environment(MAILER_ALARM_SECRET=receiver.SECRET),
    )
    await program.say("init", program.root)
    nobody = await program.run("doctor", "--alarm")
    async with receiver.receiving() as hook:
        text = f'webhook = "{hook.url}"\n'
        program.write(
            "config/settings.toml", program.read("config/settings.toml") + text
        )
        good = await program.run("doctor", "--alarm")
        text = 'email = ["ada@example.org"]\n'
        program.write(
            "config/settings.toml",
            program.read("config/settings.toml").replace("port = 2525", "port = 1")
            + text,
        )
        bad = await program.run("doctor", "--alarm")

    assert nobody.status == 1
    assert "nobody is told of alarms: set email or webhook" in nobody.line
    assert (good.status, good.out.split()[:2]) == (0, ["ok", "webhook"])
    assert [one["data"]["kind"] for one in hook.got] == ["test", "test"]
    assert bad.status == 1
    assert bad.out.startswith("ok    webhook http://127.0.0.1:")
    assert "\nNO    email ada@example.org: 127.0.0.1:1: CONNECT" in bad.out
    assert receiver.SECRET not in good.out + good.err + bad.out + bad.err
