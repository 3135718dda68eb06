"""What is written down of a message that came back."""

from __future__ import annotations

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from mailer.core import event, stray
from mailer.core.event import Event
from mailer.core.feedback import cause
from mailer.core.feedback.identity import Identity
from mailer.core.feedback.reading import Action, Kind, Reading
from mailer.core.stray import Stray

_KINDS = {
    Kind.BOUNCE: event.Kind.BOUNCE,
    Kind.COMPLAINT: event.Kind.COMPLAINT,
    Kind.UNSUBSCRIBE: event.Kind.UNSUBSCRIBE,
}
_KEPT = frozenset({Action.SUPPRESS, Action.COUNT, Action.RECORD, Action.UNSUBSCRIBE})


def as_event(
    reading: Reading,
    identity: Identity | None,
    *,
    raw: bytes,
    to: str,
    at: datetime,
) -> Event | None:
    """Return what is kept of a message that came at *at*; None: nothing is.

    The id is that of the message and not of the way it came: read twice, or from two
    mailboxes, it is one event.  What names nobody that we can be sure of is kept whole,
    for a person to look at.
    """
    if reading.action is Action.IGNORE:
        return None
    kind = _KINDS.get(reading.kind)
    if reading.action in _KEPT and kind is not None and identity is not None:
        name = f"mailer:{kind}:{identity.key}:{reading.report_id}"
        return Event(
            id=uuid5(NAMESPACE_URL, name),
            at=at,
            kind=kind,
            blast=identity.blast,
            subscriber=identity.subscriber,
            seq=identity.seq,
            rules=cause.RULES,
            body=_body(reading, identity),
        )
    kept = Stray(
        why=_why(reading, identity),
        to=event.clean(to, longest=320),
        sender=reading.sender,
        subject=reading.subject,
        raw=raw[: stray.LONGEST],
    )
    return Event(id=kept.id, at=at, kind=event.Kind.BOUNCE, stray=kept)


def _body(reading: Reading, identity: Identity) -> dict[str, str]:
    said = {
        "class": reading.class_,
        "action": reading.action.value,
        "status": reading.status,
        "recipient": reading.recipient,
        "diagnostic": reading.diagnostic,
        "remote": reading.remote,
        "reporter": reading.reporter,
        "by": identity.by,
    }
    return {
        key: event.clean(value, longest=1000) for key, value in said.items() if value
    }


def _why(reading: Reading, identity: Identity | None) -> str:
    if reading.kind is not Kind.UNREADABLE and identity is None:
        what = f"{reading.kind}: nothing says whose message it was"
        return f"{what} ({reading.recipient})" if reading.recipient else what
    return "; ".join(reading.evidence)[:500]
