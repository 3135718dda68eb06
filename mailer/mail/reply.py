"""Read SMTP replies out of a stream of bytes, however it is cut (RFC 5321 §4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from mailer.core.delivery import Reply

# RFC 5321 §4.5.3.1.5 says 512 octets; real policy texts with URLs are longer.
LINE = 4096
# Bounds memory if a server never ends its reply; EHLO of big relays has 20 lines.
LINES = 100

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)")  # RFC 3463
# A reply is shown, logged and stored: no NUL for PostgreSQL, no escapes for terminals.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f]+")


class ProtocolError(Exception):
    """What the server sent is no SMTP reply."""


class Reader:
    """Cuts a stream into replies; keeps what is not yet whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[tuple[int, str]] = []

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Yield the replies that *data* completes; take them all.

        Raises ProtocolError where it is no SMTP, or does not end: what was whole
        before counts.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            reply = self._add(line)
            if reply is not None:
                yield reply
        if len(self._rest) > LINE:
            message = f"a reply line of more than {LINE} octets"
            raise ProtocolError(message)

    def _add(self, line: bytes) -> Reply | None:
        if len(line) > LINE:
            raise _refusal(line)
        code, more, text = _parsed(line)
        if not (more or self._lines):
            return Reply(code=code, text=text)
        self._lines.append((code, text))
        if more:
            if len(self._lines) >= LINES:
                message = f"a reply of more than {LINES} lines"
                raise ProtocolError(message)
            return None
        lines, self._lines = self._lines, []
        code = lines[-1][0]
        if any(other != code for other, _ in lines):
            message = f"a reply of several codes: {lines[0][0]} and {code}"
            raise ProtocolError(message)
        return Reply(code=code, text=_joined([text for _, text in lines]))


@lru_cache(maxsize=256)  # servers say the same to each MAIL, RCPT and DATA
def _parsed(line: bytes) -> tuple[int, bool, str]:
    """Return code, whether more lines follow, and text; ProtocolError if no reply."""
    match = _LINE.fullmatch(line.rstrip(b"\r"))
    if match is None:
        raise _refusal(line)
    return int(match[1]), match[2] == b"-", shown(match[3] or b"")


def _refusal(line: bytes) -> ProtocolError:
    return ProtocolError(f"no SMTP reply: {shown(line[:80])}")


def shown(data: bytes | str) -> str:
    """Return what a server sent as text that is safe to log, show and store."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    if text.isascii() and text.isprintable():
        return text.strip()
    return _HIDDEN.sub(" ", text).strip()


def _joined(lines: list[str]) -> str:
    """Join the lines of a reply; the enhanced status stands once, in front."""
    first = _ENHANCED.match(lines[0])
    if first is not None:
        status = first[0]
        lines = lines[:1] + [
            line[len(status) :].lstrip() if line.startswith(status) else line
            for line in lines[1:]
        ]
    return " ".join(line for line in lines if line)
