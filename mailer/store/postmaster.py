"""Make, start and end one PostgreSQL server, on the standard library alone.

postgres refuses to run as root.  Root starts it as the owner of the folder, else as
nobody, who may not be able to reach the folder by its name: the server is started
inside of it and knows it as /proc/self/cwd.
"""

from __future__ import annotations

import ctypes
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

from mailer import errors
from mailer.store import programs

TICK = 0.02  # seconds between two looks at a server that starts or ends
STARTED = 1.0  # seconds after which a server that has not died has started
OUSTED = 60.0  # seconds in which what a killed server left behind must have ended

ROOM = 64_000_000  # bytes; a new data directory takes 50 MB, a segment of its log 17

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
    """The user that the server runs as; no ids when it is our own."""

    name: str
    uid: int | None = None
    gid: int | None = None

    def take(self, path: Path) -> None:
        """Give *path* to this user, when root made it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def owner(place: Place) -> Owner:
    """Choose the user: oneself; for root the owner of the folder, else nobody."""
    if os.getuid() != 0:
        return Owner(_name(os.getuid()))
    seen = (place.data, place.folder, place.folder.parent)
    uids = [path.stat().st_uid for path in seen if path.exists()]
    found = [uid for uid in uids if uid != 0]
    try:
        entry = pwd.getpwuid(found[0]) if found else pwd.getpwnam("nobody")
    except KeyError:
        who = f"user {found[0]}" if found else "nobody"
        message = f"PostgreSQL does not run as root, and /etc/passwd has no {who}"
        raise errors.Unavailable(message) from None
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        message = f"PostgreSQL wants a name for user {uid}: add it to /etc/passwd"
        raise errors.Unavailable(message) from None


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
        self.programs = programs.reachable(self.programs, uid=self.owner.uid)
        for stale in self.place.folder.glob("db.new*"):
            shutil.rmtree(stale, ignore_errors=True)
        if self.place.data.exists():
            self._compare()
        else:
            self._create()
        self._admit()

    def start(self) -> None:
        """Start the server, waiting for the remains of a killed one to end."""
        give_up = time.monotonic() + OUSTED
        self._oust(give_up)
        # Says less than postmaster.pid, and its number may be another process's now.
        (self.place.data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        while (said := self._launch()) is not None:
            remains = "still in use" in said or "postmaster.pid" in said
            if not remains or time.monotonic() > give_up:
                message = f"{self.place.data}: PostgreSQL does not start: {said}"
                raise errors.Unavailable(message)
            time.sleep(TICK)
        self.starts = [*self.starts[-4:], time.monotonic()]

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; SIGINT is fast shutdown, SIGQUIT leaves a recovery."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(OUSTED)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def is_running(self) -> bool:
        """Tell whether the postmaster lives."""
        return self.process is not None and self.process.poll() is None

    def _launch(self) -> str | None:
        """Start once.  Return why it ended, None when it did not within a second."""
        before = self.place.log.stat().st_size
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        known_as = self._known_as(self.place.data)
        process = self._spawn(["postgres", "-D", known_as, *options], self.place.data)
        self.process = process
        late = time.monotonic() + STARTED
        while time.monotonic() < late:
            if process.poll() is not None:
                return self._last_words(before)
            if self._is_ready(process.pid):
                return None
            time.sleep(TICK)
        return None

    def _is_ready(self, pid: int) -> bool:
        # utils/pidfile.h: the first line is the pid, the eighth the status
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
        locale = [
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        create = ["initdb", "-D", self._known_as(new), "-U", ROLE, "-E", "UTF8"]
        first = ["postgres", "--single", "-D", self._known_as(new), "postgres"]
        statement = f"CREATE DATABASE {DATABASE}\n".encode()
        with self._spawn([*create, *locale, "-A", "peer"], new) as made:
            made.wait()
        if made.returncode == 0:
            with self._spawn(first, new, stdin=subprocess.PIPE) as made:
                made.communicate(statement)
        if made.returncode != 0:
            message = f"{self.place.data}: cannot be made: {self._last_words(before)}"
            shutil.rmtree(new, ignore_errors=True)
            raise errors.Unavailable(message)
        new.rename(self.place.data)

    def _admit(self) -> None:
        """Let in the owner and root, by what the kernel says of the socket's peer.

        Nobody else gets in, even where the server's user is a shared one.
        """
        names = {"root", self.owner.name} - {"nobody"}
        if os.getuid() != 0:
            names.add(self.owner.name)
        maps = "".join(f'mailer "{name}" {ROLE}\n' for name in sorted(names))
        for file, text in (
            ("pg_hba.conf", "local all all peer map=mailer\n"),
            ("pg_ident.conf", maps),
        ):
            path = self.place.data / file
            how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(path, how, 0o600), "w") as opened:
                opened.write(text)
            self.owner.take(path)

    def _compare(self) -> None:
        """Refuse data of another major version: PostgreSQL cannot read it."""
        file = self.place.data / "PG_VERSION"
        try:
            theirs = file.read_text().strip()
        except FileNotFoundError:
            message = f"{self.place.data}: is no PostgreSQL data directory"
            raise errors.Unavailable(message) from None
        ours = programs.version(self.programs).partition(".")[0]
        if ours != theirs:
            message = (
                f"{self.place.data}: is of PostgreSQL {theirs}, this is {ours}: back "
                "it up with the mailer that made it, and restore that with this one"
            )
            raise errors.Unavailable(message)

    def _oust(self, give_up: float) -> None:
        """End a server whose keeper is gone, and remove a pid file that lies."""
        file = self.place.data / "postmaster.pid"
        while True:
            try:
                pid = int(file.read_text().split(maxsplit=1)[0])
                os.kill(pid, 0)
            except (OSError, ValueError, IndexError):
                return  # PostgreSQL itself deals with one that points nowhere
            if not self._is_ours(pid):
                # The number is another process's now, after a reboot.
                file.unlink(missing_ok=True)
                return
            with suppress(ProcessLookupError):
                late = time.monotonic() > give_up
                os.kill(pid, signal.SIGQUIT if late else signal.SIGINT)
            time.sleep(TICK * 5)

    def _is_ours(self, pid: int) -> bool:
        """Tell whether *pid* is a PostgreSQL server of this place."""
        if LINUX:
            with suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                cwd = Path(f"/proc/{pid}/cwd")
                return name == "postgres" and cwd.samefile(self.place.data)
            return False
        said = subprocess.run(  # noqa: S603 - ps, where there is no /proc
            ["/bin/ps", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return str(self.place.data) in said.stdout

    def _known_as(self, data: Path) -> str:
        """Return what the server calls its data directory, which it starts in."""
        return "/proc/self/cwd" if self.owner.uid is not None and LINUX else str(data)

    def _spawn(
        self, command: Sequence[str], data: Path, *, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start one of PostgreSQL's programs in *data*, as the owner."""
        with self.place.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own binaries
                [str(self.programs / command[0]), *command[1:]],
                cwd=data,
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
        free = shutil.disk_usage(self.place.folder).free
        # The log is on the same disk, and ends where that was full.
        full = f" ({free // 1_000_000} MB left on the disk)" if free < ROOM else ""
        return _reason([line for line in lines if line.strip()]) + full


def _reason(lines: Sequence[str]) -> str:
    """Return what went wrong, out of what initdb and postgres said."""
    for word in ("PANIC:", "FATAL:", "error:", "could not"):
        for line in lines:
            if word in line:
                return line.partition(word)[2].strip() or line
    return lines[-1].strip() if lines else "it says nothing"


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
