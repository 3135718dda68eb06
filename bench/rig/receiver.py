"""Postfix's smtp-sink: the server that takes what is sent, and counts it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rig import given

TAIL = 100  # bytes of the counters' file that hold the last of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What smtp-sink took: its own counter, and whom each message was for."""

    accepted: int
    recipients: int
    distinct: int


@contextmanager
def sink() -> Iterator[int]:
    """Run smtp-sink on a free port of loopback, and yield the port."""
    with _running([]) as port:
        yield port


class Counter:
    """An smtp-sink that counts.

    ``-c`` prints a counter after each final dot.  ``-D`` appends each message, once it
    is whole, to a file: here a pipe, of which grep keeps the envelopes' recipients.
    """

    def __init__(self, folder: Path) -> None:
        self.counters = folder / "counters"
        self.recipients = folder / "recipients"
        self.pipe = folder / "mail" / "pipe"

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run, and yield the port; `counted` is right once this has ended."""
        self.pipe.parent.mkdir()
        os.mkfifo(self.pipe)
        # smtp-sink runs as nobody, and has a file beside it for each open message.
        self.pipe.parent.chmod(0o777)
        self.pipe.chmod(0o666)
        # Open for both, so that grep sees no end between two messages.
        pipe = os.open(self.pipe, os.O_RDWR)
        try:
            with (
                self.counters.open("wb") as counters,
                self.recipients.open("wb") as recipients,
            ):
                command = ["grep", "-a", "^X-Rcpt-Args:", str(self.pipe)]
                reader = subprocess.Popen(command, stdout=recipients)
                with _running(["-c", "-D", str(self.pipe)], output=counters) as port:
                    yield port
        finally:
            os.close(pipe)
        reader.wait()

    def counted(self) -> Counted:
        """Return what was taken."""
        text = self.counters.read_bytes()[-TAIL:].decode("ascii")
        lines = self.recipients.read_bytes().splitlines()
        return Counted(
            accepted=int(re.findall(r"mesg=(\d+)\r", text)[-1]),
            recipients=len(lines),
            distinct=len(set(lines)),
        )


@contextmanager
def _running(more: list[str], *, output: object = None) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    asked = [given.tool("smtp-sink"), *more]
    if os.getuid() == 0:
        asked += ["-u", "nobody"]
    child = subprocess.Popen([*asked, f"127.0.0.1:{port}", "1000"], stdout=output)  # type: ignore[call-overload]
    try:
        until = time.monotonic() + 10
        while True:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if child.poll() is not None or time.monotonic() > until:
                sys.exit("smtp-sink does not answer")
            time.sleep(0.02)
        yield port
    finally:
        child.terminate()
        child.wait()
