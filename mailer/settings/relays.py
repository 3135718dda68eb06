"""What relays must show when they post bounces and complaints; from the environment."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailer import errors
from mailer.settings import secret

_ENOUGH = 16  # characters of a password


@dataclass(frozen=True, slots=True, kw_only=True)
class Relays:
    """One of each that may post; None: it is refused."""

    ses_topic: str | None = None  # the ARN of the topic of Amazon SNS
    sendgrid_key: bytes | None = None  # public, DER
    mailgun_key: str | None = field(default=None, repr=False)
    postmark_password: str | None = field(default=None, repr=False)


def load(*, environment: Mapping[str, str]) -> Relays:
    """Read what the environment says.  Raises Invalid with what would be right."""
    topic = secret.get("MAILER_SES_TOPIC", environment=environment)
    if topic is not None and not topic.startswith("arn:aws"):
        message = "MAILER_SES_TOPIC: write the ARN of the topic, arn:aws:sns:…"
        raise errors.Invalid(message)
    password = secret.get("MAILER_POSTMARK_PASSWORD", environment=environment)
    if password is not None and len(password) < _ENOUGH:
        message = f"MAILER_POSTMARK_PASSWORD: write {_ENOUGH} characters or more"
        raise errors.Invalid(message)
    return Relays(
        ses_topic=topic,
        sendgrid_key=_key(secret.get("MAILER_SENDGRID_KEY", environment=environment)),
        mailgun_key=secret.get("MAILER_MAILGUN_KEY", environment=environment),
        postmark_password=password,
    )


def _key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        message = (
            "MAILER_SENDGRID_KEY: write the verification key that SendGrid shows, in "
            "base64"
        )
        raise errors.Invalid(message) from None
