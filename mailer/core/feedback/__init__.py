"""What comes back by mail about a message: bounces, complaints, auto-replies.

RFC 3464 and 6533 (delivery status), RFC 5965 (abuse reports), RFC 3834 (automatic
responses).  The text is a stranger's: nothing here raises for what it is, and a token
that only we can make says whose message it was.
"""

from mailer.core.feedback.cause import RULES, classify
from mailer.core.feedback.consequence import (
    HOLD,
    Delivered,
    follow,
)
from mailer.core.feedback.identity import Identity, identify
from mailer.core.feedback.reading import Action, Carriers, Kind, Reading, read
from mailer.core.feedback.record import as_event
from mailer.core.feedback.texts import Class

__all__ = [
    "HOLD",
    "RULES",
    "Action",
    "Carriers",
    "Class",
    "Delivered",
    "Identity",
    "Kind",
    "Reading",
    "as_event",
    "classify",
    "follow",
    "identify",
    "read",
]
