import asyncio
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from mailer import cli, errors
from mailer.core.blast import State
from mailer.store import backups, blasts, database, migrate

Mailer = Callable[..., Result]

UNDER_WAY = ("scheduled", "launching", "testing", "deciding", "sending")
AT_REST = ("draft", "proofed", "approved", "done", "cancelled", "expired")


@pytest.fixture
def mailer(workspace: Path) -> Mailer:
    """Run a command in the workspace."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli.commands, ["-C", str(workspace), *arguments])

    return run


def execute(url: str, *statements: str) -> None:
    async def executed() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(executed())


def blasts_of(url: str) -> dict[str, blasts.Blast]:
    async def read() -> dict[str, blasts.Blast]:
        async with database.opened(url) as pool, database.connection(pool) as tx:
            return {found.name: found for found in await blasts.everything(tx)}

    return asyncio.run(read())


def launch(url: str) -> None:
    """Put one blast into each state but paused."""
    rows = ", ".join(
        f"('{state}', '{state}', 't', 'f', 'h', 'c')" for state in UNDER_WAY + AT_REST
    )
    execute(
        url,
        "INSERT INTO content (hash, body) VALUES ('c', '{}')",
        "INSERT INTO blast (name, state, topic, file, hash, approved_hash)"
        f" VALUES {rows}",
    )


def test_status_names_server_schema_and_processes(mailer: Mailer) -> None:
    result = mailer("db", "status", "--json")

    found = json.loads(result.output)
    assert re.match(r"\d+\.\d+", found["server"])
    assert found["processes"] == 0
    assert [step["number"] for step in found["migrations"]] == [
        one.number for one in migrate.shipped()
    ]


def test_status_of_an_empty_database_shows_what_is_pending(
    mailer: Mailer, database_url: str
) -> None:
    execute(database_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    assert "0001 start  pending" in mailer("db", "status").output
    assert "applied  0001 start" in mailer("db", "migrate").output
    assert mailer("db", "migrate").output == "Nothing to do.\n"


def test_a_backup_comes_back_with_every_blast_under_way_paused(
    mailer: Mailer, database_url: str, tmp_path: Path
) -> None:
    launch(database_url)
    file = tmp_path / "all.dump"
    assert mailer("db", "backup", str(file)).exit_code == 0
    execute(database_url, "DELETE FROM blast")

    result = mailer("--as", "ada", "db", "restore", str(file), "--yes")

    assert result.exit_code == 0, result.exception
    found = blasts_of(database_url)
    for name in UNDER_WAY:
        assert found[name].state is State.PAUSED
        assert found[name].resumes is State(name)
        assert "restored from a backup" in str(found[name].reason)
        assert f"paused    {name}: " in result.output
    for name in AT_REST:
        assert found[name].state is State(name)


def test_what_was_there_before_a_restore_is_kept(
    mailer: Mailer, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "all.dump"
    mailer("db", "backup", str(file))
    launch(database_url)

    mailer("db", "restore", str(file), "--yes")

    name = backups._name(database_url)
    assert blasts_of(database_url) == {}
    before = backups.named(database_url, f"{name}_before_restore")
    assert len(blasts_of(before)) == len(UNDER_WAY + AT_REST)


def test_a_backup_is_its_owners_alone_and_never_overwritten(
    mailer: Mailer, tmp_path: Path
) -> None:
    file = tmp_path / "all.dump"
    mailer("db", "backup", str(file))

    again = mailer("db", "backup", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert isinstance(again.exception, errors.Conflict)
    assert [path.name for path in tmp_path.glob("*.dump*")] == ["all.dump"]


def test_a_file_that_is_no_backup_changes_nothing(
    mailer: Mailer, database_url: str, tmp_path: Path
) -> None:
    launch(database_url)
    file = tmp_path / "all.dump"
    file.write_text("nothing")

    result = mailer("db", "restore", str(file), "--yes")

    assert isinstance(result.exception, errors.Invalid)
    assert len(blasts_of(database_url)) == len(UNDER_WAY + AT_REST)


def test_half_a_backup_changes_nothing(
    mailer: Mailer, database_url: str, tmp_path: Path
) -> None:
    launch(database_url)
    file = tmp_path / "all.dump"
    mailer("db", "backup", str(file))
    file.write_bytes(file.read_bytes()[:-20_000])

    result = mailer("db", "restore", str(file), "--yes")

    assert isinstance(result.exception, errors.Unavailable | errors.Invalid)
    assert blasts_of(database_url)["sending"].state is State.SENDING
    name = backups._name(database_url)
    with pytest.raises(errors.Unavailable):
        blasts_of(backups.named(database_url, f"{name}_restoring"))


def test_a_restore_waits_until_the_processes_have_stopped(
    mailer: Mailer, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "all.dump"
    mailer("db", "backup", str(file))
    execute(
        database_url,
        "INSERT INTO process (id, kind, host, boot, pid, fingerprint)"
        " VALUES ('w', 'worker', 'h', 'b', 7, 'f')",
    )

    result = mailer("db", "restore", str(file), "--yes")

    assert isinstance(result.exception, errors.Conflict)
    assert "worker on h (pid 7)" in str(result.exception)
    forced = mailer("db", "restore", str(file), "--yes", "--while-running")
    assert forced.exit_code == 0


def test_a_name_that_would_be_cut_off_is_refused() -> None:
    async def restored() -> None:
        url = f"postgresql://example.test/{'x' * 63}"
        async with backups.restored(url, Path("x")):
            pass

    with pytest.raises(errors.Invalid, match="too long a name"):
        asyncio.run(restored())


def test_passwords_are_not_arguments() -> None:
    place, secret = backups._without_password("postgresql://ada:s%40x@db.test:5/x?y=1")

    assert place == "postgresql://ada@db.test:5/x?y=1"
    assert secret == {"PGPASSWORD": "s@x"}
