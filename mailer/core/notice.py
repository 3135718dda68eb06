"""What people read about an alarm, and how a webhook's receiver knows that it is ours.

Signatures follow Standard Webhooks 1.0.0, https://www.standardwebhooks.com: HMAC-SHA256
over ``id.timestamp.body``, in three headers, with a secret ``whsec_<base64>``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mailer.core.alarm import Alarm, Event

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)  # what the standard asks of a symmetric secret


@dataclass(frozen=True, slots=True)
class Secret:
    """The key that signs what is posted; its repr shows nothing of it."""

    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read ``whsec_<base64>``, with the prefix or without.  ValueError if not."""
        try:
            key = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) not in SECRET_BYTES:
            message = (
                "no secret of 24 to 64 bytes in base64: make one with "
                "`openssl rand -base64 32`"
            )
            raise ValueError(message)
        return cls(key)


def signed(secret: Secret, *, id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that prove that *body* is ours, and from when it is."""
    timestamp = str(int(at.timestamp()))
    content = f"{id}.{timestamp}.".encode() + body
    mac = hmac.new(secret.key, content, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode('ascii')}",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One notice: the subject and text of a mail, and what a webhook gets."""

    subject: str
    text: str
    payload: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Return the payload as it is posted: always the same bytes."""
        return json.dumps(self.payload, ensure_ascii=False, sort_keys=True).encode()


def words(alarm: Alarm, event: Event, *, whose: str, now: datetime) -> Words:
    """Write what is told of *alarm*; *whose* is the organization."""
    head = _head(alarm, event)
    return Words(
        subject=f"[mailer] {head}",
        text=_text(alarm, event, whose=whose, now=now),
        payload={
            "type": f"alarm.{event}",
            "timestamp": now.isoformat(timespec="seconds"),
            "text": _line(alarm, head, event),
            "data": {
                "organization": whose,
                "id": alarm.id,
                "kind": alarm.kind,
                "severity": alarm.severity,
                "subject": alarm.subject,
                "happened": alarm.happened,
                "detail": alarm.detail,
                "did": alarm.did,
                "cure": alarm.cure,
                "count": alarm.count,
                "first_at": alarm.first_at.isoformat(timespec="seconds"),
                "last_at": alarm.last_at.isoformat(timespec="seconds"),
                "taken_by": alarm.taken_by,
                "note": alarm.note,
                "cleared_why": alarm.cleared_why,
            },
        },
    )


def _head(alarm: Alarm, event: Event) -> str:
    """Return what is read on a locked telephone."""
    loud = alarm.severity.upper()
    match event:
        case Event.RAISED:
            return f"{loud}: {alarm.happened}"
        case Event.REPEATED:
            return f"STILL {loud}: {alarm.happened}"
        case Event.TAKEN:
            return f"{alarm.taken_by} looks after it: {alarm.happened}"
        case Event.CLEARED:
            return f"over: {alarm.subject}: {alarm.cleared_why}"


def _line(alarm: Alarm, head: str, event: Event) -> str:
    """Return the one line that a chat shows."""
    if event in {Event.TAKEN, Event.CLEARED}:
        return head
    return f"{head}. {alarm.detail} → {_take(alarm) or alarm.cure}"


def _take(alarm: Alarm) -> str:
    return f"mailer alarm take {alarm.id}" if alarm.id else ""


def _text(alarm: Alarm, event: Event, *, whose: str, now: datetime) -> str:
    parts = [f"{_sentence(_head(alarm, event))}", alarm.detail]
    if event is Event.CLEARED:
        parts = [_sentence(_head(alarm, event)), f"It was: {alarm.happened}."]
    if event in {Event.RAISED, Event.REPEATED}:
        parts += [f"What mailer did: {alarm.did}", f"What to do: {alarm.cure}"]
    parts.append(_history(alarm, now=now))
    parts.append(_end(alarm, event))
    return "\n\n".join(one for one in parts if one) + f"\n\n-- \nmailer, {whose}\n"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _history(alarm: Alarm, *, now: datetime) -> str:
    first = f"{_moment(alarm.first_at)} ({ago(now - alarm.first_at)})"
    if alarm.count > 1:
        last = _moment(alarm.last_at)
        return f"Seen {alarm.count} times, first at {first}, last at {last}."
    return f"Since {first}."


def _end(alarm: Alarm, event: Event) -> str:
    match event:
        case Event.RAISED | Event.REPEATED if alarm.id:
            return (
                "This is repeated until somebody takes it. On the machine of mailer:"
                f"\n\n    {_take(alarm)} --by YOUR-NAME"
            )
        case Event.TAKEN:
            return f"They say: {alarm.note}" if alarm.note else "It is not repeated."
        case Event.CLEARED if alarm.taken_by:
            return f"{alarm.taken_by} had taken it."
        case _:
            return ""


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def ago(since: timedelta) -> str:
    """Say how long ago something was, as a person would."""
    minutes = int(since.total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return "a minute ago" if minutes == 1 else f"{minutes} minutes ago"
    return f"{minutes // 60} hours ago"
