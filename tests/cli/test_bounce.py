"""``mailer bounce``, as people and mail servers use it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import smtplib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import cli, settings
from mailer.core import verp
from mailer.core.tracking import Token
from mailer.store import database
from tests import given, program
from tests.core.test_feedback import sample
from tests.pipeline.conftest import until
from tests.pipeline.test_returning import PEOPLE, SUPPRESSED
from tests.program import Program, free_ports
from tests.sink import Sink

GONE = sample("postfix-user-unknown")


def run(root: Path, *arguments: str, text: bytes | None = None) -> Result:
    return CliRunner().invoke(
        cli.commands, ["-C", str(root), "--as", "bo", *arguments], input=text
    )


def path(root: Path, subscriber: int = 1) -> str:
    ring = settings.load(root).keys
    token = Token(blast=1, subscriber=subscriber)
    return verp.seal(ring, token, "bounce.example.org")


def told(root: Path, *arguments: str, text: bytes | None = None) -> Any:
    done = run(root, *arguments, "--json", text=text)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def sent(workspace: Path, database_url: str) -> Path:
    """A workspace whose blasts went out to Ada."""

    async def made() -> None:
        async with (
            database.opened(database_url) as pool,
            database.connection(pool) as tx,
        ):
            await tx.raw.execute(PEOPLE)
            await tx.raw.execute("UPDATE delivery SET settled_at = now()")

    assert run(workspace, "suppress", "list").exit_code == 0  # makes the tables
    asyncio.run(made())
    return workspace


def suppressed(database_url: str) -> list[Any]:
    async def asked() -> list[Any]:
        async with database.opened(database_url) as pool:
            return await given.rows(pool, SUPPRESSED)

    return asyncio.run(asked())


def test_explain_says_what_a_message_is_and_changes_nothing(workspace: Path) -> None:
    found = told(workspace, "bounce", "explain", "-", text=GONE)

    assert {key: found[key] for key in ("kind", "class", "action", "status")} == {
        "kind": "bounce", "class": "bad-address", "action": "review", "status": "5.1.1",
    }  # fmt: skip
    assert found["recipient"] == "ada@example.test"
    assert found["evidence"][-1] == (
        "nothing that only we can make says whose message it was: else it would be "
        "suppressed"
    )


def test_explain_says_whose_message_it_was(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.eml"
    file.write_bytes(GONE)

    found = told(workspace, "bounce", "explain", str(file), "--to", path(workspace))

    assert (found["action"], found["blast"], found["subscriber"]) == ("suppress", 1, 1)
    assert found["identified_by"] == "the return path"
    said = run(workspace, "bounce", "explain", str(file), "--to", path(workspace))
    assert "the return path says blast 1, subscriber 1" in said.output


def test_explain_shows_no_escape_of_a_stranger(workspace: Path) -> None:
    said = run(workspace, "bounce", "explain", "-", text=sample("control-characters"))

    assert "\x1b" not in said.output
    assert "user unknown" in said.output


def test_a_message_on_standard_input_is_read_and_followed(
    sent: Path, database_url: str
) -> None:
    found = told(sent, "bounce", "read", "-", "--to", path(sent), text=GONE)

    assert found == {"messages": 1, "read": {"bounce": 1}}
    assert suppressed(database_url) == [("ada@example.test", None, "bounce", False)]


def test_a_maildir_is_emptied_unless_it_is_kept(sent: Path, tmp_path: Path) -> None:
    folder = tmp_path / "maildir"
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "new" / "1.host").write_bytes(GONE)
    (folder / "cur" / "2.host").write_bytes(sample("vacation-rfc3834"))

    kept = told(sent, "bounce", "read", str(folder), "--keep")
    said = run(sent, "bounce", "read", str(folder))

    assert kept == {"messages": 2, "read": {"auto-reply": 1, "review": 1}}
    assert said.output == "2 read: 1 auto-reply, 1 review\n"
    assert [*folder.glob("new/*"), *folder.glob("cur/*")] == []
    (waiting,) = told(sent, "bounce", "review", "list")["messages"]
    assert waiting["why"].startswith("bounce: nothing says whose message it was")


def test_a_person_reviews_what_nobody_could_read(sent: Path, database_url: str) -> None:
    told(sent, "bounce", "read", "-", text=sample("a-person-writes"))

    listed = run(sent, "bounce", "review", "list")
    shown = run(sent, "bounce", "review", "show", "1")
    raw = run(sent, "bounce", "review", "show", "1", "--raw")
    settled = run(
        sent, "bounce", "review", "settle", "1", "--as", "unsubscribe",
        "--address", "ada@example.test", "--note", "asked by mail",
    )  # fmt: skip
    again = run(sent, "bounce", "review", "settle", "1", "--as", "nothing")

    assert listed.output.startswith("1 wait for a person\n")
    assert "Please stop writing to me." in shown.output
    assert raw.stdout_bytes == sample("a-person-writes")
    assert settled.output == "message 1 was settled as unsubscribe\n"
    assert "message 1 was settled as unsubscribe by bo" in str(again.exception)
    assert suppressed(database_url) == [
        ("ada@example.test", None, "unsubscribe", False)
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["read", "nowhere"], "nowhere: there is no such file or folder"),
        (["read", "."], "no Maildir"),
        (["review", "show", "9"], "there is no message 9 for review"),
        (["serve"], "set smtp, lmtp or maildir in [bounces]"),
    ],
)
def test_a_mistake_is_told_with_its_cure(
    workspace: Path, arguments: list[str], text: str
) -> None:
    done = run(workspace, "bounce", *arguments)

    assert done.exit_code == 1
    assert text in str(done.exception)


async def house(database_url: str, sink: Sink, tmp_path: Path, more: str) -> Program:
    made = await program.made(
        tmp_path / "workspace", database=database_url, sink=sink.port
    )
    made.edit("config/settings.toml", "\n[bounces]\n", f"\n[bounces]\n{more}")
    return made


@pytest.mark.timeout(60)
async def test_what_comes_by_smtp_lmtp_and_a_maildir_is_in_force_soon(
    database_url: str, sink: Sink, tmp_path: Path
) -> None:
    """Through the processes of `mailer run`, as a mail server would speak to them."""
    smtp, lmtp = free_ports(2)
    folder = tmp_path / "maildir"
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    made = await house(
        database_url, sink, tmp_path,
        f'domain = "bounce.example.org"\nsmtp = {smtp}\nlmtp = {lmtp}\n'
        f'maildir = "{folder}"\n',
    )  # fmt: skip
    await made.say("suppress", "list")
    async with database.opened(database_url) as pool:
        async with database.connection(pool) as tx:
            await tx.raw.execute(PEOPLE)
            await tx.raw.execute(
                "UPDATE delivery SET state = 'sent', settled_at = now()"
            )
        async with made.running("run", "--workers", "0") as running:
            await running.says("Bounces from")
            to = path(made.root)

            def by_smtp() -> None:
                with smtplib.SMTP("127.0.0.1", smtp, timeout=10) as client:
                    client.sendmail("", [to], GONE.replace(b"\n", b"\r\n"))

            def by_lmtp() -> None:
                with smtplib.LMTP("127.0.0.1", lmtp, timeout=10) as client:
                    raw = sample("arf-abuse").replace(b"\n", b"\r\n")
                    client.sendmail("", [path(made.root, 2)], raw)

            await asyncio.to_thread(by_smtp)
            await asyncio.to_thread(by_lmtp)
            (folder / "new" / "1.host").write_bytes(sample("a-person-writes"))

            async def all_in_force() -> bool:
                found = await given.rows(pool, SUPPRESSED)
                waiting = await given.rows(pool, "SELECT count(*) FROM review")
                return len(found) == 2 and waiting == [(1,)]

            await until(all_in_force)

        assert await given.rows(pool, SUPPRESSED) == [
            ("ada@example.test", None, "bounce", False),
            ("bo@example.test", None, "complaint", False),
        ]
    assert list((folder / "new").iterdir()) == []


MANY = """
    INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
    SELECT 'p' || n || '@example.test', 'p' || n || '@example.test', 'example.test',
           'x', '2026-01-01Z'
    FROM generate_series(1, 60) n ORDER BY n;
    INSERT INTO blast (name, topic, file, hash) VALUES ('b1', 'fundraising', 'f', 'h');
    INSERT INTO round (blast_id, number) VALUES (1, 1);
    INSERT INTO delivery (blast_id, seq, subscriber_id, provider, round, variant, state,
                          settled_at)
    SELECT 1, id, id, 'x', 1, 1, 'sent', now() FROM subscriber;
