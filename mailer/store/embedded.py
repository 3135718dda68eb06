"""The PostgreSQL server of a workspace that has none of its own.

Everyone who uses it holds a shared lock; a keeper (`mailer.store.keeper`) owns the
server and stops it once nobody does.  Each user also watches that a keeper lives,
and starts another when it was killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from mailer import errors
from mailer.store import keeper, postmaster, programs

LINGER = 3.0  # seconds a server waits for the next command before it stops
TICK = 0.02  # seconds between two looks at a server that starts
WATCH = 0.5  # seconds between two looks at the keeper
QUIET = 3.0  # seconds of waiting after which we say what we wait for
TRIES = 3  # keepers that may end while we wait, before we give up
PATH_LIMIT = 103  # bytes of a socket's path: 104 on macOS, 108 on Linux, with the NUL
_KEEP = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from mailer.store import keeper; keeper.main()"
)
PORT = 5432  # only part of the socket's name: nobody listens on TCP


@asynccontextmanager
async def served(url: str | None, *, root: Path) -> AsyncIterator[str]:
    """Yield the address of the database: *url*, else the workspace's own server.

    Raises Unavailable when there is none.
    """
    if url is not None:
        yield url
        return
    given_up = threading.Event()
    with ExitStack() as stack:
        context = using(root / ".mailer", given_up=given_up)
        loop = asyncio.get_running_loop()
        entering = loop.run_in_executor(None, stack.enter_context, context)
        try:
            address = await asyncio.shield(entering)
        except asyncio.CancelledError:
            given_up.set()
            await asyncio.wait([entering])
            raise
        yield address


@contextmanager
def using(
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    linger: float = LINGER,
    temporary: bool = False,
    given_up: threading.Event | None = None,
) -> Iterator[str]:
    """Use the server in *folder*, starting it when it does not run.

    *settings* overrule `postmaster.SETTINGS` when this call starts it; a *temporary*
    folder is removed with the server.  Raises Unavailable.
    """
    use = _Use(
        place=postmaster.Place(folder.absolute()),
        options=_options(settings or {}, linger=linger, temporary=temporary),
        given_up=given_up or threading.Event(),
    )
    with ExitStack() as stack:
        try:
            _make(folder)
            lock = use.share()
            stack.callback(os.close, lock)
            host = stack.enter_context(_short(use.place.data))
            use.start(Path(host) / f".s.PGSQL.{PORT}")
        except OSError as error:
            if isinstance(error, errors.MailerError):
                raise
            message = f"{error.filename or folder}: {error.strerror or error}"
            raise errors.Unavailable(message) from error
        watch = threading.Thread(target=use.watch, name="keeper", daemon=True)
        watch.start()
        stack.callback(watch.join)
        stack.callback(use.done.set)
        yield f"postgresql://{postmaster.ROLE}@/{postmaster.DATABASE}?host={quote(host)}"


def _make(folder: Path) -> None:
    """Make *folder*; its owner is whoever owns what it is in."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.getuid() == 0:
            above = folder.parent.stat()
            os.chown(folder, above.st_uid, above.st_gid)


def _options(
    settings: Mapping[str, str], *, linger: float, temporary: bool
) -> tuple[str, ...]:
    """Return the keeper's arguments."""
    chosen = [f"--set={name}={value}" for name, value in settings.items()]
    forget = ["--temporary"] if temporary else []
    return (f"--programs={programs.found()}", f"--linger={linger}", *forget, *chosen)


@contextmanager
def _short(data: Path) -> Iterator[str]:
    """Yield a name of *data* that fits into a socket's address.

    A long one gets a link in a folder that is ours alone, so that nobody can put
    another server there.
    """
    if len(os.fsencode(data / f".s.PGSQL.{PORT}")) <= PATH_LIMIT:
        yield str(data)
        return
    # Not TMPDIR: that may be long itself.
    with tempfile.TemporaryDirectory(prefix="mailer-", dir="/tmp") as folder:
        link = Path(folder, "db")
        link.symlink_to(data)
        yield str(link)


