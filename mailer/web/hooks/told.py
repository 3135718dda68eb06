"""What every relay's words become: a reading, as if it had come by mail."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from mailer import errors
from mailer.core import feedback
from mailer.core.feedback import Action, Carriers, Class, Kind, Reading
from mailer.core.feedback.parts import clean

AGE = timedelta(minutes=5)  # of a signature; whoever tries again signs again


class Refused(Exception):
    """The post is none of the sender's, or too old."""


def demand_fresh(at: datetime, *, now: datetime, age: timedelta = AGE) -> None:
    """Raise Refused when a signature is too old, or of the future."""
    if not -age <= now - at <= age:
        raise Refused("too old")


def same(one: str | bytes, other: str | bytes) -> bool:
    """Compare in constant time."""
    first, second = (
        text.encode("utf-8", "replace") if isinstance(text, str) else text
        for text in (one, other)
    )
    return hmac.compare_digest(first, second)


def parse(body: bytes) -> Any:
    """Read JSON.  Raises Invalid when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise errors.Invalid("the body is no JSON") from error


def table(said: Any, key: str) -> Mapping[str, Any]:
    """Return the object at *key*, or an empty one."""
    found = said.get(key) if isinstance(said, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def text(said: Any, key: str) -> str:
    """Return the text or number at *key* on one line, or nothing."""
    found = said.get(key) if isinstance(said, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    return clean(str(found))


def bounce(
    *, status: str, said: str, otherwise: Class, recipient: str, id: str,
    carriers: Carriers, evidence: str,
) -> Reading:  # fmt: skip
    """Return the reading of a refusal for good.

    What the server wrote decides; where that says nothing, the relay's own word.
    """
    known = feedback.classify(status or "5.0.0", said)
    kind = otherwise if known.kind is Class.UNKNOWN else known.kind
    because = evidence if known.kind is Class.UNKNOWN else known.evidence
    action = Action.RECORD
    if kind.suppresses:
        action = Action.SUPPRESS
    elif kind.is_counted:
        action = Action.COUNT
    return Reading(
        kind=Kind.BOUNCE,
        class_=kind,
        action=action,
        status=status,
        recipient=recipient,
        diagnostic=said,
        evidence=(evidence, because),
        report_id=id,
        carriers=carriers,
    )


def other(
    kind: Kind, *, recipient: str, id: str, carriers: Carriers, evidence: str
) -> Reading:
    """Return the reading of what is no bounce."""
    action = {
        Kind.COMPLAINT: Action.SUPPRESS,
        Kind.UNSUBSCRIBE: Action.UNSUBSCRIBE,
    }.get(kind, Action.IGNORE)
    return Reading(
        kind=kind,
        action=action,
        recipient=recipient,
        evidence=(evidence,),
        report_id=id,
        carriers=carriers,
    )
