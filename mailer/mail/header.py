"""Write header fields as bytes: RFC 5322, 2047, 2369, 2919 and 8058.

A merged value may hold anything: control characters become spaces, what a reader
would take for an encoded word is encoded, and no value can add a field.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from mailer import errors

LINE = 998  # RFC 5322 §2.1.1: octets of a line, without CRLF
SOFT = 78  # RFC 5322 §2.1.1: what a line should not exceed
WORD = 75  # RFC 2047 §2: characters of an encoded word
ADDRESS = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
ID = 77  # of a Message-ID; longer ones get folded and mangled on the way

ONE_CLICK = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"  # RFC 8058

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 §2.2
_ATOMS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)
_ATOM = r'[^\s\x00-\x20\x7f-\x9f()<>\[\]:;@\\,".]+'
_HOST = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[A-Za-z0-9.:]+\]"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_HOST})")
_MAILBOX = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<>"]*?))\s*<([^<>]+)>\s*')
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[!#-;=?-~]+", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_Q_SAFE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)

# What we write ourselves, what the way adds, and what must never be in a message.
MANAGED = frozenset({
    "bcc", "cc", "date", "dkim-signature", "feedback-id", "from", "message-id",
    "mime-version", "precedence", "received", "reply-to", "return-path", "sender",
    "subject", "to",
})  # fmt: skip
MANAGED_PREFIXES = ("arc-", "authentication-", "content-", "list-", "resent-")


def clean(text: str) -> str:
    """Return *text* with each run of control characters made one space."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(" ", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """An address with the name that people see."""

    address: str
    name: str = ""

    def __post_init__(self) -> None:
        if _ADDRESS.fullmatch(self.address) is None or len(self.address) > ADDRESS:
            message = f'"{clean(self.address)[:ADDRESS]}" is no address'
            raise errors.Invalid(message)

    @classmethod
    def parse(cls, text: str) -> Mailbox:
        """Read ``Name <name@example.org>`` or a bare address.  Raises Invalid."""
        match = _MAILBOX.fullmatch(text)
        if match is None:
            return cls(address=text.strip())
        name = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
        return cls(address=match[3].strip(), name=name)


def unstructured(name: str, value: str) -> bytes:
    """Write a header of free text: as it is, folded at spaces, or encoded."""
    value = clean(value)
    if _may_stay(value):
        if len(name) + 2 + len(value) <= SOFT:
            return f"{name}: {value}\r\n".encode("ascii")
        words = re.findall(" *[^ ]+", value)  # each with the spaces before it
        if max(map(len, words)) <= SOFT - len(name) - 2:
            return _folded(name, words)
    return f"{name}: {_encoded(value, len(name) + 2)}\r\n".encode("ascii")


def mailbox(name: str, who: Mailbox) -> bytes:
    """Write a header that names one mailbox, its display name quoted or encoded."""
    address = who.address.encode("utf-8")  # ASCII but for SMTPUTF8, RFC 6532
    shown = " ".join(clean(who.name).split())
    if not shown:
        return b"%s: %s\r\n" % (name.encode("ascii"), address)
    if shown.isascii() and "=?" not in shown and len(shown) < SOFT - len(name) - 4:
        phrase = shown
        if _ATOMS.fullmatch(shown) is None:
            phrase = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        phrase = _encoded(shown, len(name) + 2)
    last = len(phrase) - phrase.rfind("\n") + len(address) + 3
    space = b" " if last + len(name) + 2 <= SOFT else b"\r\n "
    return b"%s: %s%s<%s>\r\n" % (
        name.encode("ascii"), phrase.encode("ascii"), space, address,
    )  # fmt: skip


def custom(name: str, value: str) -> bytes:
    """Write a header that a user has thought of.  Raises Invalid for one of ours."""
    lower = name.lower()
    if _NAME.fullmatch(name) is None or len(name) > SOFT - 8:
        message = f'"{clean(name)}" is no header name: letters, digits and "-"'
        raise errors.Invalid(message)
    if lower in MANAGED or lower.startswith(MANAGED_PREFIXES):
        message = f'header "{name}" is written by mailer or by the way: leave it out'
        raise errors.Invalid(message)
    return unstructured(name, value)


def _may_stay(value: str) -> bool:
    """Tell whether a reader gets *value* back without any encoding."""
    return (
        value.isascii()
        and "=?" not in value  # else it would be read as an encoded word
        and value == value.strip(" ")
    )


def _folded(name: str, words: list[str]) -> bytes:
    """Break a field before words, so that no line is longer than need be."""
    lines = [f"{name}: "]
    for word in words:
        if len(lines[-1]) + len(word) > SOFT:
            lines.append("")
        lines[-1] += word
    return "\r\n".join(lines).encode("ascii") + b"\r\n"


def _encoded(value: str, used: int) -> str:
    """Write *value* as RFC 2047 words; the first line has *used* columns taken.

    A word holds whole characters; base64 or the Q encoding, whichever is shorter.
    """
    data = value.encode("utf-8", "replace")
    plain = sum(map(_Q_SAFE.__contains__, data)) + data.count(b" ")
    is_q = plain + 3 * (len(data) - plain) <= (len(data) + 2) // 3 * 4
    words: list[str] = []
    start = 0
    while start < len(data):
        room = (WORD if words else min(WORD, SOFT - 2 - used)) - len("=?utf-8?q??=")
        end = _q_end(data, start, room) if is_q else start + room // 4 * 3
        if end < len(data):
            while end > start and data[end] & 0xC0 == 0x80:  # inside a character
                end -= 1
        piece = data[start:end]
        words.append(_q_word(piece) if is_q else _b_word(piece))
        start = end
    return "\r\n ".join(words)


def _q_end(data: bytes, start: int, room: int) -> int:
    """Return where the piece ends whose Q encoding fits into *room*."""
    end = start
    while end < len(data):
        room -= 1 if data[end] in _Q_SAFE or data[end] == 0x20 else 3
        if room < 0:
            break
        end += 1
    return end


def _q_word(piece: bytes) -> str:
    """Write a word in Q, with only what may stand in a phrase (RFC 2047 §5.3)."""
    text = "".join(
        chr(octet) if octet in _Q_SAFE else "_" if octet == 0x20 else f"={octet:02X}"
        for octet in piece
    )
    return f"=?utf-8?q?{text}?="


def _b_word(piece: bytes) -> str:
    """Write a word in base64."""
    return f"=?utf-8?b?{binascii.b2a_base64(piece, newline=False).decode('ascii')}?="


def date(at: datetime) -> bytes:
    """Write an instant as RFC 5322 §3.3 wants it, in UTC."""
    return _date(at.replace(microsecond=0))


@lru_cache(maxsize=1024)
def _date(second: datetime) -> bytes:
    """Write a whole second: thousands of messages share one."""
    return format_datetime(second.astimezone(UTC)).encode("ascii")


def message_id(given: str) -> bytes:
    """Write the id by which a message is known for good.  Raises Invalid."""
    if len(given) > ID or _MESSAGE_ID.fullmatch(given) is None:
        message = f'"{clean(given)}" is no Message-ID of at most {ID} characters'
        raise errors.Invalid(message)
    return f"Message-ID: {given}\r\n".encode("ascii")


def list_id(name: str, host: str) -> bytes:
    """Write RFC 2919's List-Id, which must stay the same from blast to blast."""
    if re.fullmatch(r"[A-Za-z0-9.-]{1,255}", host) is None:
        message = f'"{clean(host)}" is no List-Id: write it like "news.example.org"'
        raise errors.Invalid(message)
    at = Mailbox(address=f"list@{host}", name=name)
    return mailbox("List-Id", at).replace(b"list@", b"", 1) if name else (
        f"List-Id: <{host}>\r\n".encode("ascii")
    )  # fmt: skip