@dataclass(slots=True, kw_only=True)
class _Use:
    """One process's use of a server."""

    place: postmaster.Place
    options: tuple[str, ...]
    given_up: threading.Event
    done: threading.Event = field(default_factory=threading.Event)

    def share(self) -> int:
        """Take the users' lock, once a server that stops has stopped."""
        wait = _Wait(f"waiting until the database in {self.place.data} has stopped")
        while True:
            lock = keeper.locked(self.place.users, fcntl.LOCK_SH)
            if lock is not None:
                return lock
            self._pause(wait)

    def start(self, path: Path) -> None:
        """Return when the server answers on the socket at *path*."""
        wait = _Wait(f"waiting for the database in {self.place.data}")
        tries = 0
        while not _answers(path):
            if not keeper.is_kept(self.place):
                if tries == TRIES:
                    message = f"the database does not stay up: see {self.place.log}"
                    raise errors.Unavailable(message)
                tries += 1
                self._keep()
            self._pause(wait)

    def watch(self) -> None:
        """Start another keeper whenever the last one is gone, until we are done."""
        pause = WATCH
        while not self.done.wait(pause):
            try:
                if self.place.users.exists() and not keeper.is_kept(self.place):
                    self._keep()
                pause = WATCH
            except (OSError, errors.MailerError) as error:
                _tell(str(error))
                pause = min(pause * 2, 30.0)

    def _keep(self) -> None:
        """Start a keeper, and return when its server has started."""
        # Isolated and without site-packages: it needs neither, and starts in a moment.
        python = [sys.executable, "-I", "-S", "-c", _KEEP]
        packages = str(Path(keeper.__file__).parents[2])
        said = subprocess.run(  # noqa: S603 - ourselves
            [*python, packages, *self.options, str(self.place.folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            cwd="/",
            check=False,
        )
        if said.returncode != 0:
            lines = said.stderr.strip().splitlines() or ["the keeper died"]
            raise errors.Unavailable(lines[-1])

    def _pause(self, wait: _Wait) -> None:
        # Each look is a line in the log of a server that recovers.
        waited = time.monotonic() - wait.since
        if self.given_up.wait(min(TICK + waited / 10, WATCH)):
            message = "given up"
            raise errors.Unavailable(message)
        if waited >= wait.told + QUIET:
            wait.told = waited
            _tell(f"{wait.what}: {waited:.0f} s{self._news()}")

    def _news(self) -> str:
        """Return what the server said last: how far its recovery is, say."""
        with suppress(OSError):
            said = self.place.log.read_text(errors="replace")
            found = re.findall("LOG:  (.*)", said)
            return f" ({found[-1]})" if found else ""
        return ""


@dataclass(slots=True)
class _Wait:
    """A wait: what for, since when, and when we said so last."""

    what: str
    since: float = field(default_factory=time.monotonic)
    told: float = 0.0


def _tell(line: str) -> None:
    """Say something on standard error, where progress goes."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"mailer: {line}\n")


def _answers(path: Path) -> bool:
    """Tell whether a server on the socket at *path* takes connections now.

    Raises Unavailable when it refuses us for good.
    """
    # PostgreSQL's documentation, 54.7: StartupMessage, protocol 3.0
    body = struct.pack("!i", 196608)
    body += f"user\0{postmaster.ROLE}\0database\0{postmaster.DATABASE}\0\0".encode()
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10.0)
        try:
            one.connect(str(path))
            one.sendall(struct.pack("!i", len(body) + 4) + body)
            reply = one.recv(4096)
            if reply[:1] == b"R":
                one.sendall(b"X\0\0\0\x04")
        except (FileNotFoundError, ConnectionError, TimeoutError):
            return False
    if reply[:1] == b"E":
        fields = {
            part[:1]: part[1:].decode(errors="replace")
            for part in reply[5:].split(b"\0")
            if part
        }
        if fields.get(b"C") not in {"57P03", "53300"}:  # cannot connect now; too many
            message = f"the database refuses us: {fields.get(b'M')}"
            raise errors.Unavailable(message)
    return reply[:1] == b"R"
