from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailer.core import doubt
from mailer.core.blast import Doubt, State

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({}, NOON + HOUR),
        ({"state": State.SENDING}, NOON + HOUR),
        ({"expires_at": None}, NOON + HOUR),
        ({"rule": Doubt.HOLD}, None),
        ({"was_resent": True}, None),
        ({"state": State.CANCELLED}, None),
        ({"expires_at": NOON + HOUR}, None),
    ],
)
def test_a_doubt_is_sent_again_once_by_the_rule_and_in_time(
    changes: dict[str, Any], at: datetime | None
) -> None:
    asked: dict[str, Any] = {
        "rule": Doubt.RESEND,
        "state": State.DONE,
        "since": NOON,
        "expires_at": NOON + 2 * HOUR,
    }
    asked |= changes

    assert doubt.resend_at(asked.pop("rule"), **asked) == at


def test_what_a_lost_worker_left_is_told_with_all_that_are_in_doubt() -> None:
    held = doubt.lost(1, 4, again_at=None)
    again = doubt.lost(1, 4, again_at=NOON)

    assert held == (
        "A worker was lost; of 1 of its messages no answer was seen. "
        "In all 4 of the blast are in doubt. They are not sent again by themselves."
    )
    assert again.endswith(
        "Each is sent again by itself, once, an hour after its doubt, these from "
        "2026-10-01 12:00 UTC on, unless it is settled before."
    )
