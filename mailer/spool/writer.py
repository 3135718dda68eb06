"""The one that appends to a spool."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from mailer import errors
from mailer.spool import segment
from mailer.spool.segment import MAX_RECORD

SEGMENT_BYTES = 8 << 20
SEGMENT_AGE = 5.0  # seconds; a segment that is read is unlinked soon
GROUP = 0.05  # seconds; what is not durable at once is synced at most so much later


@contextmanager
def writing(
    folder: Path, *, size: int = SEGMENT_BYTES, age: float = SEGMENT_AGE
) -> Iterator[Writer]:
    """Own *folder* and write there, after whatever it holds already.

    Raises Conflict when a living process writes there.
    """
    with segment.owned(folder):
        writer = Writer(folder, size=size, age=age)
        try:
            yield writer
        finally:
            writer.close()


class Writer:
    """The one that appends to a spool.

    After a failed write or sync it refuses everything until `reopen`: a page that
    failed to reach the disk is not believed again.
    """

    def __init__(self, folder: Path, *, size: int, age: float) -> None:
        self.folder = folder
        self.failure: OSError | None = None
        self._size_limit, self._age_limit = size, age
        last = segment.segments(folder)
        self._number = last[-1][0] if last else 0
        self._fd: int | None = None
        self._opened = 0.0
        self._size = 0
        self._old: list[int] = []  # segments that are full but not yet synced
        self._is_new = False  # the folder has an entry that is not yet synced
        self._written = 0  # bytes ever
        self._synced = 0
        self._epoch = 0  # one more at each failure
        self._running: asyncio.Future[OSError | None] | None = None
        self._covers = 0, 0  # what is written, and the epoch, when it began
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    def write(self, payload: bytes) -> None:
        """Hand *payload* to the system.  Raises Unavailable when it was not taken."""
        self.write_all((payload,))

    def write_all(self, payloads: Sequence[bytes]) -> None:
        """Hand *payloads* to the system as one: all are taken, or Unavailable."""
        if self.failure is not None:
            raise self._unavailable(self.failure)
        for payload in payloads:
            if not 0 < len(payload) <= MAX_RECORD:
                raise errors.Invalid(f"{self.folder}: a record of {len(payload)} bytes")
        data = b"".join(map(segment.framed, payloads))
        try:
            fd = self._segment(len(data))
            done = os.write(fd, data)
            while done < len(data):  # a full disk takes a part, then says so
                done += os.write(fd, data[done:])
        except OSError as error:
            self.fail(error)
            raise self._unavailable(error) from error
        self._size += len(data)
        self._written += len(data)

    async def sync(self) -> None:
        """Wait until all that was written is on the disk; waits are shared.

        Raises Unavailable when that cannot be known.
        """
        target, epoch = self._written, self._epoch
        while True:
            # A sync may have ended without its callback yet: waiting for a future
            # that is done does not let the loop run, and so would never end.
            self._settle()
            if self.failure is not None or self._epoch != epoch:
                raise self._unavailable(self.failure)
            if self._synced >= target:
                return
            if self._running is None:
                self._begin()
            if self._running is not None:
                await asyncio.shield(self._running)

    async def append(self, payload: bytes, *, durable: bool) -> None:
        """Write, and wait for the disk when *durable*; else it is synced soon."""
        self.write(payload)
        if durable:
            await self.sync()
        else:
            self.soon()

    def soon(self) -> None:
        """See to it that what was written is synced within `GROUP`."""
        if self._timer is None and self._running is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GROUP, self._begin)

    def handover(self) -> Callable[[], OSError | None]:
        """Return what syncs all that is written so far, in whatever thread.

        Call it while nobody writes; what it returns may run while somebody does.
        """
        old, self._old = self._old, []
        folder = self.folder if self._is_new else None
        self._is_new = False
        return partial(_sync, old, self._fd, folder)

    def reopen(self) -> None:
        """Begin a new segment after a failure; what was not synced stays in doubt.

        Raises Unavailable when it fails again.
        """
        self.failure = None
        self._retire()
        try:
            self._segment(0)
        except OSError as error:
            self.fail(error)
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Sync and let go.  What could not be synced was never said to be durable."""
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=True)
        self._retire()
        with suppress(OSError):
            _sync(self._old, None, self.folder if self._is_new else None)

    def _segment(self, more: int) -> int:
        """Return where to write: this segment, or a new one when it is full or old."""
        if self._fd is not None:
            is_full = self._size > 0 and self._size + more > self._size_limit
            is_old = time.monotonic() - self._opened > self._age_limit
            if not is_full and not (is_old and self._size > 0):
                return self._fd
            self._retire()
        path = segment.path(self.folder, self._number + 1)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._fd = os.open(path, flags, 0o600)
        self._number += 1
        self._size = 0
        self._opened = time.monotonic()
        self._is_new = True
        return self._fd

    def _retire(self) -> None:
        if self._fd is not None:
            self._old.append(self._fd)
            self._fd = None

    def _begin(self) -> None:
        """Start syncing everything written so far, unless that is going on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None or self.failure is not None:
            return
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._thread, self.handover())
        self._covers = self._written, self._epoch
        self._running.add_done_callback(lambda _: self._settle())

    def _settle(self) -> None:
        """Take over what came of a sync that has ended."""
        if self._running is None or not self._running.done():
            return
        error = self._running.result()
        self._running = None
        upto, epoch = self._covers
        if error is not None:
            self.fail(error)
        elif epoch == self._epoch:
            self._synced = upto
            if self._written > upto:
                self.soon()

    def fail(self, error: OSError) -> None:
        """Take nothing more until `reopen`."""
        self.failure = error
        self._epoch += 1
        self._synced = self._written  # nobody waits for these any more
        if self._fd is not None:
            with suppress(OSError):  # the half of a record that fitted
                os.ftruncate(self._fd, self._size)

    def _unavailable(self, error: OSError | None) -> errors.Unavailable:
        reason = error.strerror if error is not None else "a write failed"
        return errors.Unavailable(f"{self.folder}: cannot be written: {reason}")


def _sync(old: list[int], fd: int | None, folder: Path | None) -> OSError | None:
    """Flush segments, close the *old* ones, and the folder's entries if it is given."""
    failure = None
    try:
        for one in old if fd is None else [*old, fd]:
            os.fdatasync(one)
        if folder is not None:
            entry = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(entry)
            finally:
                os.close(entry)
    except OSError as error:
        failure = error
    for one in old:
        with suppress(OSError):
            os.close(one)
    return failure
