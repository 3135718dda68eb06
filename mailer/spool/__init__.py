"""Append-only files that survive a crash: events before their answer, and journals.

A spool is a folder of numbered segments; a record is ``length u32 | CRC32 u32 |
payload``, the checksum covering the length too.  One writer owns a folder, by flock,
for as long as it lives; a folder whose lock is free is what a dead process left behind.
What `write` returned from survives ``kill -9``; what `sync` returned from, a power cut.
"""

from mailer.spool.group import Group
from mailer.spool.segment import (
    MAX_RECORD,
    Position,
    Record,
    leftovers,
    owned,
    remove,
    segments,
)
from mailer.spool.tail import Tail, read
from mailer.spool.writer import Writer, writing

__all__ = [
    "MAX_RECORD",
    "Group",
    "Position",
    "Record",
    "Tail",
    "Writer",
    "leftovers",
    "owned",
    "read",
    "remove",
    "segments",
    "writing",
]
