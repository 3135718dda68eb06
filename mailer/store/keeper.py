"""Keep the PostgreSQL server of one folder for as long as anybody uses it.

Run as a script of its own on the bare standard library, so that it starts at once
and outlives whoever started it.  Three flocks say everything, and the kernel drops
each of them with its process, however that ended:

- users hold `db.users` shared; who gets it exclusively is alone, and stops the server;
- the keeper holds `db.keeper` exclusively, so there is one, and all can see it;
- the server dies with the keeper (parent-death signal, prctl(2)) where Linux has that.

postgres refuses to run as root.  A root keeper starts it as the owner of the folder,
else as nobody, who may not be able to reach the folder by its name: the server is
started inside of it and knows it as /proc/self/cwd.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TICK = 0.1  # seconds between two looks at the server and its users
STARTED = 1.0  # seconds after which a server that has not died has started
OUSTED = 60.0  # seconds in which what a killed server left behind must have ended
PATIENCE = 20.0  # seconds that users have to end after a SIGTERM to the keeper
LOG_LIMIT = 10_000_000  # bytes; a longer log makes room for a new one

ROLE = "mailer"
DATABASE = "mailer"
LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1  # linux/prctl.h

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",  # in the data directory, which is 0700
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    # Imports and launches write millions of rows at once, and nobody replicates.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # Compiling a plan costs more than any query of ours.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements and details hold addresses of people: keep them out of the log.
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


class Failed(Exception):
    """The server cannot be had.  Its text is one line for a person."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one server: data, locks, log."""

    folder: Path

    @property
    def data(self) -> Path:
        """Return PostgreSQL's data directory, where the socket is too."""
        return self.folder / "db"

    @property
    def users(self) -> Path:
        """Return the lock that users share."""
        return self.folder / "db.users"

    @property
    def keeper(self) -> Path:
        """Return the lock that the keeper holds."""
        return self.folder / "db.keeper"

    @property
    def log(self) -> Path:
        """Return what keeper and server have to say."""
        return self.folder / "db.log"


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that the server runs as; no ids when it is the keeper's own."""

    name: str
    uid: int | None = None
    gid: int | None = None

    def take(self, path: Path) -> None:
        """Give *path* to this user, when root made it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def owner(place: Place) -> Owner:
    """Choose the user: oneself; for root the owner of the folder, else nobody."""
    if os.getuid() != 0:
        try:
            return Owner(pwd.getpwuid(os.getuid()).pw_name)
        except KeyError:
            message = (
                f"user {os.getuid()} has no name: PostgreSQL needs a line for it in "
                "/etc/passwd"
            )
            raise Failed(message) from None
    uids = [
        path.stat().st_uid
        for path in (place.data, place.folder, place.folder.parent)
        if path.exists()
    ]
    found = [uid for uid in uids if uid != 0]
    try:
        entry = pwd.getpwuid(found[0]) if found else pwd.getpwnam("nobody")
    except KeyError:
        message = "PostgreSQL does not run as root, and there is no user nobody"
        raise Failed(message) from None
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)


def locked(path: Path, how: int) -> int | None:
    """Lock the file at *path*, and return its descriptor, or None when taken.

    Closing gives the lock back.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_kept(place: Place) -> bool:
    """Tell whether a keeper lives."""
    descriptor = locked(place.keeper, fcntl.LOCK_SH)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


# ── One server ──────────────────────────────────────────────────────────────


