from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailer import settings
from mailer.core import bounce, evidence
from mailer.core.bounce import Action, Rules, Verdict
from mailer.core.delivery import Reply, Stage
from mailer.core.evidence import Evidence, Signal

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
SHIPPED = settings.read(settings.shipped(settings.BOUNCES), settings.Bounces)
RULES = Rules(rules=tuple(SHIPPED.rule.values()))


def verdict(line: str, provider: str = "other") -> Verdict:
    code, _, text = line.partition(" ")
    said = Reply(code=int(code), text=text)
    return bounce.classify(said, stage=Stage.DOT, provider=provider, rules=RULES)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("421 4.3.2 try again in 300 seconds", 310),
        ("451 Please try again after 5 minutes", 310),
        ("421 Retry-After: 90s", 100),
        ("421 wait 1 hour", 3610),
        ("421 try again in 9 hours", 4 * 3600),
        ("421 4.7.0 Try again later, closing connection.", None),
        ("451 4.7.650 [203.0.113.10] rate limited. (S775)", None),
        ("421 try again in 0 seconds", None),
        ("451 try again, error 4512 seen", None),
    ],
)
def test_a_reply_may_name_its_time(line: str, seconds: int | None) -> None:
    found = evidence.asked(line)
    assert (found and found.total_seconds()) == seconds


@pytest.mark.parametrize(
    ("line", "provider", "action"),
    [
        ("250 2.0.0 OK", "google", None),
        ("550 5.1.1 The email account that you tried to reach does not exist.",
         "google", None),
        ("450 4.7.1 Greylisted, see http://example.net/greylist", "other", None),
        ("421 4.3.2 Shutting down", "other", None),
        ("421 4.7.0 Too many messages on this connection", "other", None),
        ("451 4.7.1 Too many messages, slow down", "other", Action.CUT),
        ("421 4.7.0 Too many concurrent connections", "other", Action.FEWER),
        ("421 RP-003 The mail server IP has exceeded the connection limit",
         "microsoft", Action.SINGLE),
        ("550 5.7.26 This mail has been blocked because the sender is "
         "unauthenticated", "google", Action.HOLD),
    ],
)  # fmt: skip
def test_only_replies_about_the_lane_ask_something_of_it(
    line: str, provider: str, action: Action | None
) -> None:
    found = evidence.signal(verdict(line, provider), at=NOON)
    assert (found and found.action) == action
    assert found is None or found.reply == line


def test_a_batch_is_added_up_by_what_it_asks() -> None:
    slow = "451 4.7.1 Too many messages, slow down"
    later = NOON + timedelta(seconds=1)
    lines = ["250 OK", slow, "550 5.1.1 Unknown", f"{slow}, try again in 60 seconds"]
    seen = evidence.gathered(
        (verdict(line), later - timedelta(milliseconds=number))
        for number, line in enumerate(lines)
    )
    assert seen == Evidence(
        tried=4,
        accepted=1,
        signals=(
            Signal(
                at=later - timedelta(milliseconds=3), action=Action.CUT,
                reply=lines[3], asked=timedelta(seconds=70), count=2,
            ),
        ),
    )  # fmt: skip
    assert evidence.gathered([]) == evidence.NOTHING
