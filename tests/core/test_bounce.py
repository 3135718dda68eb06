from __future__ import annotations

from datetime import timedelta

import pytest

from mailer import settings
from mailer.core import bounce, delivery
from mailer.core.bounce import Action, Scope
from mailer.core.delivery import Reply, Stage

SHIPPED = settings.read(settings.shipped(settings.BOUNCES), settings.Bounces)
RULES = bounce.Rules(rules=tuple(SHIPPED.rule.values()))
NONE = bounce.Rules()


def reply(line: str) -> Reply:
    code, _, text = line.partition(" ")
    return Reply(code=int(code), text=text)


def judged(
    line: str, *, stage: Stage = Stage.RCPT, provider: str = "other"
) -> bounce.Verdict:
    return bounce.classify(reply(line), stage=stage, provider=provider, rules=RULES)


def test_every_sample_is_taken_by_its_own_rule() -> None:
    assert bounce.misread(RULES.rules) == []


def test_every_rule_has_samples_and_says_where_it_is_from() -> None:
    assert [rule.name for rule in RULES.rules if not rule.samples] == []
    assert [rule.name for rule in RULES.rules if not rule.source] == []


def test_only_rules_about_an_address_suppress() -> None:
    assert {rule.name for rule in RULES.rules if rule.action is Action.SUPPRESS} == {
        "any-bad-recipient", "any-unknown-user", "comcast-unknown-user",
        "ms-unknown-user", "yahoo-unknown-user",
    }  # fmt: skip
    for rule in RULES.rules:
        if rule.action is Action.SUPPRESS:
            assert rule.scope is Scope.RECIPIENT


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA, Stage.DOT])
@pytest.mark.parametrize("rules", [NONE, RULES], ids=["no rules", "shipped"])
def test_what_no_rule_knows_is_decided_by_its_code(
    stage: Stage, rules: bounce.Rules
) -> None:
    for code in range(400, 600):
        said = Reply(code=code, text="hm")
        verdict = bounce.classify(said, stage=stage, provider="x", rules=rules)
        if code == 421:  # RFC 5321 §3.8: about the channel; no attempt is spent
            assert verdict.outcome == delivery.Throttled(stage=stage, reply=said)
        elif code < 500:
            assert verdict.outcome == delivery.Deferral(stage=stage, reply=said)
        else:
            assert verdict.outcome == delivery.Bounce(stage=stage, reply=said)


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO, Stage.TLS, Stage.AUTH])
@pytest.mark.parametrize("line", ["421 4.3.2 Busy", "450 hm", "554 Go away"])
def test_before_mail_nothing_counts_as_an_attempt(stage: Stage, line: str) -> None:
    verdict = judged(line, stage=stage)
    assert verdict.outcome == delivery.Throttled(stage=stage, reply=reply(line))


def test_a_server_that_turns_us_away_is_left_alone_for_a_while() -> None:
    verdict = judged("554 No SMTP service here", stage=Stage.CONNECT)
    assert (verdict.action, verdict.wait) == (Action.SUSPEND, timedelta(minutes=15))


def test_a_4xx_at_mail_says_nothing_about_the_recipient() -> None:
    verdict = judged("451 4.3.0 hm", stage=Stage.MAIL)
    assert isinstance(verdict.outcome, delivery.Throttled)


@pytest.mark.parametrize("stage", set(Stage) - {Stage.DOT})
def test_a_loss_before_the_dot_may_be_sent_again(stage: Stage) -> None:
    end = bounce.Lost(stage=stage, reason="reset")
    verdict = bounce.judge(end, provider="google", rules=RULES)
    assert verdict.outcome == delivery.Throttled(stage=stage, reason="reset")
    assert verdict.action is Action.RECONNECT


def test_a_loss_after_the_dot_is_in_doubt_and_no_bounce() -> None:
    end = bounce.Lost(stage=Stage.DOT, reason="reset")
    verdict = bounce.judge(end, provider="google", rules=RULES)
    assert verdict.outcome == delivery.InDoubt(reason="reset")


def test_a_2xx_to_the_dot_is_accepted() -> None:
    end = bounce.Answered(stage=Stage.DOT, reply=reply("250 2.0.0 OK"))
    verdict = bounce.judge(end, provider="google", rules=RULES)
    assert verdict.outcome == delivery.Accepted(reply=reply("250 2.0.0 OK"))


