"""The worker's diary: what was started, what was answered, before the ledger knows.

``S`` is written before a body whose dot may follow, ``R`` when its reply was seen
(``D`` when it was a deferral, with the time of the next try), ``N`` when it is known
that it was not taken and costs no attempt: it is owed still.  ``B`` begins a journal
and says in which life of the machine it was written.
After a crash an ``R`` is settled, an ``S`` without either is in doubt (RFC 1047).

A process that is killed loses nothing that it wrote.  A machine that loses power
loses what was not synced, up to a tenth of a second: so after a start of the machine
all that `started_through` allowed and the journal does not know is in doubt.  That
costs the sending nothing; syncing each ``S`` before its body would cost every
message a wait for the disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, assert_never

from mailer.core.delivery import BlastId, State
from mailer.store.deliveries import Result

_STARTED = struct.Struct(">cQIHd")  # kind, blast, seq, attempts after it, time
_DEFERRED = struct.Struct(">cQIHdBHd")  # … and when it is tried again
_ENDED = struct.Struct(">cQIHdBH")  # … state, code; then the reply
_STATES = tuple(State)


class Started(NamedTuple):
    """A message whose dot may have left us."""

    blast: BlastId
    seq: int
    attempts: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Untaken:
    """A message that was started, and nobody took: throttled, or cut off before."""

    blast: BlastId
    seq: int
    attempts: int


class Ended(NamedTuple):
    """A message of which we know what became."""

    blast: BlastId
    result: Result
    retry_at: datetime | None = None  # of a deferral


@dataclass(frozen=True, slots=True)
class Opened:
    """The beginning of a journal."""

    boot: str


def boot() -> str:
    """Return what is different after each start of the machine; else nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def write_opened(record: Opened) -> bytes:
    """Return *record* as bytes."""
    return b"B" + record.boot.encode()


def write_started(record: Started) -> bytes:
    """Return *record* as bytes."""
    return _pack(b"S", record)


def write_untaken(started: Started) -> bytes:
    """Return as bytes that nobody took what was *started*."""
    return _pack(b"N", started)


def _pack(kind: bytes, one: Started) -> bytes:
    return _STARTED.pack(kind, one.blast, one.seq, one.attempts, one.at.timestamp())


def write_ended(record: Ended) -> bytes:
    """Return *record* as bytes."""
    result = record.result
    fields = (
        record.blast,
        result.seq,
        result.attempts,
        result.at.timestamp(),
        _STATES.index(result.state),
        result.code or 0,
    )
    if record.retry_at is None:
        head = _ENDED.pack(b"R", *fields)
    else:
        head = _DEFERRED.pack(b"D", *fields, record.retry_at.timestamp())
    return head + (result.reply or "").encode("utf-8", "replace")


def read(record: bytes) -> Opened | Started | Untaken | Ended:
    """Return what a record says.  ValueError when it is none of ours."""
    kind = record[:1]
    if kind == b"B":
        return Opened(record[1:].decode("utf-8", "replace"))
    if kind in {b"S", b"N"} and len(record) == _STARTED.size:
        _, blast, seq, attempts, at = _STARTED.unpack(record)
        if kind == b"N":
            return Untaken(BlastId(blast), seq, attempts)
        return Started(BlastId(blast), seq, attempts, datetime.fromtimestamp(at, UTC))
    shape = {b"R": _ENDED, b"D": _DEFERRED}.get(kind)
    if shape is None or len(record) < shape.size:
        message = f"no journal record: {record[:16]!r}"
        raise ValueError(message)
    _, blast, seq, attempts, at, state, code, *retry = shape.unpack_from(record)
    reply = record[shape.size :].decode("utf-8", "replace")
    result = Result(
        seq=seq,
        state=_STATES[state],
        attempts=attempts,
        at=datetime.fromtimestamp(at, UTC),
        code=code or None,
        reply=reply or None,
    )
    retry_at = datetime.fromtimestamp(retry[0], UTC) if retry else None
    return Ended(BlastId(blast), result, retry_at)


class Account:
    """What the ledger must learn from a journal, read record by record."""

    def __init__(self) -> None:
        self.boot: str | None = None  # of the machine, where the journal says it
        self.records = 0  # about messages
        self._started: dict[tuple[BlastId, int, int], Started] = {}

    def take(self, raw: bytes) -> Ended | None:
        """Read on; return what became of a message when this record says it."""
        record = read(raw)
        match record:
            case Opened():
                self.boot = record.boot
                return None
            case Started():
                self._started[record.blast, record.seq, record.attempts] = record
            case Untaken():
                self._started.pop((record.blast, record.seq, record.attempts), None)
            case Ended():
                key = record.blast, record.result.seq, record.result.attempts
                self._started.pop(key, None)
            case _:
                assert_never(record)
        self.records += 1
        return record if isinstance(record, Ended) else None

    def doubts(self) -> list[Ended]:
        """Return what was started and has no end, once all is read."""
        return [
            Ended(
                one.blast,
                Result(
                    seq=one.seq,
                    state=State.IN_DOUBT,
                    attempts=one.attempts,
                    at=one.at,
                    reply="the worker died before it saw a reply",
                ),
            )
            for one in self._started.values()
        ]


def replay(records: Iterable[bytes]) -> list[Ended]:
    """Return what the ledger must learn from a journal: each ``R``, and each doubt.

    Any prefix of a journal may be replayed, any number of times: the ledger takes
    over what it waits for and nothing else.
    """
    account = Account()
    ended = [one for raw in records if (one := account.take(raw)) is not None]
    return ended + account.doubts()
