"""Write one message as bytes: headers, text and HTML.

RFC 5322 (message), RFC 2045 and 2046 (MIME).  The standard library's writer is ten
times slower, encodes long List-Unsubscribe URIs so that nobody can read them, and
lets a merged value add a header (CVE-2024-6923).  Dots are stuffed by the session.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mailer.mail import header


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """What all messages of a variant share, written once."""

    sender: header.Mailbox
    reply_to: header.Mailbox | None = None
    list_id: tuple[str, str] | None = None  # "Name", "news.example.org"
    feedback_id: str | None = None  # a:b:c:SenderId, nothing of the recipient
    is_bulk: bool = False  # Precedence: bulk
    extra: Sequence[tuple[str, str]] = ()
    fields: tuple[bytes, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        written = [header.mailbox("From", self.sender)]
        if self.reply_to is not None:
            written.append(header.mailbox("Reply-To", self.reply_to))
        if self.list_id is not None:
            written.append(header.list_id(*self.list_id))
        if self.feedback_id is not None:
            written.append(header.feedback_id(self.feedback_id))
        if self.is_bulk:
            written.append(b"Precedence: bulk\r\n")
        written.extend(header.custom(name, value) for name, value in self.extra)
        object.__setattr__(self, "fields", tuple(written))


class Message(NamedTuple):
    """What is one person's: fixed when rendered, the same on each try."""

    id: str  # <b12.34.mac@example.org>
    date: datetime
    to: header.Mailbox
    subject: str
    html: str
    text: str
    is_fit: bool = False  # the HTML may go on the wire as it is: renderer.Rendered
    unsubscribe: str | None = None  # https URL: one click, RFC 8058
    unsubscribe_mailto: str | None = None  # mailto: URI


class Written(NamedTuple):
    """A message as it goes on the wire, in pieces: it is signed, then joined."""

    fields: tuple[bytes, ...]  # of the header, with their ends of line
    body: tuple[bytes, ...]  # ends with CRLF, and not with an empty line
    is_dotless: bool  # no line of it begins with a dot

    @property
    def data(self) -> bytes:
        """Return the whole of it, dots not stuffed."""
        return b"".join((*self.fields, b"\r\n", *self.body))


def build(letterhead: Letterhead, message: Message) -> bytes:
    """Return the message as it goes on the wire, in one piece.  Raises as `write`."""
    return write(letterhead, message).data


def write(letterhead: Letterhead, message: Message) -> Written:
    """Write a message.

    Raises Invalid when an id, address or URI cannot stand in a header; hostile
    text in names and subject is made harmless instead.
    """
    text, is_dotless = _text_part(message.text)
    if message.is_fit:
        html: tuple[bytes, ...] = (
            _7BIT,
            message.html.encode("ascii", "xmlcharrefreplace"),
        )
    else:
        html, has_no_dots = _html_part(message.html)
        is_dotless = is_dotless and has_no_dots
    boundary = _boundary(message.id)
    fields = (
        b"Date: %s\r\n" % header.date(message.date),
        header.message_id(message.id),
        *letterhead.fields,
        header.mailbox("To", message.to),
        header.unstructured("Subject", message.subject),
        *header.list_unsubscribe(message.unsubscribe, message.unsubscribe_mailto),
        b"MIME-Version: 1.0\r\n",
        b'Content-Type: multipart/alternative;\r\n boundary="%s"\r\n' % boundary,
    )
    body = (
        b"--%s\r\nContent-Type: text/plain; charset=utf-8\r\n" % boundary,
        *text,
        b"\r\n--%s\r\nContent-Type: text/html; charset=utf-8\r\n" % boundary,
        *html,
        b"\r\n--%s--\r\n" % boundary,
    )
    return Written(fields, body, is_dotless)


_7BIT = b"Content-Transfer-Encoding: 7bit\r\n\r\n"
_QP = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
_DOTS = re.compile(rb"\r\n\.")  # jumps from CR to CR: twice as fast as `in`


def _plain(data: bytes) -> bytes:
    """End lines with LF, whatever ended them; a NUL may stand nowhere."""
    if b"\0" in data:
        data = data.replace(b"\0", b"")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data


def _is_long(data: bytes) -> bool:
    """Tell whether a line is longer than mail may have: faster than splitting."""
    start = 0
    while len(data) - start > header.LINE:
        end = data.rfind(b"\n", start, start + header.LINE + 1)
        if end < 0:
            return True
        start = end + 1
    return False


Part = tuple[tuple[bytes, ...], bool]  # its pieces, and whether it is dotless


def _text_part(text: str) -> Part:
    data = _plain(text.encode("utf-8", "replace"))
    if text.isascii() and not _is_long(data):
        return _sevenbit(data)
    return _quoted(data)


def _html_part(html: str) -> Part:
    """Make HTML pure ASCII by character references: no transfer encoding needed."""
    data = _plain(html.encode("ascii", "xmlcharrefreplace"))
    if _is_long(data):
        if b"<pre" in data or b"<textarea" in data:  # where a space is no line end
            return _quoted(data)
        wrapped = b"\n".join(
            short for line in data.split(b"\n") for short in _wrap(line)
        )
        if _is_long(wrapped):
            return _quoted(data)  # lossless, for five times the cost
        data = wrapped
    return _sevenbit(data)


def _sevenbit(data: bytes) -> Part:
    """Return *data* with the ends of line that mail has."""
    wire = data.replace(b"\n", b"\r\n")
    return (_7BIT, wire), not (wire.startswith(b".") or _DOTS.search(wire))


def _wrap(line: bytes) -> list[bytes]:
    """Break a long line of HTML at spaces, between attributes where it can be."""
    lines = []
    while len(line) > header.LINE:
        at = line.rfind(b'" ', header.LINE // 2, header.LINE) + 1 or line.rfind(
            b" ", 1, header.LINE + 1
        )
        if at <= 0:
            break
        lines.append(line[:at])
        line = line[at + 1 :]
    lines.append(line)
    return lines


def _quoted(data: bytes) -> Part:
    """Encode as quoted-printable, RFC 2045 §6.7."""
    encoded = binascii.b2a_qp(data, istext=True)
    # It writes a dot that begins a line as it is.
    return (_QP, encoded.replace(b"\n", b"\r\n")), False


def _boundary(id: str) -> bytes:
    """Return the boundary of a message: the same on each try, and not to be guessed.

    The id holds a keyed hash, so that nobody can write a value that has it; and the
    parts need not be searched.
    """
    return b"=_" + hashlib.blake2s(id.encode(), digest_size=12).hexdigest().encode()
