"""What follows for an address when a message to it came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailer.core import event
from mailer.core.delivery import State
from mailer.core.feedback.reading import Action
from mailer.core.feedback.texts import Class
from mailer.core.patience import Patience
from mailer.core.suppression import Reason

HOLD = timedelta(days=90)  # that a mailbox is left alone which could not take mail
LATE = timedelta(days=10)  # servers give up after 5 (RFC 5321 §4.5.4.1)

_TRIED = frozenset({State.SENT, State.IN_DOUBT, State.BOUNCED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What the ledger says of the message that came back."""

    address: str  # normalised
    state: State
    settled_at: datetime | None
    blasts: int  # in which such a thing came back lately, this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """The suppression that follows."""

    reason: Reason
    note: str
    expires_at: datetime | None = None


def follow(
    kind: event.Kind,
    said: Mapping[str, Any],
    *,
    at: datetime,
    about: Delivered,
    patience: Patience,
) -> Consequence | None:
    """Return the suppression that follows from what came back at *at*; None: none.

    Nothing follows for a message that was never sent, nor from a bounce that comes
    long after it, nor when another address than ours refused it: whoever forwards
    their mail is there.
    """
    if about.state not in _TRIED:
        return None
    if kind is event.Kind.COMPLAINT:
        return Consequence(reason=Reason.COMPLAINT, note=_note(said))
    if kind is not event.Kind.BOUNCE or _is_late(at, about):
        return None
    is_ours = said.get("recipient", "").lower() in {"", about.address}
    if said.get("action") == Action.SUPPRESS and is_ours:
        return Consequence(reason=Reason.BOUNCE, note=_note(said))
    is_counted = said.get("action") in {Action.COUNT, Action.SUPPRESS}
    if is_counted and about.blasts >= patience.after:
        return Consequence(
            reason=Reason.BOUNCE,
            note=f"{_note(said)}; in {about.blasts} blasts",
            expires_at=at + HOLD,
        )
    return None


def _is_late(at: datetime, about: Delivered) -> bool:
    return about.settled_at is not None and at - about.settled_at > LATE


def _note(said: Mapping[str, Any]) -> str:
    known = [
        str(said[key]) for key in ("class", "status", "diagnostic") if said.get(key)
    ]
    return " · ".join(known)[:300] or Class.UNKNOWN.value
