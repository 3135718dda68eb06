"""The whole database as one file: pg_dump's custom format, and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg

from mailer import errors
from mailer.store import database, processes, programs

SQL = database.load("backups")

LONGEST_NAME = 63 - len("_before_restore")  # bytes; NAMEDATALEN less one
TOO_NEW = 'unrecognized configuration parameter "transaction_timeout"'
TRIES = 3  # to get everybody out at the moment of the swap


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A database and its server."""

    version: str
    name: str
    size_bytes: int


async def about(tx: database.Connection) -> About:
    """Return which server this is, and how large the database."""
    row = await tx.row(SQL["about"])
    assert row is not None
    return About(**row)


async def running(tx: database.Connection) -> list[processes.Alive]:
    """Return the processes that work on the database; none on one without a schema."""
    try:
        return await processes.alive(tx)
    except asyncpg.UndefinedTableError:
        return []


async def forget_processes(tx: database.Connection) -> None:
    """Say that no process runs: the ones in a backup ran elsewhere, or before."""
    await tx.run(SQL["forget"])


async def skip_numbers(tx: database.Connection, *, gap: int) -> None:
    """Number new blasts far from those that were made after the backup."""
    await tx.value(SQL["skip"], gap=gap)


async def write(url: str, path: Path) -> int:
    """Write a backup of the database to *path*, and return its size in bytes.

    The file appears when it is whole, readable for its owner only.  Raises Conflict
    when there is one already.
    """
    with _whole(path) as partial:
        await run("pg_dump", url, "--format=custom", "--no-owner", f"--file={partial}")
        return partial.stat().st_size


async def check(path: Path) -> None:
    """Refuse a file that is no backup.  Raises Invalid, or OSError."""
    try:
        os.close(os.open(path, os.O_RDONLY))
        await _run(["pg_restore", "--list", str(path)], {})
    except errors.Unavailable as error:
        message = f"{path}: is no backup of mailer: {error}"
        raise errors.Invalid(message) from error


@asynccontextmanager
async def restored(url: str, path: Path) -> AsyncIterator[str]:
    """Yield the address of a new database with what the backup at *path* holds.

    At the end it takes the place of the one at *url*, which stays as
    ``NAME_before_restore``; at an error it is removed, and nothing has changed.
    """
    name = _name(url)
    if len(name.encode()) > LONGEST_NAME:
        message = f"{name}: too long a name: PostgreSQL would cut off what we add to it"
        raise errors.Invalid(message)
    new = f"{name}_restoring"
    admin = await _admin(url)
    try:
        if not await admin.value(SQL["alone"]):
            message = f"{name} is being restored by somebody else"
            raise errors.Conflict(message)
        await _execute(admin, "drop", name=new)
        await _execute(admin, "create", name=new)
        try:
            there = named(url, new)
            options = ("--no-owner", "--no-privileges", "--jobs=2")
            await run("pg_restore", there, *options, last=[str(path)])
            yield there
            await _swap(admin, name, new)
        finally:
            await _execute(admin, "drop", name=new)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        message = f"{name} cannot be restored: {error}"
        raise errors.Unavailable(message) from error
    finally:
        await admin.raw.close()


async def run(program: str, url: str, *options: str, last: Sequence[str] = ()) -> None:
    """Run one of PostgreSQL's programs on the database at *url*.

    Raises Unavailable with what it said.
    """
    place, secret = _without_password(url)
    await _run([program, *options, f"--dbname={place}", *last], secret)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a new file beside *path* that takes its name once it is whole."""
    if path.exists():
        message = f"{path}: is there already: name another file"
        raise errors.Conflict(message)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield partial
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def interactive(url: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of psql on *url*, and what its environment needs beside."""
    place, secret = _without_password(url)
    return [str(programs.found() / "psql"), f"--dbname={place}"], secret


def named(url: str, name: str) -> str:
    """Return *url* with another database."""
    scheme, place, _, query, _ = urlsplit(url)
    return f"{scheme}://{place}/{quote(name)}" + (f"?{query}" if query else "")


async def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        str(programs.found() / command[0]),
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment, "LC_ALL": "C"},
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    lines = said.decode(errors="replace").strip().splitlines()
    wrong = [line for line in lines if "error:" in line] or lines[:1]
    # pg_restore 17 and later set what earlier servers do not know, and go on.
    wrong = [line for line in wrong if TOO_NEW not in line]
    if process.returncode != 0 and (wrong or not lines):
        message = wrong[0] if wrong else f"{command[0]}: {process.returncode}"
        raise errors.Unavailable(message)


async def _admin(url: str) -> database.Connection:
    """Connect beside the database: one cannot be renamed from inside."""
    beside = "template1" if _name(url) == "postgres" else "postgres"
    try:
        raw = await asyncpg.connect(
            named(url, beside), timeout=database.CONNECT_TIMEOUT
        )
    except (OSError, asyncpg.PostgresError) as error:
        message = f"no way into the server's database {beside}: {error}"
        raise errors.Unavailable(message) from error
    return database.Connection(raw)


async def _swap(admin: database.Connection, name: str, new: str) -> None:
    """Put *new* in the place of *name*, in one transaction."""
    before = f"{name}_before_restore"
    await _execute(admin, "drop", name=before)
    for tried in range(1, TRIES + 1):
        await admin.rows(SQL["clear"], name=name)
        await admin.rows(SQL["clear"], name=new)
        try:
            async with admin.raw.transaction():
                await _execute(admin, "rename", before=name, after=before)
                await _execute(admin, "rename", before=new, after=name)
        except asyncpg.ObjectInUseError:
            # Whoever lost the connection was back before us.
            if tried == TRIES:
                raise
        else:
            return


async def _execute(admin: database.Connection, query: str, **names: str) -> None:
    """Let the server write a statement round *names*, and execute it."""
    await admin.raw.execute(await admin.value(SQL[query], **names))


def _name(url: str) -> str:
    """Return the name of the database; libpq's rule where the address has none."""
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/")) or unquote(parts.username or "")
    if not name:
        message = "MAILER_DATABASE_URL names no database: postgresql://HOST/NAME"
        raise errors.Invalid(message)
    return name


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Return *url* without its password, which everyone could see in ps."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    user, _, host = parts.netloc.rpartition("@")
    place = f"{user.partition(':')[0]}@{host}"
    return urlunsplit(parts._replace(netloc=place)), {
        "PGPASSWORD": unquote(parts.password)
    }
