"""Events of Mailgun, signed by HMAC-SHA256.

documentation.mailgun.com/docs/mailgun/user-manual/webhooks: what is said, and "Securing
Webhooks": who says it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mailer.core.feedback import Carriers, Class, Kind, Reading
from mailer.web.hooks import told
from mailer.web.hooks.told import Refused

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def verify(said: Any, key: str, *, now: datetime) -> None:
    """Raise Refused unless Mailgun signed this, of late."""
    proof = told.table(said, "signature")
    stamp, token = told.text(proof, "timestamp"), told.text(proof, "token")
    expected = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256)
    if not token or not told.same(expected.hexdigest(), told.text(proof, "signature")):
        raise Refused("the signature is not Mailgun's")
    try:
        at = datetime.fromtimestamp(int(stamp), tz=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused("no time") from error
    told.demand_fresh(at, now=now)


def read(said: Any) -> list[Reading]:
    """Return what an event says, if it is about us.

    Mailgun signs a time and a token, and not what is said: the event's own id and our
    token in the envelope are what count.
    """
    event = told.table(said, "event-data")
    kind = told.text(event, "event")
    headers = told.table(told.table(event, "message"), "headers")
    carriers = Carriers(
        paths=(told.text(told.table(event, "envelope"), "sender"),),
        message_ids=(told.text(headers, "message-id"),),
    )
    recipient, id = told.text(event, "recipient"), f"mailgun:{told.text(event, 'id')}"
    if kind == "failed":
        return [_failed(event, recipient=recipient, id=id, carriers=carriers)]
    meant = {"complained": Kind.COMPLAINT, "unsubscribed": Kind.UNSUBSCRIBE}.get(kind)
    if meant is None:
        return []
    return [
        told.other(
            meant,
            recipient=recipient,
            id=id,
            carriers=carriers,
            evidence=f"Mailgun says {kind}",
        )
    ]


def _failed(
    event: Mapping[str, Any], *, recipient: str, id: str, carriers: Carriers
) -> Reading:
    severity, reason = told.text(event, "severity"), told.text(event, "reason")
    evidence = f"Mailgun says failed ({severity}, {reason})"
    if severity != "permanent":
        return told.other(
            Kind.DELAY,
            recipient=recipient,
            id=id,
            carriers=carriers,
            evidence=evidence,
        )
    delivery = told.table(event, "delivery-status")
    said = f"{told.text(delivery, 'message')} {told.text(delivery, 'description')}"
    status = _STATUS.search(f"{told.text(delivery, 'enhanced-code')} {said}")
    code = told.text(delivery, "code")
    return told.bounce(
        status=status[0] if status else "",
        said=f"{code} {said}".strip(),
        otherwise=Class.UNKNOWN,
        recipient=recipient,
        id=id,
        carriers=carriers,
        evidence=evidence,
    )
