"""A part of all addresses, the same ones each time."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Share:
    """A part of all addresses, 0 to 1."""

    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``"2.5%"``.  ValueError if it is no share."""
        match = _PERCENT.fullmatch(text.strip())
        if match is None or float(match[1]) > 100:
            message = f'"{text}" is no share: write "0%" to "100%"'
            raise ValueError(message)
        return cls(float(match[1]) / 100)

    def has(self, address: str, trait: str) -> bool:
        """Tell whether *address* is in the share of those with *trait*."""
        if not self.value:
            return False
        digest = hashlib.blake2b(f"{trait} {address}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.value * 2**64
