"""Formats of bounces from before there was a standard, as flufl.bounce knows them.

It finds addresses and no reason; that is looked for in the text beside them.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from email.policy import compat32

from mailer.core.feedback import parts

_SIZE = 48 * 1024  # bytes, and …
_LINE = 200  # … bytes of a line: its patterns take the square of that, and …
_LINES = 1500  # … lines, each of which may begin a part
_NESTED = 20  # parts within parts: its parser takes the square of that, too
_REFUSED = re.compile(
    r"(?<![\d.])[45]\d\d[ -]|(?<![\d.])#?[45]\.\d{1,3}\.\d{1,3}(?!\d)"
)


def scan(raw: bytes) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the addresses that a message says are refused for now, and for good."""
    from flufl.bounce import all_failures  # 0.1 s, for the few that need it

    kept = raw[:_SIZE]
    if kept.lower().count(b"multipart/") > _NESTED:
        return frozenset(), frozenset()
    lines = parts.lines(kept).split(b"\n")[:_LINES]
    try:
        message = email.message_from_bytes(
            b"\n".join(line[:_LINE] for line in lines), policy=compat32
        )
        if "@" not in message.get("from", ""):  # one of its readers wants one
            del message["from"]
            message["from"] = "nobody@example.invalid"
        later, never = all_failures(message)
    except Exception:  # noqa: BLE001 -- it raises whatever it likes on hostile input
        return frozenset(), frozenset()
    return frozenset(filter(None, later)), frozenset(filter(None, never))


def reason(whole: parts.Part, recipient: str) -> str:
    """Return the paragraph of a bounce that names *recipient* and says why."""
    best = ""
    for text in _texts(whole):
        blocks = re.split(r"\n\s*\n", text[:_SIZE])
        for at, block in enumerate(blocks[:200]):
            if recipient.lower() in block.lower():
                near = parts.clean("\n".join(blocks[at : at + 2]))
                if _REFUSED.search(near):
                    return near
                best = best or near
    return best


def _texts(whole: parts.Part) -> Iterator[str]:
    for one in whole.walk():
        if one.type == "text/plain" and not one.parts:
            yield one.text
