"""An address, or a whole domain, that must not be mailed, and why.

A stronger reason is never replaced by a weaker one, and what the person said is
lifted only by the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailer import errors
from mailer.core import blast, subscriber


class Reason(StrEnum):
    """Why an address must not be mailed, the strongest first."""

    COMPLAINT = "complaint"  # the person called it spam
    UNSUBSCRIBE = "unsubscribe"  # the person asked
    MANUAL = "manual"  # one of us decided
    BOUNCE = "bounce"  # there is no such mailbox
    IMPORT = "import"  # it stood on a list from elsewhere
    PAUSE = "pause"  # the person wants none for a while

    @property
    def needs_confirmation(self) -> bool:
        """Tell whether only a fresh, confirmed wish of the person lifts it."""
        return self in {Reason.COMPLAINT, Reason.UNSUBSCRIBE}


STRONGEST_FIRST = tuple(Reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One entry of the list."""

    address: str  # normalised, or "@domain"
    topic: str | None  # None: every topic
    reason: Reason
    source: str
    note: str | None
    created_at: datetime
    expires_at: datetime | None


def outranks(new: Reason, old: Reason) -> bool:
    """Tell whether *new* replaces *old*: only the stronger does."""
    return STRONGEST_FIRST.index(new) < STRONGEST_FIRST.index(old)


def topic(text: str) -> str:
    """Return a topic as blasts write theirs.  Raises Invalid: it could never match."""
    if not blast.NAME.fullmatch(text):
        message = (
            f'topic "{text}": use lower-case letters, digits and "-", as blasts do'
        )
        raise errors.Invalid(message)
    return text


def key(text: str) -> str:
    """Return the normalised address or ``@domain`` of what somebody wrote.

    Raises Invalid.
    """
    stripped = text.strip()
    if stripped.startswith("@"):
        return f"@{subscriber.normalise(f'x{stripped}').domain}"
    if "@" not in stripped and "." in stripped:
        message = f"{errors.quote(stripped)}: write ada@example.org or @example.org"
        raise errors.Invalid(message)
    return subscriber.normalise(stripped).address
