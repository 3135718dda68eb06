"""Reading a spool, from its beginning or on from a place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mailer.spool import segment
from mailer.spool.segment import HEADER, Position, Record


def read(folder: Path) -> Iterator[Record]:
    """Yield every whole record of a spool that nobody writes any more, in order."""
    tail = Tail(folder, is_finished=True)
    while found := tail.read(1000):
        yield from found


class Tail:
    """A reader that remembers its place, in a spool that may still grow.

    `torn` counts segments whose end was lost, `damaged` those with a fault before
    their end; records after such a fault are still found.
    """

    def __init__(self, folder: Path, *, is_finished: bool = False) -> None:
        self.folder = folder
        self.is_finished = is_finished  # nobody writes: an unfinished end is torn
        self.position = Position()
        self.torn = 0
        self.damaged = 0
        self._kept: set[int] = set()

    def read(self, limit: int) -> list[Record]:
        """Return up to *limit* more records; none when there is nothing new."""
        found: list[Record] = []
        while len(found) < limit:
            numbers = [
                number
                for number, _ in segment.segments(self.folder)
                if number >= self.position.segment
            ]
            if not numbers:
                break
            if numbers[0] > self.position.segment:
                self.position = Position(numbers[0])
            # A segment is complete once a later one exists: seen before it is read.
            is_complete = self.is_finished or len(numbers) > 1
            if not self._take(found, limit, is_complete=is_complete):
                break
        return found

    def forget(self) -> None:
        """Unlink the segments that were read to their end: call it after the commit.

        Damaged ones are kept under another name, for a person to look at.
        """
        for number, path in segment.segments(self.folder):
            if number >= self.position.segment:
                break
            if number in self._kept:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink()

    def _take(self, found: list[Record], limit: int, *, is_complete: bool) -> bool:
        """Read on in the current segment; tell whether it is finished."""
        number = self.position.segment
        with segment.path(self.folder, number).open("rb") as file:
            file.seek(self.position.offset)
            data = file.read()
        at = 0
        while len(found) < limit:
            end = segment.end(data, at)
            if end is None:
                if not is_complete:
                    break
                if at == len(data):
                    self.position = Position(number + 1)
                    return True
                at = self._skip(data, at)
                continue
            place = Position(number, self.position.offset + end)
            found.append(Record(data[at + HEADER.size : end], place))
            at = end
        self.position = Position(number, self.position.offset + at)
        return False

    def _skip(self, data: bytes, at: int) -> int:
        """Count the fault at *at*, and return where the next whole record begins."""
        for start in range(at + 1, len(data) - HEADER.size):
            if segment.end(data, start) is not None:
                self.damaged += 1
                self._kept.add(self.position.segment)
                return start
        self.torn += 1
        return len(data)
