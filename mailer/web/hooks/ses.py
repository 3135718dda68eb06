"""Bounces and complaints of Amazon SES, as Amazon SNS posts them.

docs.aws.amazon.com/ses/latest/dg/notification-contents.html (what is said),
docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html (who says it).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mailer.core.feedback import Carriers, Class, Kind, Reading
from mailer.web.hooks import told
from mailer.web.hooks.told import Refused

# SNS tries again for an hour and more with the signature of the first time; twice the
# same is one event.
AGE = timedelta(hours=1)

_HOST = r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?"
_CERTIFICATE = re.compile(rf"{_HOST}/SimpleNotificationService-[0-9a-f]{{16,64}}\.pem")
_SUBSCRIBE = re.compile(rf"{_HOST}/\?Action=ConfirmSubscription&[\w=&%:.~+-]{{1,2000}}")
_HASHES: Mapping[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 -- version 1 is Amazon's default
_TOKEN = re.compile(r"/u/([A-Za-z0-9_-]{30,200})")
_SIGNED = {
    "Notification": (
        "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type",
    ),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn",
        "Type",
    ),
}  # fmt: skip

# bounceSubType of a permanent bounce -> class; docs, "Bounce types".
_PERMANENT = {
    "NoEmail": Class.BAD_ADDRESS,
    "OnAccountSuppressionList": Class.UNKNOWN,
    "Suppressed": Class.BAD_ADDRESS,
    "General": Class.UNKNOWN,
}


def certificate_url(said: Any) -> str:
    """Return where the certificate is; Refused unless that is Amazon's."""
    url = told.text(said, "SigningCertURL")
    if _CERTIFICATE.fullmatch(url) is None:
        raise Refused("the certificate is not at Amazon")
    return url


def verify(said: Any, certificate: bytes, *, topic: str, now: datetime) -> None:
    """Raise Refused unless Amazon signed *said* for our topic, of late."""
    if not told.same(told.text(said, "TopicArn"), topic):
        raise Refused("another topic")
    kind = said.get("Type")
    algorithm = _HASHES.get(told.text(said, "SignatureVersion"))
    if kind not in _SIGNED or algorithm is None:
        raise Refused("nothing that is signed")
    lines = ""
    for key in _SIGNED[kind]:
        if key in said:
            if not isinstance(said[key], str):
                raise Refused(f"{key} is no text")
            lines += f"{key}\n{said[key]}\n"
    try:
        signature = base64.b64decode(told.text(said, "Signature"), validate=True)
        key_of = x509.load_pem_x509_certificate(certificate).public_key()
        if not isinstance(key_of, rsa.RSAPublicKey):
            raise Refused("the certificate has another key")
        key_of.verify(signature, lines.encode(), padding.PKCS1v15(), algorithm)
        at = datetime.fromisoformat(said["Timestamp"])
        told.demand_fresh(at, now=now, age=AGE)
    except (InvalidSignature, binascii.Error, ValueError, KeyError, TypeError) as error:
        raise Refused("the signature is not Amazon's") from error


def confirm_url(said: Any) -> str | None:
    """Return what to ask for so that the topic begins; None: nothing is to be asked."""
    if said.get("Type") != "SubscriptionConfirmation":
        return None
    url = told.text(said, "SubscribeURL") if len(said["SubscribeURL"]) < 1000 else ""
    if _SUBSCRIBE.fullmatch(url) is None:
        raise Refused("the subscription is not at Amazon")
    return url


def read(said: Any) -> list[Reading]:
    """Return what a notification says of each recipient.  Raises Invalid."""
    if not isinstance(said, Mapping) or said.get("Type") != "Notification":
        return []
    event = told.parse(str(said.get("Message", "")).encode())
    kind = told.text(event, "notificationType") or told.text(event, "eventType")
    mail = told.table(event, "mail")
    carriers = _carriers(mail)
    if kind == "Bounce":
        return _bounces(told.table(event, "bounce"), carriers)
    if kind == "Complaint":
        complaint = told.table(event, "complaint")
        what = told.text(complaint, "complaintFeedbackType") or "abuse"
        meant = Kind.NOT_SPAM if what == "not-spam" else Kind.COMPLAINT
        return [
            told.other(
                meant,
                recipient=told.text(one, "emailAddress"),
                id=f"ses:{told.text(complaint, 'feedbackId')}",
                carriers=carriers,
                evidence=f"Amazon SES says complaint ({what})",
            )
            for one in _list(complaint, "complainedRecipients")
        ]
    return []


def _bounces(bounce: Mapping[str, Any], carriers: Carriers) -> list[Reading]:
    kind, sub = told.text(bounce, "bounceType"), told.text(bounce, "bounceSubType")
    found = []
    for one in _list(bounce, "bouncedRecipients"):
        # A transient bounce is given up, too: the message came to nothing.
        is_permanent = kind == "Permanent"
        otherwise = _PERMANENT.get(sub, Class.UNKNOWN)
        if sub == "MailboxFull":
            otherwise = Class.FULL
        status = told.text(one, "status") or ("5.0.0" if is_permanent else "4.0.0")
        found.append(
            told.bounce(
                status=status,
                said=told.text(one, "diagnosticCode"),
                otherwise=otherwise,
                recipient=told.text(one, "emailAddress"),
                id=f"ses:{told.text(bounce, 'feedbackId')}",
                carriers=carriers,
                evidence=f"Amazon SES says bounce ({kind}, {sub})",
            )
        )
    return found


def _carriers(mail: Mapping[str, Any]) -> Carriers:
    """Return what names the delivery: the envelope, and the headers as we wrote them.

    SES writes a Message-ID of its own; "original headers" must be turned on.
    """
    fields: dict[str, str] = {}
    for one in _list(mail, "headers"):
        fields.setdefault(told.text(one, "name").lower(), told.text(one, "value"))
    tokens = re.findall(
        r"/u/([A-Za-z0-9_-]{30,200})", fields.get("list-unsubscribe", "")
    )
    return Carriers(
        paths=(told.text(mail, "source"),),
        message_ids=(fields.get("message-id", ""),),
        unsubscribes=tuple(tokens[:2]),
    )


def _list(said: Mapping[str, Any], key: str) -> list[Any]:
    found = said.get(key)
    return found[:100] if isinstance(found, list) else []
