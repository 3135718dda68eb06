"""Many who write at once, one write to the disk: in a thread, so that no loop waits.

A write to a disk that is saturated can take seconds; meanwhile the loop answers, and
what arrives is written as one when the disk is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mailer import errors
from mailer.spool.writer import GROUP, Writer

PATIENCE = 1.0  # seconds that what need not be durable waits for a disk that hangs
DURABLE_PATIENCE = 10.0  # seconds; then whoever asked shall ask again
RETRY = 1.0  # seconds between attempts to write again after a disk failed
PACE = 0.005  # seconds between two writes: each costs a change of threads
MOST = 50_000  # records that wait; a disk that hangs must not fill the memory

_Waiter = asyncio.Future[None]


class Group:
    """Writes what is put meanwhile as one; nobody else may use its writer.

    When *durable*, `put` also waits for the disk; else that follows within `GROUP`.
    After a failure it tries again on a new file, but not with each record.
    """

    def __init__(
        self, writer: Writer, *, durable: bool, patience: float | None = None
    ) -> None:
        self.hangs = False  # a write takes longer than anybody waits for
        self._writer = writer
        self._durable = durable
        self._patience = patience or (DURABLE_PATIENCE if durable else PATIENCE)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-write")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="spool-sync")
        self._payloads: list[bytes] = []
        self._waiters: list[_Waiter] = []
        self._is_closed = False
        self._is_begun = False  # a write runs, or will as soon as the loop is idle
        self._is_syncing = False
        self._sync_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._failed_at = self._began = 0.0

    @property
    def failure(self) -> OSError | None:
        """Return why nothing can be written, if so."""
        return self._writer.failure

    def put(self, payload: bytes) -> _Waiter:
        """Return what is done once *payload* was handed to the system, or is on disk.

        It ends with Unavailable when it was not taken; after a while of waiting for a
        disk that hangs, it may still be.
        """
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        if len(self._payloads) >= MOST or (self.hangs and not self._durable):
            waiter.set_exception(self._unavailable())
            return waiter
        self._payloads.append(payload)
        self._waiters.append(waiter)
        if not self._is_begun:
            self._schedule(loop)
        return waiter

    def close(self) -> None:
        """Write what waits, and let go."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        payloads, self._payloads = self._payloads, []
        if payloads:
            self._thread.submit(self._write, payloads)
        self._thread.shutdown(wait=True)
        self._syncer.shutdown(wait=True)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin a write after all that is ready to run now, and not too often."""
        self._is_begun = True
        loop.call_at(self._began + PACE, self._begin)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._payloads:  # written by `close`
            return
        self._began = loop.time()
        payloads, self._payloads = self._payloads, []
        waiters, self._waiters = self._waiters, []
        watch = loop.call_later(self._patience, self._hang, waiters)
        written = loop.run_in_executor(self._thread, self._write, payloads)

        def end(done: asyncio.Future[errors.Unavailable | None]) -> None:
            watch.cancel()
            self.hangs = False
            _tell(waiters, None if done.cancelled() else done.result())
            self._next()

        written.add_done_callback(end)

    def _next(self) -> None:
        """Between two writes: sync what was written, and go on."""
        if self._is_closed:
            return
        if self._durable:
            pass  # synced with each write
        elif self._sync_due and not self._is_syncing:
            self._sync_due = False
            self._sync(self._writer.handover())
        elif self._timer is None and not self._is_syncing:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GROUP, self._is_due)
        self._is_begun = False
        if self._payloads:
            self._schedule(asyncio.get_running_loop())

    def _is_due(self) -> None:
        self._timer = None
        self._sync_due = True
        if not self._is_begun:  # else the end of the write sees to it
            self._next()

    def _sync(self, handed: Callable[[], OSError | None]) -> None:
        self._is_syncing = True
        loop = asyncio.get_running_loop()

        def end(done: asyncio.Future[OSError | None]) -> None:
            self._is_syncing = False
            error = None if done.cancelled() else done.result()
            if error is not None and self._writer.failure is None:
                self._writer.fail(error)

        loop.run_in_executor(self._syncer, handed).add_done_callback(end)

    def _write(self, payloads: list[bytes]) -> errors.Unavailable | None:
        """In the thread: write, and sync when durable; return what went wrong."""
        try:
            if self._writer.failure is not None:
                self._reopen()
            self._writer.write_all(payloads)
            if self._durable:
                error = self._writer.handover()()
                if error is not None:
                    self._writer.fail(error)
                    return self._unavailable()
        except errors.Unavailable as error:
            return error
        return None

    def _reopen(self) -> None:
        if time.monotonic() - self._failed_at < RETRY:
            raise self._unavailable()
        self._failed_at = time.monotonic()
        self._writer.reopen()

    def _hang(self, waiters: list[_Waiter]) -> None:
        """Let nobody wait any longer."""
        self.hangs = True
        _tell(waiters, self._unavailable())
        if not self._durable:
            waiting, self._waiters = self._waiters, []
            _tell(waiting, self._unavailable())

    def _unavailable(self) -> errors.Unavailable:
        failure = self._writer.failure
        said = failure.strerror if failure is not None else "the disk hangs"
        return errors.Unavailable(f"{self._writer.folder}: cannot be written: {said}")


def _tell(waiters: list[_Waiter], error: errors.Unavailable | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue  # gone, or told already
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
