from __future__ import annotations

from datetime import timedelta

import pytest

from mailer import settings
from mailer.core import bounce, meaning
from mailer.core.delivery import Stage

SHIPPED = settings.read(settings.shipped(settings.BOUNCES), settings.Bounces)
RULES = bounce.Rules(rules=tuple(SHIPPED.rule.values()))
RETRY = (timedelta(minutes=5), timedelta(hours=1))


def meant(line: str, *, provider: str = "other", stage: Stage = Stage.DOT) -> list[str]:
    verdict = bounce.classify(
        bounce.read(line), stage=stage, provider=provider, rules=RULES
    )
    found = meaning.meaning(verdict, retry=RETRY)
    return [found.message, found.lane, found.person]


WAITS = "It waits with its lane and goes out again; no attempt is spent."
LATER = (
    "It is put off and spends an attempt: it goes out again after 5m, 1h, the last "
    "again and again until the blast expires."
)
BOUNCES = "It bounces: it is not tried again."
STOP = "It goes on; many such replies are a reason to stop this blast here."
OFTEN = "Its rate is cut by half; after 5 such replies in an hour it is closed for 15m."
GOES_ON = "Nothing: it goes on."
MAILED = "Nothing: the address may be mailed as before."


@pytest.mark.parametrize(
    ("provider", "line", "said"),
    [
        ("google", "421 4.7.28 rate of mail from your IP address",
         [WAITS, "Its rate is cut by half.", MAILED]),
        ("google", "550 5.7.26 not authentic",
         [WAITS, "It is closed, and an alarm calls a person. Other lanes go on.",
          MAILED]),
        ("google", "550 5.7.1 likely unsolicited mail",
         [BOUNCES, STOP, MAILED]),
        ("google", "421 4.7.0 Try again later, closing connection.",
         [WAITS, "It goes on with fewer connections, at the same rate.", MAILED]),
        ("yahoo", "421 4.7.0 [TSS04] Messages",
         [WAITS, "It is closed for 2h, then probed. Other lanes go on.", MAILED]),
        ("yahoo", "421 Max message per connection reached",
         [WAITS, "It goes on over a new connection, at the same rate.", MAILED]),
        ("microsoft", "421 RP-003 The mail server IP has exceeded the connection limit",
         [WAITS, "It has one connection for 1h.", MAILED]),
        ("apple", "451 4.7.1 Service unavailable - try again later",
         [WAITS, OFTEN, MAILED]),
        ("other", "452 4.2.2 Full", [LATER, GOES_ON, MAILED]),
        ("other", "550 5.1.1 Nobody",
         [BOUNCES, GOES_ON, "The address is suppressed: it gets no blast any more."]),
        ("other", "550 5.1.2 x.test: no such domain (NXDOMAIN)",
         [BOUNCES, GOES_ON, MAILED]),
        ("other", "250 2.0.0 OK", ["It is sent.", GOES_ON, MAILED]),
    ],
)  # fmt: skip
def test_what_is_done_is_said(provider: str, line: str, said: list[str]) -> None:
    assert meant(line, provider=provider) == said


def test_a_rule_may_lengthen_the_waits() -> None:
    message, *_ = meant("450 4.7.1 Greylisted")
    assert "it goes out again after 15m, 1h, the last" in message


def test_a_lost_answer_is_in_doubt() -> None:
    verdict = bounce.lost(Stage.DOT, "reset")
    found = meaning.meaning(verdict, retry=RETRY)
    assert found.message.startswith("Nobody knows whether it arrived")


def test_every_scope_has_its_words() -> None:
    assert set(meaning.SCOPES) == set(bounce.Scope)


def test_the_samples_of_the_rule_come_likest_first() -> None:
    reply = bounce.read("421 4.7.28 an unusual rate of unsolicited mail originating")
    found = meaning.alike(reply, RULES.rules, only="gmail-rate-ip")
    assert [one.rule for one in found] == ["gmail-rate-ip"] * 2
    assert found[0].ratio > found[1].ratio


def test_what_no_rule_knows_may_be_like_a_sample() -> None:
    reply = bounce.read("421 [TSS99] Messages from 192.0.2.1 temporarily deferred")
    (first, *_) = meaning.alike(reply, RULES.rules, only=None)
    assert first.rule.startswith("yahoo-ts0")
    assert meaning.alike(bounce.read("450 !"), RULES.rules, only=None) == []


def test_a_rule_of_another_provider_is_named() -> None:
    reply = bounce.read(
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"
    )
    found = meaning.elsewhere(reply, "google", RULES)
    assert [one.name for one in found] == ["yahoo-ts04"]
    assert meaning.elsewhere(reply, "yahoo", RULES) == []