@dataclass(slots=True, kw_only=True)
class Server:
    """A postmaster, and what it takes to start it again."""

    place: Place
    programs: Path
    owner: Owner
    settings: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def prepare(self) -> None:
        """Make the data directory if there is none, and say who may connect."""
        for stale in self.place.folder.glob("db.new*"):
            shutil.rmtree(stale, ignore_errors=True)
        if self.place.data.exists():
            self._compare_versions()
        else:
            self._create()
        self._admit()

    def start(self) -> None:
        """Start the server, waiting for the remains of a killed one to end."""
        give_up = time.monotonic() + OUSTED
        self._oust()
        while True:
            said = self._launch()
            if said is None:
                return
            if not _is_remains(said) or time.monotonic() > give_up:
                message = f"{self.place.data}: PostgreSQL does not start: {said}"
                raise Failed(message)
            time.sleep(TICK)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; SIGINT is fast shutdown, SIGQUIT leaves a recovery."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()

    def is_running(self) -> bool:
        """Tell whether the postmaster lives."""
        return self.process is not None and self.process.poll() is None

    def _launch(self) -> str | None:
        """Start once.  Return why it ended, None when it did not within a second."""
        before = self.place.log.stat().st_size
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        self.process = self._spawn(["postgres", "-D", self._known_as(), *options])
        started = time.monotonic()
        self.starts = [*self.starts[-4:], started]
        while time.monotonic() < started + STARTED:
            if self.process.poll() is not None:
                return self._last_words(before)
            if self._is_ready(self.process.pid):
                return None
            time.sleep(TICK / 10)
        return None

    def _is_ready(self, pid: int) -> bool:
        with suppress(OSError, IndexError):
            lines = (self.place.data / "postmaster.pid").read_text().splitlines()
            return lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    def _create(self) -> None:
        """Make the data directory, whole or not at all."""
        new = self.place.folder / f"db.new{os.getpid()}"
        new.mkdir(mode=0o700)
        self.owner.take(new)
        before = self.place.log.stat().st_size
        # The same order of text on every machine, whatever its locale.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        create = ["initdb", "-D", self._known_as(new), "-U", ROLE, "-E", "UTF8"]
        first = ["postgres", "--single", "-D", self._known_as(new), "postgres"]
        statement = f"CREATE DATABASE {DATABASE}\n".encode()
        with self._spawn([*create, "--no-locale", *locale, "-A", "peer"], new) as made:
            made.wait()
        if made.returncode == 0:
            with self._spawn(first, new, stdin=subprocess.PIPE) as made:
                made.communicate(statement)
        if made.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            message = f"{self.place.data}: cannot be made: {self._last_words(before)}"
            raise Failed(message)
        new.rename(self.place.data)

    def _admit(self) -> None:
        """Let in the owner and root, by what the kernel says of the socket's peer.

        Nobody else gets in, even where the server's user is a shared one.
        """
        names = {"root", pwd.getpwuid(os.getuid()).pw_name}
        if self.owner.name != "nobody":
            names.add(self.owner.name)
        maps = "".join(f'mailer "{name}" {ROLE}\n' for name in sorted(names))
        for file, text in (
            ("pg_hba.conf", "local all all peer map=mailer\n"),
            ("pg_ident.conf", maps),
        ):
            path = self.place.data / file
            path.write_text(text)
            self.owner.take(path)

    def _compare_versions(self) -> None:
        """Refuse data of another major version: PostgreSQL cannot read it."""
        file = self.place.data / "PG_VERSION"
        try:
            theirs = file.read_text().strip()
        except FileNotFoundError:
            message = f"{self.place.data}: is no PostgreSQL data directory"
            raise Failed(message) from None
        said = subprocess.run(  # noqa: S603 - our own binary
            [self.programs / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        ours = said.split()[2].partition(".")[0]
        if ours != theirs:
            message = (
                f"{file}: the data is PostgreSQL {theirs}'s, this is {ours}: write a "
                "backup with the mailer that made it, and restore that with this one"
            )
            raise Failed(message)

    def _oust(self) -> None:
        """End a server whose keeper is gone, and remove a pid file that lies."""
        file = self.place.data / "postmaster.pid"
        give_up = time.monotonic() + OUSTED
        while True:
            try:
                pid = int(file.read_text().split(maxsplit=1)[0])
            except (FileNotFoundError, ValueError, IndexError):
                return
            if not _is_postgres(pid):
                # Another process may have that number now, after a reboot.
                file.unlink(missing_ok=True)
                return
            with suppress(ProcessLookupError):
                late = time.monotonic() > give_up
                os.kill(pid, signal.SIGQUIT if late else signal.SIGINT)
            time.sleep(TICK)

    def _known_as(self, data: Path | None = None) -> str:
        if self.owner.uid is not None and LINUX:
            return "/proc/self/cwd"
        return str(data or self.place.data)

    def _spawn(
        self,
        command: Sequence[str],
        data: Path | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start one of PostgreSQL's programs in *data*, as the owner."""
        with self.place.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own binaries
                [str(self.programs / command[0]), *command[1:]],
                cwd=data or self.place.data,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,  # Ctrl-C is for commands, not for the server
                umask=0o077,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - we have one thread
                user=self.owner.uid,
                group=self.owner.gid,
                extra_groups=None if self.owner.uid is None else [],
            )

    def _last_words(self, offset: int) -> str:
        """Return the line of the log since *offset* that says what went wrong."""
        with self.place.log.open("rb") as log:
            log.seek(offset)
            lines = log.read().decode(errors="replace").splitlines()
        lines = [line for line in lines if line.strip()]
        for word in ("PANIC:", "FATAL:", "error:", "could not"):
            for line in lines:
                if word in line:
                    return line.partition(word)[2].strip() or line
        return lines[-1].strip() if lines else "it says nothing"


def _is_remains(said: str) -> bool:
    """Tell whether a killed server's children are still there."""
    return "still in use" in said or "postmaster.pid" in said


def _is_postgres(pid: int) -> bool:
    """Tell whether *pid* is a PostgreSQL server."""
    show = ["ps", "-o", "comm=", "-p", str(pid)]
    if LINUX:
        with suppress(OSError):
            comm = Path(f"/proc/{pid}/comm").read_text()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            return comm.strip() == "postgres" and state != "Z"
        return False
    said = subprocess.run(show, capture_output=True, text=True, check=False)  # noqa: S603 - ps, where there is no /proc
    return "postgres" in said.stdout


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does so that SIGINT reaches it when its parent dies."""
    if not LINUX:
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


# ── The keeper ──────────────────────────────────────────────────────────────


def keep(server: Server, *, linger: float) -> None:
    """Run the server until nobody has used it for *linger* seconds."""
    place = server.place
    users = os.open(place.users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    ends: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(time.monotonic() + PATIENCE))
    used = time.monotonic()
    while True:
        time.sleep(TICK)
        if not _is_file(place.users, users):
            server.stop(signal.SIGQUIT)  # the folder was removed under us
            return
        if not server.is_running():
            _restart(server)
        if ends and time.monotonic() > ends[0]:
            server.stop()
            return
        if not _is_alone(users):
            used = time.monotonic()
        elif (ends or time.monotonic() >= used + linger) and _is_alone(
            users, keep=True
        ):
            server.stop()  # the lock is held until this process has ended
            return


def _restart(server: Server) -> None:
    """Start a server that was killed; not one that dies again and again."""
    if len(server.starts) >= 5 and server.starts[0] > time.monotonic() - 30.0:
        message = f"{server.place.data}: PostgreSQL died 5 times in 30 seconds"
        raise Failed(message)
    server.start()


def _is_file(path: Path, descriptor: int) -> bool:
    """Tell whether *path* is still the file that *descriptor* has open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_alone(users: int, *, keep: bool = False) -> bool:
    """Tell whether nobody shares the lock; *keep* it when so."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not keep:
        fcntl.flock(users, fcntl.LOCK_UN)
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Detach, keep the server, and let the starter go once it has started."""
    parser = argparse.ArgumentParser(description="Keep the server of one folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--linger", type=float, default=0.0)
    parser.add_argument("--temporary", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args(arguments)
    read, write = os.pipe()
    if os.fork() != 0:
        os.close(write)
        with open(read, encoding="utf-8") as said:  # noqa: PTH123 - a descriptor
            sys.exit(said.read().strip() or 0)
    os.close(read)
    place = Place(given.folder)
    lock = None
    try:
        lock = _sole(place)
        if lock is not None:
            _serve(place, given, write)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        _report(write, str(error))
    if lock is not None and given.temporary:
        shutil.rmtree(place.folder, ignore_errors=True)


def _sole(place: Place) -> int | None:
    """Become the one keeper, or return None when another is."""
    for _ in range(20):  # whoever looks for a keeper holds the lock for a moment
        lock = locked(place.keeper, fcntl.LOCK_EX)
        if lock is not None:
            return lock
        time.sleep(TICK / 10)
    return None


def _serve(place: Place, given: argparse.Namespace, write: int) -> None:
    """Start the server, let the starter go, and keep it."""
    user = owner(place)
    if place.log.exists() and place.log.stat().st_size > LOG_LIMIT:
        place.log.replace(place.log.with_suffix(".log.1"))
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir("/")
    settings = SETTINGS | dict(one.split("=", 1) for one in given.set)
    server = Server(place=place, programs=given.programs, owner=user, settings=settings)
    for file in (place.users, place.keeper, place.log):
        if file.exists():
            user.take(file)
    server.prepare()
    server.start()
    os.dup2(2, write, inheritable=False)  # ends the pipe; the log takes what follows
    keep(server, linger=given.linger)


def _report(write: int, message: str) -> None:
    """Tell the starter, or the log when the starter has been let go."""
    with suppress(OSError):
        os.write(write, (message.replace("\n", " ") + "\n").encode())


if __name__ == "__main__":
    main()