"""


@pytest.mark.timeout(60)
async def test_what_was_answered_yes_survives_kill_9(
    database_url: str, sink: Sink, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    made = await house(
        database_url, sink, tmp_path, f'domain = "bounce.example.org"\nsmtp = {port}\n'
    )
    await made.say("suppress", "list")
    async with database.opened(database_url) as pool:
        async with database.connection(pool) as tx:
            await tx.raw.execute(MANY)
        running = await made.start("bounce", "serve")
        await running.says("Bounces by SMTP")
        answered: list[str] = []

        def deliver() -> None:
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                for number in range(1, 61):
                    name = f"p{number}@example.test"
                    raw = GONE.replace(b"ada@example.test", name.encode())
                    client.sendmail(
                        "", [path(made.root, number)], raw.replace(b"\n", b"\r\n")
                    )
                    answered.append(name)
                    if number == 20:
                        os.kill(running.process.pid, signal.SIGKILL)

        with contextlib.suppress(smtplib.SMTPException, OSError):
            await asyncio.to_thread(deliver)
        await running.kill()

        assert 20 <= len(answered) < 60
        folder = tmp_path / "empty"
        for name in ("new", "cur", "tmp"):
            (folder / name).mkdir(parents=True)
        await made.say("bounce", "read", folder)  # loads what the dead one left
        found = {row[0] for row in await given.rows(pool, SUPPRESSED)}

    assert set(answered) <= found
    assert len(found) <= len(answered) + 1
