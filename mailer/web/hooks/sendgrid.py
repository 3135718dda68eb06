"""Events of SendGrid, signed by ECDSA.

www.twilio.com/docs/sendgrid/for-developers/tracking-events/event (what is said) and
…/getting-started-event-webhook-security-features (who says it).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailer import errors
from mailer.core.feedback import Carriers, Class, Kind, Reading
from mailer.web.hooks import told
from mailer.web.hooks.told import Refused

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
MOST = 2000  # events of one post

# bounce_classification -> class, where the server's own words say nothing.
_CLASSES = {
    "Invalid Address": Class.BAD_ADDRESS,
    "Mailbox Unavailable": Class.FULL,  # full, or gone for a while
    "Reputation": Class.SPAM,
    "Content": Class.CONTENT,
    "Technical": Class.TRANSIENT,
    "Frequency or Volume Too High": Class.POLICY,
}


def verify(
    body: bytes, headers: Mapping[str, str], key: bytes, *, now: datetime
) -> None:
    """Raise Refused unless SendGrid signed *body*, of late."""
    stamp = headers.get(TIMESTAMP, "")
    try:
        public = serialization.load_der_public_key(key)
        signature = base64.b64decode(headers.get(SIGNATURE, ""), validate=True)
        at = datetime.fromtimestamp(int(stamp), tz=UTC)
    except (ValueError, OverflowError, OSError, binascii.Error) as error:
        raise Refused("no signature") from error
    except UnsupportedAlgorithm as error:
        raise Refused("the key is of another kind") from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise Refused("the key is of another kind")
    try:
        public.verify(signature, stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Refused("the signature is not SendGrid's") from error
    told.demand_fresh(at, now=now)


def read(body: bytes) -> list[Reading]:
    """Return what the events say that are about us.  Raises Invalid."""
    said = told.parse(body)
    if not isinstance(said, list):
        raise errors.Invalid("wanted a list of events")
    return [found for one in said[:MOST] if (found := _read(one)) is not None]


def _read(one: Any) -> Reading | None:
    kind = told.text(one, "event")
    id = f"sendgrid:{told.text(one, 'sg_event_id')}"
    recipient = told.text(one, "email")
    carriers = Carriers(message_ids=(told.text(one, "smtp-id"),))
    if kind in {"bounce", "dropped"}:
        category = told.text(one, "bounce_classification")
        return told.bounce(
            status=told.text(one, "status"),
            said=told.text(one, "reason"),
            otherwise=_CLASSES.get(category, Class.UNKNOWN),
            recipient=recipient,
            id=id,
            carriers=carriers,
            evidence=f"SendGrid says {kind} ({category or 'no classification'})",
        )
    meant = {
        "spamreport": Kind.COMPLAINT,
        "unsubscribe": Kind.UNSUBSCRIBE,
        "group_unsubscribe": Kind.UNSUBSCRIBE,
    }.get(kind)
    if meant is None:
        return None
    return told.other(
        meant,
        recipient=recipient,
        id=id,
        carriers=carriers,
        evidence=f"SendGrid says {kind}",
    )
