"""The worker's diary: what was started, what was answered, before the ledger knows.

``S`` is written before a body whose dot may follow, ``R`` when its reply was seen,
``N`` when it is known that it was not taken and costs no attempt: it is owed still.
After a crash an ``R`` is settled, an ``S`` without either is in doubt (RFC 1047).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from mailer.core.delivery import BlastId, State
from mailer.store.deliveries import Result

_STARTED = struct.Struct(">cQIHd")  # kind, blast, seq, attempts after it, time
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
    head = _ENDED.pack(
        b"R",
        record.blast,
        result.seq,
        result.attempts,
        result.at.timestamp(),
        _STATES.index(result.state),
        result.code or 0,
    )
    return head + (result.reply or "").encode("utf-8", "replace")


def read(record: bytes) -> Started | Untaken | Ended:
    """Return what a record says.  ValueError when it is none of ours."""
    if record[:1] in {b"S", b"N"} and len(record) == _STARTED.size:
        kind, blast, seq, attempts, at = _STARTED.unpack(record)
        if kind == b"N":
            return Untaken(BlastId(blast), seq, attempts)
        return Started(BlastId(blast), seq, attempts, datetime.fromtimestamp(at, UTC))
    if record[:1] == b"R" and len(record) >= _ENDED.size:
        _, blast, seq, attempts, at, state, code = _ENDED.unpack_from(record)
        reply = record[_ENDED.size :].decode("utf-8", "replace")
        result = Result(
            seq=seq,
            state=_STATES[state],
            attempts=attempts,
            at=datetime.fromtimestamp(at, UTC),
            code=code or None,
            reply=reply or None,
        )
        return Ended(BlastId(blast), result)
    message = f"no journal record: {record[:16]!r}"
    raise ValueError(message)


def replay(records: Iterable[bytes]) -> list[Ended]:
    """Return what the ledger must learn from a journal: each ``R``, and each doubt.

    Any prefix of a journal may be replayed, any number of times: the ledger takes
    over what it waits for and nothing else.
    """
    ended: list[Ended] = []
    started: dict[tuple[BlastId, int, int], Started] = {}
    for raw in records:
        record = read(raw)
        match record:
            case Started():
                started[record.blast, record.seq, record.attempts] = record
            case Untaken():
                started.pop((record.blast, record.seq, record.attempts), None)
            case Ended():
                ended.append(record)
                started.pop(
                    (record.blast, record.result.seq, record.result.attempts), None
                )
    for one in started.values():
        doubt = Result(
            seq=one.seq,
            state=State.IN_DOUBT,
            attempts=one.attempts,
            at=one.at,
            reply="the worker died before it saw a reply",
        )
        ended.append(Ended(one.blast, doubt))
    return ended
