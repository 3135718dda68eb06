"""When a message in doubt is sent again by itself, and what is said of that."""

from __future__ import annotations

from datetime import datetime, timedelta

from mailer.core import blast

# A late reply, a bounce or a person may settle it till then.
AFTER = timedelta(hours=1)

_MAY = (blast.State.SENDING, blast.State.DONE, blast.State.PAUSED)


def resend_at(
    rule: blast.Doubt,
    *,
    state: blast.State,
    since: datetime,
    expires_at: datetime | None,
    was_resent: bool = False,
) -> datetime | None:
    """Return when a message in doubt *since* is sent again; None: never by itself.

    Once at most, and nothing after its blast's time.  A paused blast is resumed first.
    """
    if rule is not blast.Doubt.RESEND or state not in _MAY or was_resent:
        return None
    at = since + AFTER
    return at if expires_at is None or at < expires_at else None


def lost(count: int, total: int, *, again_at: datetime | None) -> str:
    """Say what a worker that is gone has left in doubt, and what becomes of it.

    *total* are in doubt of the blast, these *count* included.
    """
    fate = "They are not sent again by themselves."
    if again_at is not None:
        fate = (
            "Each is sent again by itself, once, an hour after its doubt, these "
            f"from {again_at:%Y-%m-%d %H:%M} UTC on, unless it is settled before."
        )
    return (
        f"A worker was lost; of {count:,} of its messages no answer was seen. "
        f"In all {total:,} of the blast are in doubt. {fate}"
    )
