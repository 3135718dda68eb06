"""A message that nobody could read, kept for a person to look at."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

LONGEST = 256 * 1024  # bytes that are kept; what matters stands at the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """What is kept of a message that needs a person, and why it does."""

    why: str
    to: str
    sender: str
    subject: str
    raw: bytes

    @property
    def id(self) -> UUID:
        """Return its name: that of the same message, however often it comes."""
        digest = hashlib.sha256(self.raw).hexdigest()
        return uuid5(NAMESPACE_URL, f"mailer:stray:{digest}")


def as_json(stray: Stray) -> dict[str, str]:
    """Write *stray* for a record of the spool."""
    return {
        "y": stray.why,
        "t": stray.to,
        "f": stray.sender,
        "s": stray.subject,
        "r": base64.b64encode(stray.raw).decode("ascii"),
    }


def from_json(line: Mapping[str, Any]) -> Stray:
    """Read what `as_json` wrote.  ValueError, KeyError or TypeError when it is none."""
    return Stray(
        why=line["y"],
        to=line["t"],
        sender=line["f"],
        subject=line["s"],
        raw=base64.b64decode(line["r"], validate=True),
    )
