"""An import that is killed or stopped is repeated, and ends in the same state."""

import asyncio
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from mailer.pipeline import importing
from mailer.store import database
from tests import given

BATCHES = 3
ROWS = BATCHES * importing.BATCH
HELD = importing.BATCH + 5  # a row of the second batch

WRONG = {7: "nobody", ROWS - 7: "nobody else"}  # refused in the first and last batch


def email(number: int) -> str:
    """Return the address in a row."""
    return WRONG.get(number, f"p{number}@example.org")


async def started(workspace: Path, path: Path) -> asyncio.subprocess.Process:
    """Start an import in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailer", "-C", str(workspace), "import", str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def people(db: database.Pool) -> int:
    """Return how many there are."""
    ((count,),) = await given.rows(db, "SELECT count(*) FROM subscriber")
    assert isinstance(count, int)
    return count


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
async def test_an_import_that_was_stopped_midway_is_repeated(
    workspace: Path,
    db: database.Pool,
    database_url: str,
    tmp_path: Path,
    stop: signal.Signals,
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "email,first_name\n" + "".join(f"{email(n)},N{n}\n" for n in range(ROWS))
    )
    await given.subscriber(db, email(HELD), first_name="old")
    blocker = await asyncpg.connect(database_url)

    async with asyncio.timeout(30), blocker.transaction():
        await blocker.execute(
            "SELECT FROM subscriber WHERE address = $1 FOR UPDATE", email(HELD)
        )
        process = await started(workspace, path)
        while await people(db) == 1:  # until the second batch waits for the row
            continue
        process.send_signal(stop)
        output, _ = await process.communicate()
    await blocker.close()

    assert await people(db) == importing.BATCH  # the first batch, and HELD, but WRONG
    if stop is signal.SIGINT:
        assert process.returncode == 1
        assert b"what was read so far is in.  Run the same command again" in output

    process = await started(workspace, path)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert await people(db) == ROWS - len(WRONG)
    assert await given.rows(
        db, "SELECT count(*) FROM subscriber WHERE first_name <> 'N' ||"
        " substr(split_part(address, '@', 1), 2)"
    ) == [(0,)]  # fmt: skip
    assert (tmp_path / "people.refused.csv").read_text().splitlines()[1:] == [
        f'"{number + 2}","{value}","An email address must have an @-sign."'
        for number, value in WRONG.items()
    ]
