"""Write what came back into the spool, before it is answered."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog

from mailer import errors, spool
from mailer.core import event
from mailer.core.event import Event, Kind, Queue

RETRY = 1.0  # seconds between attempts to write again after a disk failed

_log = structlog.get_logger(__name__)


class Inbox:
    """The spools of this process, one for each queue."""

    def __init__(self, writers: dict[Queue, spool.Writer]) -> None:
        self.received: Counter[tuple[Kind, str]] = Counter()
        self.dropped: Counter[Kind] = Counter()
        self._writers = writers
        self._failed_at = dict.fromkeys(Queue, 0.0)

    @property
    def is_writable(self) -> bool:
        """Tell whether the last write of each queue went well."""
        return all(writer.failure is None for writer in self._writers.values())

    async def take(self, one: Event) -> None:
        """Keep *one* so that kill -9 cannot lose it; synced first when it is urgent.

        A click or an open that cannot be written is dropped and counted: its redirect
        goes on.  Raises Unavailable when something urgent cannot be kept.
        """
        queue = one.queue
        writer = self._writers[queue]
        try:
            if writer.failure is not None:
                self._reopen(queue, writer)
            await writer.append(event.encode(one), durable=queue is Queue.URGENT)
        except errors.Unavailable as error:
            self.dropped[one.kind] += 1
            if writer.failure is not None and not self._failed_at[queue]:
                self._failed_at[queue] = time.monotonic()
                _tell_failure(queue, error)
            if queue is Queue.URGENT:
                raise
            return
        self.received[one.kind, one.label.value] += 1

    def _reopen(self, queue: Queue, writer: spool.Writer) -> None:
        """Try again on a new file, but not with each request."""
        if time.monotonic() - self._failed_at[queue] >= RETRY:
            self._failed_at[queue] = time.monotonic()
            writer.reopen()
            self._failed_at[queue] = 0.0
            _log.info("spool works again", queue=queue.value)


def _tell_failure(queue: Queue, error: Exception) -> None:
    with suppress(OSError):  # the log may be on the same full disk
        _log.error("spool failed", queue=queue.value, error=str(error))


@contextmanager
def opened(root: Path) -> Iterator[Inbox]:
    """Open spools of our own under *root*; `recording` finds them there."""
    with ExitStack() as stack:
        yield Inbox({queue: _own(stack, root / queue.value) for queue in Queue})


def _own(stack: ExitStack, root: Path) -> spool.Writer:
    """Begin a spool under *root* that nobody else has."""
    while True:
        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        # A loader that looks for the dead may take it before we do.
        with suppress(errors.Conflict):
            return stack.enter_context(spool.writing(root / name))