@pytest.mark.parametrize(
    ("provider", "line", "kind", "scope", "action", "wait"),
    [
        ("google", "421 4.7.28 Our system has detected an unusual rate of unsolicited "
         "mail originating from your IP address.",
         delivery.Throttled, Scope.LANE, Action.CUT, None),
        ("yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
         delivery.Throttled, Scope.LANE, Action.SUSPEND, timedelta(hours=2)),
        ("microsoft365", "451 4.7.650 The mail server [203.0.113.10] has been "
         "temporarily rate limited due to IP reputation.",
         delivery.Throttled, Scope.LANE, Action.SUSPEND, timedelta(minutes=30)),
        ("google", "550 5.7.26 This mail has been blocked because the sender is "
         "unauthenticated", delivery.Throttled, Scope.HALT, Action.HOLD, None),
        ("google", "550 5.2.1 The user you are trying to contact is receiving mail at "
         "a rate that prevents additional messages from being delivered.",
         delivery.Deferral, Scope.RECIPIENT, Action.RETRY, None),
        ("yahoo", "421 Max message per connection reached closing transmission channel",
         delivery.Throttled, Scope.CONNECTION, Action.RECONNECT, None),
        ("yahoo", "452 4.2.2 Mailbox full",
         delivery.Deferral, Scope.RECIPIENT, Action.NONE, None),
        ("google", "550 5.7.1 [192.0.2.1] Our system has detected that this message is "
         "likely unsolicited mail.",
         delivery.Bounce, Scope.BLAST, Action.BREAK, None),
        ("other", "552 5.5.3 Too many recipients",
         delivery.Deferral, Scope.CONNECTION, Action.RETRY, None),
    ],
)  # fmt: skip
def test_what_providers_say_means(
    provider: str,
    line: str,
    kind: type[delivery.Outcome],
    scope: Scope,
    action: Action,
    wait: timedelta | None,
) -> None:
    verdict = judged(line, provider=provider, stage=Stage.DOT)
    assert isinstance(verdict.outcome, kind)
    assert (verdict.scope, verdict.action, verdict.wait) == (scope, action, wait)


@pytest.mark.parametrize(
    ("line", "is_bad"),
    [
        ("550 5.1.1 The email account that you tried to reach does not exist.", True),
        ("550 User unknown", True),
        ("550 5.2.1 Mailbox disabled", True),
        ("552 5.2.2 Mailbox full", False),
        ("550 5.7.1 Message rejected as spam", False),
        ("554 5.7.1 Service unavailable; client host blocked using a list", False),
        ("550 5.1.8 Sender address rejected: Domain not found", False),
        ("550 5.7.26 DMARC policy: user unknown to us", False),
    ],
)
def test_policy_never_suppresses_and_a_bad_address_does(
    line: str, is_bad: bool
) -> None:
    outcome = judged(line).outcome
    assert isinstance(outcome, delivery.Bounce)
    assert outcome.suppress is is_bad


def test_rules_of_another_provider_are_never_tried() -> None:
    line = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"
    assert judged(line, provider="google").rule == "closing"


def test_a_reply_out_of_step_before_the_dot_loses_the_connection() -> None:
    assert isinstance(judged("250 OK", stage=Stage.DATA).outcome, delivery.Throttled)


def test_a_rule_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="no regular expression"):
        bounce.Rule(name="x", match="(", scope=Scope.LANE, action=Action.CUT)


def test_a_sample_that_another_rule_takes_is_told() -> None:
    first = bounce.Rule(name="first", match="^4", scope=Scope.LANE, action=Action.CUT)
    second = bounce.Rule(
        name="second", match="^45", scope=Scope.LANE, action=Action.CUT,
        samples=("450 hm", "550 hm"),
    )  # fmt: skip
    assert bounce.misread([first, second]) == [
        ("second", 'rule first takes "450 hm"'),
        ("second", 'no rule takes "550 hm"'),
    ]


# ── Lanes of many domains ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (Stage.MAIL, "451 4.7.1 Come back later"),
        (Stage.RCPT, "450 4.7.0 Too many messages from your network"),
        (Stage.CONNECT, "554 5.7.1 You are listed"),
    ],
)
def test_what_one_small_domain_says_closes_no_lane_of_many(
    stage: Stage, said: str
) -> None:
    verdict = bounce.about_domain(judged(said, stage=stage))
    assert verdict.outcome == delivery.Deferral(stage=stage, reply=reply(said))
    assert (verdict.action, verdict.wait) == (Action.NONE, None)


def test_a_421_of_one_small_domain_asks_for_another_connection_only() -> None:
    verdict = judged("421 4.3.2 Shutting down")
    assert bounce.about_domain(verdict) == verdict
    assert verdict.action is Action.RECONNECT
