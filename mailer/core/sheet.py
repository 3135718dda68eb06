"""CSV files of strangers, read with limits, and of ours, written without formulas.

RFC 4180, in Python's strict dialect.  Cells are made harmless for spreadsheets as
OWASP ASVS 5.0 1.2.10 asks.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from mailer import errors
from mailer.errors import Problem

ENCODINGS = ("utf-8", "utf-8-sig", "cp1252")
DELIMITERS = ",;\t|"

# csv stops only at 131,072 characters a field, after it has buffered the line.
MAX_LINE = 65_536  # bytes
MAX_RECORD = 131_072  # bytes, of the lines that quotes join to one row
MAX_COLUMNS = 256

UNCLOSED = "a quote that this row opens is not closed"

_FORMULA = re.compile(r"[=+\-@\t\r\0]")  # ASVS 5.0 1.2.10; CR is ours
_NOT_HARMLESS = re.compile(r"'(?=[=+\-@\t\r\0])")


def harmless(value: str) -> str:
    """Return *value* as a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if _FORMULA.match(value) else value


def plain(cell: str) -> str:
    """Undo `harmless`: what we wrote into an export comes back as it was."""
    return _NOT_HARMLESS.sub("", cell, count=1) if cell.startswith("'") else cell


def label(file: object) -> str:
    """Return the name of a file as text: U+FFFD for bytes of it that are not UTF-8.

    Such a name holds lone surrogates (PEP 383), which no database and no JSON takes.
    """
    return str(file).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def line(values: Iterable[object]) -> str:
    """Write one CSV line, every cell quoted and harmless, None as an empty cell."""
    cells = ("" if value is None else harmless(str(value)) for value in values)
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that was not used: the value to look at, and why."""

    line: int
    value: str
    reason: str


class Refusals:
    """The refused rows of one file, in a file that is made with the first of them."""

    def __init__(self, create: Callable[[], TextIO]) -> None:
        self._create = create
        self._file: TextIO | None = None

    @property
    def any(self) -> bool:
        """Tell whether a row was refused."""
        return self._file is not None

    def write(self, refusals: Iterable[Refusal]) -> None:
        """Add rows, and hand them to the system."""
        for refusal in refusals:
            if self._file is None:
                self._file = self._create()
                self._file.write(line(("line", "value", "reason")))
            self._file.write(line((refusal.line, refusal.value, refusal.reason)))
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def check(read: Callable[[int], bytes], *, file: str, encoding: str) -> None:
    """Decode the whole file once, in pieces, before a row of it is used.

    Raises Invalid with the line that is not in *encoding*.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    while True:
        piece = read(1 << 20)
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            number = lines + error.object[: error.start].count(b"\n")
            raise _undecodable(file, number, encoding, error) from error
        if not piece:
            return
        # A piece may end inside a character, never inside a newline.
        lines += piece.count(b"\n")


def _undecodable(
    file: str, number: int, encoding: str, error: UnicodeDecodeError
) -> errors.Invalid:
    """Say which byte is wrong, and which encoding would probably be right."""
    message = f"byte 0x{error.object[error.start]:02x} is not {encoding}: "
    if b"\0" in error.object[:100]:
        message += "save the file as CSV UTF-8"
    elif encoding == "cp1252":
        message += "save the file as CSV UTF-8, and leave out --encoding"
    else:
        message += "save the file as CSV UTF-8, or say --encoding cp1252"
    return errors.Invalid(Problem(file=file, line=number, message=message))


def records(
    readline: Callable[[int], bytes], *, file: str, encoding: str = "utf-8"
) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line that it begins on.

    The header comes first.  Bounded memory whatever comes.  Raises Invalid, with
    the line, where the file is no CSV: a quote that is never closed among others.
    """
    reader = _Lines(readline, file=file, encoding=encoding)
    first = reader.first()
    rows = csv.reader(reader.each(first), delimiter=_delimiter(first), strict=True)
    while True:
        start = reader.begin()
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise errors.Invalid(
                Problem(file=file, line=start, message=_fault(error))
            ) from error
        if row is None:
            return
        if len(row) > MAX_COLUMNS:
            message = f"{len(row)} cells: at most {MAX_COLUMNS} are read"
            raise errors.Invalid(Problem(file=file, line=start, message=message))
        if row:
            yield start, row


def _fault(error: csv.Error) -> str:
    """Put the parser's words into ours."""
    if "unexpected end of data" in str(error) or "field limit" in str(error):
        return UNCLOSED
    return f"this row is not CSV: {error}"


def _delimiter(header: str) -> str:
    """Return what the header is cut by most often."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)


class _Lines:
    """The lines of a file, counted, with their limits."""

    def __init__(
        self, readline: Callable[[int], bytes], *, file: str, encoding: str
    ) -> None:
        self.readline = readline
        self.file = file
        self.encoding = encoding.removesuffix("-sig")
        self.number = 0  # of the last line read
        self.size = 0  # bytes since the current row began
        self.start = 1  # the line on which the current row began
        self.ahead = False  # a line was read that the parser has not seen

    def first(self) -> str:
        """Return the header's first line, for a look at its delimiters."""
        text = self._decoded(self._next())
        self.ahead = True
        return text.removeprefix("\ufeff")

    def begin(self) -> int:
        """Begin a row, and return the line that it will begin on."""
        if not self.ahead:
            self.start = self.number + 1
            self.size = 0
        self.ahead = False
        return self.start

    def each(self, first: str) -> Iterator[str]:
        """Yield *first* and every line after it."""
        if first:
            yield first
        while raw := self._next():
            yield self._decoded(raw)

    def _next(self) -> bytes:
        raw = self.readline(MAX_LINE + 1)
        if raw:
            self.number += 1
        self.size += len(raw)
        if len(raw) > MAX_LINE:
            message = f"the line is longer than {MAX_LINE:,} bytes"
            raise errors.Invalid(
                Problem(file=self.file, line=self.number, message=message)
            )
        if self.size > MAX_RECORD:
            raise errors.Invalid(
                Problem(file=self.file, line=self.start, message=UNCLOSED)
            )
        return raw

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise _undecodable(self.file, self.number, self.encoding, error) from error
