"""Write one message as bytes: headers, text and HTML.

RFC 5322 (message), RFC 2045 and 2046 (MIME).  The standard library's writer is ten
times slower, encodes long List-Unsubscribe URIs so that nobody can read them, and
lets a merged value add a header (CVE-2024-6923).  Dots are stuffed by the session.
"""

from __future__ import annotations

import binascii
import hashlib
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
    lines: bytes = field(init=False, repr=False)

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
        object.__setattr__(self, "lines", b"".join(written))


class Message(NamedTuple):
    """What is one person's: fixed when rendered, the same on each try."""

    id: str  # <b12.34.mac@example.org>
    date: datetime
    to: header.Mailbox
    subject: str
    html: str
    text: str
    unsubscribe: str | None = None  # https URL: one click, RFC 8058
    unsubscribe_mailto: str | None = None  # mailto: URI


def build(letterhead: Letterhead, message: Message) -> bytes:
    """Return the message as it goes on the wire, dots not stuffed.

    Raises Invalid when an id, address or URI cannot stand in a header; hostile
    text in names and subject is made harmless instead.
    """
    text, html = _text_part(message.text), _html_part(message.html)
    boundary = _boundary(message.id)
    return b"".join((
        b"Date: ", header.date(message.date), b"\r\n",
        header.message_id(message.id),
        letterhead.lines,
        header.mailbox("To", message.to),
        header.unstructured("Subject", message.subject),
        header.list_unsubscribe(message.unsubscribe, message.unsubscribe_mailto),
        b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary="',
        boundary,
        b'"\r\n\r\n--',
        boundary, b"\r\nContent-Type: text/plain; charset=utf-8\r\n", text,
        b"\r\n--",
        boundary, b"\r\nContent-Type: text/html; charset=utf-8\r\n", html,
        b"\r\n--",
        boundary, b"--\r\n",
    ))  # fmt: skip


_7BIT = b"Content-Transfer-Encoding: 7bit\r\n\r\n"
_QP = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"


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


def _text_part(text: str) -> bytes:
    data = _plain(text.encode("utf-8", "replace"))
    if text.isascii() and not _is_long(data):
        return _7BIT + data.replace(b"\n", b"\r\n")
    return _quoted(data)


def _html_part(html: str) -> bytes:
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
    return _7BIT + data.replace(b"\n", b"\r\n")


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


def _quoted(data: bytes) -> bytes:
    """Encode as quoted-printable, RFC 2045 §6.7."""
    encoded = binascii.b2a_qp(data, istext=True)
    return _QP + encoded.replace(b"\n", b"\r\n")


def _boundary(id: str) -> bytes:
    """Return the boundary of a message: the same on each try, and not to be guessed.

    The id holds a keyed hash, so that nobody can write a value that has it; and the
    parts need not be searched.
    """
    return b"=_" + hashlib.blake2s(id.encode(), digest_size=12).hexdigest().encode()
