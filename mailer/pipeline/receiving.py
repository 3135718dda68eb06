"""Write what came back into the spool, before it is answered."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog

from mailer import errors, spool
from mailer.core import event
from mailer.core.event import Event, Kind, Queue

_log = structlog.get_logger(__name__)


class Inbox:
    """The spools of this process, one for each queue."""

    def __init__(self, groups: dict[Queue, spool.Group]) -> None:
        self.received: Counter[tuple[Kind, str]] = Counter()
        self.dropped: Counter[Kind] = Counter()
        self._groups = groups
        self._is_failing = dict.fromkeys(Queue, False)

    @property
    def is_writable(self) -> bool:
        """Tell whether the last write of each queue went well."""
        return not any(one.failure or one.hangs for one in self._groups.values())

    async def take(self, one: Event) -> None:
        """Keep *one* so that kill -9 cannot lose it; synced first when it is urgent.

        A click or an open that cannot be written is dropped and counted: its redirect
        goes on, also when the disk hangs.  Raises Unavailable when something urgent
        cannot be kept.
        """
        await self.keep(event.encode(one), one.kind, one.label.value)

    async def keep(self, record: bytes, kind: Kind, label: str) -> None:
        """Keep the *record* of an event, as `take` does."""
        queue = event.queue(kind)
        try:
            await self._groups[queue].put(record)
        except errors.Unavailable as error:
            self.dropped[kind] += 1
            self._tell(queue, error)
            if queue is Queue.URGENT:
                raise
            return
        if self._is_failing[queue]:
            self._is_failing[queue] = False
            _log.info("spool works again", queue=queue.value)
        self.received[kind, label] += 1

    def _tell(self, queue: Queue, error: Exception) -> None:
        """Log a failure once, not with each request."""
        if not self._is_failing[queue]:
            self._is_failing[queue] = True
            with suppress(OSError):  # the log may be on the same full disk
                _log.error("spool failed", queue=queue.value, error=str(error))


@contextmanager
def opened(root: Path) -> Iterator[Inbox]:
    """Open spools of our own under *root*; `recording` finds them there."""
    with ExitStack() as stack:
        yield Inbox({queue: _own(stack, root, queue) for queue in Queue})


def _own(stack: ExitStack, root: Path, queue: Queue) -> spool.Group:
    """Begin a spool under *root* that nobody else has."""
    while True:
        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        # A loader that looks for the dead may take it before we do.
        with suppress(errors.Conflict):
            writer = stack.enter_context(spool.writing(root / queue.value / name))
            group = spool.Group(writer, durable=queue is Queue.URGENT)
            stack.callback(group.close)
            return group
