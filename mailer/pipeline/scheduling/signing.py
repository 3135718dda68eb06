"""Whether a blast's messages are signed, seen on one of each variant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mailer import errors
from mailer.core.subscriber import Subscriber
from mailer.mail import dkim, message
from mailer.pipeline.scheduling.finding import Finding


def sign(
    composers: Iterable[message.Composer], person: Subscriber | None, *, now: datetime
) -> Finding:
    """Sign the message of each variant to *person*, and verify that it is signed."""
    composers = list(composers)
    bare = sorted({one.domain for one in composers if not one.signers})
    if bare:
        text = (
            f"nothing signs mail from {', '.join(bare)}: Gmail and Yahoo refuse "
            "unsigned bulk mail; add a key ([dkim]) or let the relay sign"
        )
        return Finding(name="signature", is_ok=False, is_warning=True, text=text)
    try:
        for composer in composers:
            if person is not None:
                _sign(composer, person, now=now)
    except errors.Invalid as error:
        return Finding(name="signature", is_ok=False, text=str(error))
    hosts = {key.host: None for one in composers for key in one.signers}
    text = f"signed by {', '.join(hosts)}: `mailer doctor` says if it is published"
    return Finding(name="signature", is_ok=True, text=text)


def _sign(composer: message.Composer, person: Subscriber, *, now: datetime) -> None:
    try:
        letter = composer.compose(person, seq=0, date=now)
    except errors.Invalid:
        return  # rendering has said so
    dkim.check(letter.data, composer.signers)
