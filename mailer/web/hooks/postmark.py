"""Bounces and complaints of Postmark, shown by a password (HTTP Basic).

postmarkapp.com/developer/webhooks/bounce-webhook, …/spam-complaint-webhook,
…/subscription-change-webhook.  Postmark signs nothing, and hands back neither envelope
nor Message-ID, but only the metadata that a message had.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import Any

from mailer.core.feedback import Carriers, Class, Kind, Reading
from mailer.web.hooks import told
from mailer.web.hooks.told import Refused

USER = "mailer"
METADATA = "mailer"  # its key: the message had X-PM-Metadata-mailer: b-TOKEN
AGE = timedelta(hours=12)  # of the event; Postmark tries again for ten hours

# Type -> class; postmarkapp.com/developer/api/bounce-api#bounce-types
_TYPES = {
    "HardBounce": Class.UNKNOWN,
    "BadEmailAddress": Class.BAD_ADDRESS,
    "SoftBounce": Class.FULL,
    "DnsError": Class.NO_HOST,
    "SpamNotification": Class.SPAM,
    "Blocked": Class.POLICY,
    "DMARCPolicy": Class.AUTHENTICATION,
    "VirusNotification": Class.CONTENT,
    "Transient": Class.TRANSIENT,
}


def verify(authorization: str, password: str) -> None:
    """Raise Refused unless the password is shown."""
    scheme, _, code = authorization.partition(" ")
    try:
        shown = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        shown = b""
    if scheme.lower() != "basic" or not told.same(shown, f"{USER}:{password}"):
        raise Refused("the password is another")


def read(said: Any, *, now: datetime) -> list[Reading]:
    """Return what is said, if it is about us.  Refused when it is of long ago."""
    kind = told.text(said, "RecordType")
    for key in ("BouncedAt", "ChangedAt"):
        if at := told.text(said, key):
            try:
                told.demand_fresh(datetime.fromisoformat(at), now=now, age=AGE)
            except (ValueError, TypeError) as error:
                raise Refused("no time") from error
    token = told.text(told.table(said, "Metadata"), METADATA)
    carriers = Carriers(envelope_ids=(token,) if token else ())
    recipient = told.text(said, "Email") or told.text(said, "Recipient")
    id = f"postmark:{kind}:{told.text(said, 'ID') or told.text(said, 'MessageID')}"
    word = told.text(said, "Type")
    if kind == "Bounce" and word in _TYPES:
        return [
            told.bounce(
                status="",
                said=told.text(said, "Details"),
                otherwise=_TYPES[word],
                recipient=recipient,
                id=id,
                carriers=carriers,
                evidence=f"Postmark says {word}",
            )
        ]
    meant = None
    if kind == "SpamComplaint":
        meant = Kind.COMPLAINT
    elif kind == "SubscriptionChange" and said.get("SuppressSending") is True:
        meant = Kind.UNSUBSCRIBE
    if meant is None:
        return []
    return [
        told.other(
            meant,
            recipient=recipient,
            id=id,
            carriers=carriers,
            evidence=f"Postmark says {kind}",
        )
    ]
