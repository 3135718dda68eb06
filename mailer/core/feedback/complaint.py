"""Abuse reports: RFC 5965 (ARF), and Microsoft's JMRP, which is older than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.core.feedback import parts, status

TYPE = "message/feedback-report"

# The field that Microsoft adds to the message that somebody called junk:
# sendersupport.olc.protection.outlook.com, Junk Mail Reporting Program.
_JMRP = "x-hmxmroriginalrecipient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What a feedback report says."""

    kind: str  # abuse, fraud, not-spam, opt-out, virus, other, …
    mail_from: str = ""
    envelope_id: str = ""
    recipient: str = ""  # often redacted: RFC 6590
    reporter: str = ""


def read(part: parts.Part) -> Complaint:
    """Read the fields of a feedback report."""
    text = part.content.strip(b"\n")
    found = parts.fields(text)
    known: dict[str, str] = {}
    for name, value in found:
        known.setdefault(name, value)
    return Complaint(
        kind=parts.clean(known.get("feedback-type", ""), 40).lower(),
        mail_from=status.address(known.get("original-mail-from", "")),
        envelope_id=known.get("original-envelope-id", "")[: parts.TEXT],
        recipient=status.address(known.get("original-rcpt-to", "")),
        reporter=parts.clean(known.get("user-agent", ""), 255),
    )


def junk(attached: Sequence[parts.Part]) -> Complaint | None:
    """Return the complaint that a message with such an attachment is, if any."""
    for one in attached:
        if who := one.get(_JMRP):
            return Complaint(
                kind="abuse",
                recipient=status.address(who),
                reporter="Microsoft JMRP",
            )
    return None
