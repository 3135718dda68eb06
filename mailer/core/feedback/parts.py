"""Take a message of a stranger apart, within bounds and without raising.

RFC 5322 (fields), RFC 2045 and 2046 (parts, transfer encodings).  The standard
library's parser loses a base64 delivery-status and nests as deep as it is told.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

SIZE = 1 << 20  # bytes that are looked at; reports come before what they are about
HEAD = 1 << 16  # bytes of fields of one part
FIELDS = 500  # of one part
DEPTH = 8  # of nested parts; a report has 2
PARTS = 50  # of one multipart
TEXT = 1000  # characters of one field that are kept

_TYPE = re.compile(r"\s*([\w.+-]+/[\w.+-]+)")
_PARAMETER = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a message, or the whole of one."""

    fields: tuple[tuple[str, str], ...]  # names in lower case
    body: bytes  # lines end in LF; as it was transferred
    type: str
    parts: tuple[Part, ...] = ()

    def get(self, name: str) -> str:
        """Return the first field *name*, or nothing."""
        return next((value for key, value in self.fields if key == name), "")

    def all(self, name: str) -> Iterator[str]:
        """Yield the fields *name* in their order."""
        return (value for key, value in self.fields if key == name)

    @property
    def content(self) -> bytes:
        """Return the body without its transfer encoding, if that is not broken."""
        encoding = self.get("content-transfer-encoding").strip().lower()
        try:
            if encoding == "base64":
                return lines(binascii.a2b_base64(self.body))
            if encoding == "quoted-printable":
                return lines(binascii.a2b_qp(self.body))
        except binascii.Error:
            pass
        return self.body

    @property
    def text(self) -> str:
        """Return the content as characters."""
        return self.content.decode("utf-8", "replace")

    def walk(self) -> Iterator[Part]:
        """Yield this part and those in it, but none of an attached message."""
        yield self
        for one in self.parts:
            yield from one.walk()


def parse(raw: bytes) -> Part:
    """Take the first `SIZE` bytes of a message apart."""
    data = lines(raw[:SIZE])
    if data.startswith(b"From "):  # the line of an mbox
        data = data.partition(b"\n")[2]
    return _part(data, depth=0)


def lines(data: bytes) -> bytes:
    """Return *data* with every end of a line as LF."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def split(data: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Return the fields that *data* begins with, and what follows them."""
    if data.startswith(b"\n"):
        return (), data[1:]
    head, _, body = data.partition(b"\n\n")
    return fields(head), body


def fields(head: bytes) -> tuple[tuple[str, str], ...]:
    """Read a block of fields, unfolded; what is none is left out."""
    found: list[tuple[str, str]] = []
    text = head[:HEAD].decode("utf-8", "replace")
    for line in text.split("\n"):
        if line[:1] in {" ", "\t"}:
            if found:
                name, value = found[-1]
                if len(value) < HEAD // FIELDS * 100:  # a fold is no way round TEXT
                    found[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon and name and " " not in name.rstrip():
            if len(found) == FIELDS:
                break
            found.append((name.strip().lower(), value.strip()))
    return tuple(found)


def clean(text: str, longest: int = TEXT) -> str:
    """Return a stranger's text as one line without what steers a terminal."""
    return " ".join(_CONTROL.sub(" ", text[: 2 * longest]).split())[:longest]


def parameters(value: str) -> dict[str, str]:
    """Return the parameters of a Content-Type, by their names in lower case."""
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PARAMETER.findall(value[:TEXT])
    }


def _part(data: bytes, *, depth: int) -> Part:
    found, body = split(data)
    kind = next((value for name, value in found if name == "content-type"), "")
    match = _TYPE.match(kind)
    type = match[1].lower() if match else "text/plain"
    parts: tuple[Part, ...] = ()
    if type.startswith("multipart/") and depth < DEPTH:
        boundary = parameters(kind).get("boundary", "")
        if boundary:
            pieces = _pieces(body, boundary.encode("utf-8", "replace"))
            parts = tuple(_part(one, depth=depth + 1) for one in pieces)
    return Part(fields=found, body=body, type=type, parts=parts)


def _pieces(body: bytes, boundary: bytes) -> list[bytes]:
    """Return what stands between the delimiters; the last one may be missing."""
    mark = re.compile(
        rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\n|\Z)", re.MULTILINE
    )
    found: list[bytes] = []
    begin: int | None = None
    for match in mark.finditer(body):
        if begin is not None:
            found.append(body[begin : max(begin, match.start() - 1)])
            begin = None
        if match[1] or len(found) == PARTS:
            break
        begin = match.end()
    if begin is not None:
        found.append(body[begin:])
    return found
