"""Whose message came back, said by the address that it came back to.

Each message has a return path of its own (variable envelope return path): the local
part is a token of purpose ``bounce``, in base32 because a local part is at most 64
octets (RFC 5321 §4.5.3.1.1) and servers on the way change its case.  The Message-ID
carries a MAC, for bounces that went to another address of ours.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

from mailer import errors
from mailer.core import tracking
from mailer.core.tracking import Purpose, Ring, Token

PREFIX = "b-"
LOCAL_PART = 64  # octets, RFC 5321 §4.5.3.1.1

_NAME = re.compile(r"b(\d{1,10})\.(\d{1,10})\.([0-9a-f]{12})")


class Named(NamedTuple):
    """A delivery, by its place in the ledger."""

    blast: int
    seq: int


def address(token: str, domain: str) -> str:
    """Return the return path of the message that *token* was sealed for."""
    return f"{PREFIX}{token}@{domain}"


def seal(ring: Ring, token: Token, domain: str) -> str:
    """Return the return path of a message of *token*'s blast to its subscriber."""
    return address(tracking.seal(ring, Purpose.BOUNCE, token), domain)


def unseal(ring: Ring, text: str) -> Token | None:
    """Return for whom a return path, or its local part, was made; None: none of ours.

    In any case of letters, with or without angle brackets.
    """
    local = text.strip().strip("<>").partition("@")[0].lower()
    if not local.startswith(PREFIX) or len(local) > LOCAL_PART:
        return None
    try:
        return tracking.unseal(ring, Purpose.BOUNCE, local.removeprefix(PREFIX))
    except errors.Invalid:
        return None


def name(ring: Ring, blast: int, seq: int | str) -> str:
    """Return the left half of a Message-ID: always the same, and not to be guessed."""
    return f"b{blast}.{seq}.{_mac(ring, f'{blast}.{seq}')}"


def named(ring: Ring, text: str) -> Named | None:
    """Return the delivery that a Message-ID names; None when it is none of ours."""
    local = text.strip().strip("<>").partition("@")[0].lower()
    match = _NAME.fullmatch(local)
    if match is None:
        return None
    expected = _mac(ring, f"{match[1]}.{match[2]}")
    if not hmac.compare_digest(expected, match[3]):
        return None
    return Named(blast=int(match[1]), seq=int(match[2]))


def _mac(ring: Ring, text: str) -> str:
    key = ring.keys[min(ring.keys)]  # the oldest key is never taken out
    mac = hashlib.blake2b(f"message-id {text}".encode(), key=key, digest_size=6)
    return mac.hexdigest()
