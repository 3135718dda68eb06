"""Mail to a person of ours about an alarm: plain text, on its own connection.

RFC 3834: ``Auto-Submitted`` keeps out-of-office replies away.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer import errors
from mailer.core import signature
from mailer.core.bounce import Answered
from mailer.core.delivery import Stage
from mailer.core.provider import Kind, Source
from mailer.mail import dkim, header, smtp
from mailer.mail.route import Router
from mailer.mail.session import Limits

# Somebody shall wake: another source, or another try, is better than patience.
LIMITS = Limits(connect=8, greeting=8, mail=8, rcpt=8, data=8, body=8, dot=30, quit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A notice as it goes on the wire, and its envelope."""

    sender: str
    recipient: str
    data: bytes


def write(  # noqa: PLR0913 -- the fields of one letter
    *,
    id: str,
    thread: str,
    date: datetime,
    sender: str,
    to: str,
    subject: str,
    text: str,
    signers: Sequence[signature.Key] = (),
    name: str = "mailer",
) -> Letter:
    """Write one letter, signed by the keys of the sender's domain.

    The same *id* gives the same Message-ID: who gets it twice sees it once.  Letters
    of one *thread* are shown together.  *sender* is a mailbox, as in the settings;
    people read *name*.
    """
    mailbox = header.Mailbox.parse(sender)
    domain = mailbox.address.rpartition("@")[2]
    body = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    lines = binascii.b2a_qp(body.encode("utf-8", "replace"), istext=True)
    data = b"".join((
        b"Date: ", header.date(date), b"\r\n",
        header.message_id(f"<{id}@{domain}>"),
        header.mailbox("From", header.Mailbox(address=mailbox.address, name=name)),
        header.mailbox("To", header.Mailbox(address=to)),
        header.unstructured("Subject", subject),
        header.custom("References", f"<{thread}@{domain}>"),
        header.custom("Auto-Submitted", "auto-generated"),
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        lines.replace(b"\n", b"\r\n"),
    ))  # fmt: skip
    keys = signature.signing(signers, domain)
    return Letter(
        sender=mailbox.address, recipient=to, data=dkim.sign(data, keys, at=date)
    )


async def send(
    letter: Letter, sources: Sequence[Source], *, router: Router | None
) -> None:
    """Send *letter* by the first of *sources* that takes it.

    *router* knows the way for those that send directly.  Raises Unavailable with
    what each of them said.
    """
    failures = []
    for source in sources:
        try:
            await _send(letter, source, router)
        except errors.Unavailable as error:
            failures.append(str(error))
        else:
            return
    raise errors.Unavailable("; ".join(failures) or "no source that mails it")


async def _send(letter: Letter, source: Source, router: Router | None) -> None:
    domain = letter.recipient.rpartition("@")[2]
    session = await smtp.connect_to(source, domain, router=router, limits=LIMITS)
    try:
        end = await session.send(letter.sender, letter.recipient, letter.data)
    finally:
        await session.quit()
    if isinstance(end, Answered) and end.stage is Stage.DOT and end.reply.code < 400:
        return
    said = end.reply if isinstance(end, Answered) else end.reason
    place = domain if source.kind is Kind.DIRECT else f"{source.host}:{source.port}"
    message = f"{place}: {end.stage.name}: {said}"
    raise errors.Unavailable(message)
