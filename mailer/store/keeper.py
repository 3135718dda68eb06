"""Keep the PostgreSQL server of one folder for as long as anybody uses it.

A process of its own, on the bare standard library, that starts at once and outlives
whoever started it.  Three things say all there is to know, and the kernel withdraws
each of them with its process, however that ended:

- users hold `db.users` shared; who gets it exclusively is alone, and stops the server;
- the keeper holds `db.keeper` exclusively, so there is one, and all can see it;
- the server dies with the keeper (parent-death signal, prctl(2)) where Linux has that.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mailer import errors
from mailer.store import postmaster

TICK = 0.1  # seconds between two looks at the server and its users
PATIENCE = 20.0  # seconds that users have to end after a SIGTERM to the keeper
LOG_LIMIT = 10_000_000  # bytes; a longer log makes room for a new one
DEATHS = 5  # of a server in that many seconds, and it is not started again
DEATHS_WITHIN = 30.0


def locked(path: Path, how: int) -> int | None:
    """Lock the file at *path*, and return its descriptor, or None when taken.

    Closing gives the lock back.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_kept(place: postmaster.Place) -> bool:
    """Tell whether a keeper lives."""
    descriptor = locked(place.keeper, fcntl.LOCK_SH)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def keep(server: postmaster.Server, *, linger: float) -> None:
    """Run the server until nobody has used it for *linger* seconds."""
    path = server.place.users
    users = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    server.owner.take(path)
    ends: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(time.monotonic() + PATIENCE))
    used = time.monotonic()
    while True:
        time.sleep(TICK)
        if not _is_there(path, users):
            server.stop(signal.SIGQUIT)  # the folder was removed under us
            return
        if ends and time.monotonic() > ends[0]:
            server.stop()
            return
        if not server.is_running():
            _restart(server)
        if not _is_alone(users):
            used = time.monotonic()
        elif (ends or time.monotonic() >= used + linger) and _is_alone(
            users, keep=True
        ):
            server.stop()  # the lock is held until this process has ended
            return


def _restart(server: postmaster.Server) -> None:
    """Start a server that was killed; not one that dies again and again."""
    often = len(server.starts) >= DEATHS
    if often and server.starts[0] > time.monotonic() - DEATHS_WITHIN:
        message = f"{server.place.data}: PostgreSQL dies again and again"
        raise errors.Unavailable(message)
    server.start()


def _is_there(path: Path, descriptor: int) -> bool:
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
        with os.fdopen(read, encoding="utf-8") as said:
            sys.exit(said.read().strip() or 0)
    os.close(read)
    place = postmaster.Place(given.folder)
    lock = None
    try:
        lock = _sole(place)
        if lock is not None:
            _serve(place, given, write)
    except (errors.MailerError, OSError, subprocess.SubprocessError) as error:
        # To the starter; to the log when it has been let go.
        with suppress(OSError):
            os.write(write, (_line(error) + "\n").encode())
    if lock is not None and given.temporary:
        shutil.rmtree(place.folder, ignore_errors=True)


def _line(error: Exception) -> str:
    """Return what happened in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error).replace("\n", " ")


def _sole(place: postmaster.Place) -> int | None:
    """Become the one keeper, or return None when another is."""
    for _ in range(20):  # whoever looks for a keeper holds the lock for a moment
        lock = locked(place.keeper, fcntl.LOCK_EX)
        if lock is not None:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())  # for people who look
            return lock
        time.sleep(TICK / 10)
    return None


def _serve(place: postmaster.Place, given: argparse.Namespace, write: int) -> None:
    """Start the server, let the starter go, and keep it."""
    user = postmaster.owner(place)
    with suppress(FileNotFoundError):
        if place.log.stat().st_size > LOG_LIMIT:
            place.log.replace(place.log.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(place.log, flags, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir("/")
    for file in (place.keeper, place.log):
        user.take(file)
    chosen = dict(one.split("=", 1) for one in given.set)
    server = postmaster.Server(
        place=place,
        programs=given.programs,
        owner=user,
        settings=postmaster.SETTINGS | chosen,
    )
    server.prepare()
    server.start()
    os.dup2(2, write, inheritable=False)  # ends the pipe; the log takes what follows
    keep(server, linger=given.linger)


if __name__ == "__main__":
    main()