def feedback_id(given: str) -> bytes:
    """Write Google's Feedback-ID: three fields of ours, then 5 to 15 characters."""
    if re.fullmatch(r"[\w.-]*:[\w.-]*:[\w.-]*:[\w.-]{5,15}", given, re.ASCII) is None:
        message = (
            f'"{clean(given)}" is no Feedback-ID: write "a:b:c:sender", sender 5-15'
        )
        raise errors.Invalid(message)
    return f"Feedback-ID: {given}\r\n".encode("ascii")


def list_unsubscribe(url: str | None, mailto: str | None) -> tuple[bytes, ...]:
    """Write RFC 2369's field, never folded inside a URI, and RFC 8058's beside it."""
    uris = [uri for uri in (url, mailto) if uri]
    for uri in uris:
        if len(uri) > LINE - 20 or _URI.fullmatch(uri) is None:
            message = f'"{clean(uri)[:100]}" cannot stand in List-Unsubscribe'
            raise errors.Invalid(message)
    if not uris:
        return ()
    line = "List-Unsubscribe: " + ",\r\n ".join(f"<{uri}>" for uri in uris) + "\r\n"
    if url and url.startswith("https://"):  # RFC 8058 §3.1: HTTPS only
        return line.encode("ascii"), ONE_CLICK
    return (line.encode("ascii"),)
