"""What a provider's reply means for the delivery, the address and the lane.

Rules are data (config/bounces.toml): those of the provider come first, then those
of every provider; the first match wins.  What no rule knows is decided here: 4xx is
put off, 5xx is refused, and neither suppresses anybody.  Stages and their ambiguity
follow RFC 5321; x.y.z codes RFC 3463.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import NamedTuple, assert_never

from mailer.core import delivery
from mailer.core.delivery import Reply, Stage


class Answered(NamedTuple):
    """The server's reply that ended the transaction, and where."""

    stage: Stage
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """No reply: the connection was lost, or the server spoke no SMTP."""

    stage: Stage
    reason: str


class Scope(StrEnum):
    """What a reply is evidence about."""

    RECIPIENT = "recipient"
    CONNECTION = "connection"
    LANE = "lane"  # provider x source
    SENDER = "sender"  # provider x our domain
    BLAST = "blast"  # blast x provider
    HALT = "halt"  # our mail is not wanted or not authentic: a person must look


class Action(StrEnum):
    """What a reply asks for."""

    NONE = "none"
    RETRY = "retry"  # this message later, even after a 5xx
    REFUSE = "refuse"  # this message never
    SUPPRESS = "suppress"  # this address never again
    RECONNECT = "reconnect"  # a new connection, no penalty
    FEWER = "fewer"  # fewer connections
    SINGLE = "single"  # one connection, for `wait`
    CUT = "cut"  # half the rate
    SUSPEND = "suspend"  # close the lane, for `wait`
    HOLD = "hold"  # close the lane until a person opens it
    BREAK = "break"  # feed the breaker of the blast


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of reply: how it is recognised and what it means."""

    name: str
    match: str  # regular expression on "code text", in any case
    scope: Scope
    action: Action
    providers: tuple[str, ...] = ()  # none: every provider
    wait: timedelta | None = None
    suspend_after: int | None = None  # so many in an hour suspend the lane, for `wait`
    source: str = ""  # whose page, log or code says so
    samples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            compiled(self.match)
        except re.error as error:
            message = f'"{self.match}" is no regular expression: {error}'
            raise ValueError(message) from error


@cache
def compiled(match: str) -> re.Pattern[str]:
    """Compile a rule's expression."""
    return re.compile(match, re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All rules, in order, sorted by the provider that they are tried for."""

    rules: tuple[Rule, ...] = ()
    _by_provider: Mapping[str, tuple[Rule, ...]] = field(init=False, repr=False)
    _generic: tuple[Rule, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        generic = tuple(rule for rule in self.rules if not rule.providers)
        names = {name for rule in self.rules for name in rule.providers}
        by_provider = {
            name: tuple(rule for rule in self.rules if name in rule.providers) + generic
            for name in names
        }
        object.__setattr__(self, "_generic", generic)
        object.__setattr__(self, "_by_provider", by_provider)

    def find(self, reply: Reply, provider: str) -> Rule | None:
        """Return the first rule that knows *reply*, or None."""
        line = str(reply)
        for rule in self._by_provider.get(provider, self._generic):
            if compiled(rule.match).search(line):
                return rule
        return None


# What no rule knows (RFC 5321 §4.2.1), by whether the recipient was named yet.
CLOSING = Rule(
    name="closing", match="^421", scope=Scope.CONNECTION, action=Action.RECONNECT
)
LATER = Rule(
    name="later", match="^4", scope=Scope.CONNECTION, action=Action.RETRY
)  # fmt: skip
NEVER = Rule(name="never", match="^5", scope=Scope.RECIPIENT, action=Action.REFUSE)
# A server that refuses every connection is not asked again at once.
TURNED_AWAY = Rule(
    name="turned-away", match="^5", scope=Scope.LANE, action=Action.SUSPEND,
    wait=timedelta(minutes=15),
)  # fmt: skip


class Verdict(NamedTuple):
    """What came of an attempt, and what its reply says beyond this message."""

    outcome: delivery.Outcome
    rule: str | None = None
    scope: Scope = Scope.RECIPIENT
    action: Action = Action.NONE
    wait: timedelta | None = None
    suspend_after: int | None = None


def judge(end: Answered | Lost, *, provider: str, rules: Rules) -> Verdict:
    """Decide what the end of a transaction means."""
    match end:
        case Answered(stage=stage, reply=reply):
            return classify(reply, stage=stage, provider=provider, rules=rules)
        case Lost(stage=stage, reason=reason):
            return lost(stage, reason)
        case _:
            assert_never(end)


def lost(stage: Stage, reason: str) -> Verdict:
    """Judge a transaction without a reply: only after the dot is it in doubt."""
    if stage is Stage.DOT:
        return Verdict(outcome=delivery.InDoubt(reason=reason), scope=Scope.CONNECTION)
    return Verdict(
        outcome=delivery.Throttled(stage=stage, reason=reason),
        scope=Scope.CONNECTION,
        action=Action.RECONNECT,
    )


def classify(reply: Reply, *, stage: Stage, provider: str, rules: Rules) -> Verdict:
    """Decide what *reply* at *stage* means, by the rules of *provider*."""
    if reply.code < 400:
        if stage < Stage.DOT or reply.code >= 300:
            return lost(stage, f"out of step: {reply}")
        return Verdict(outcome=delivery.Accepted(reply=reply))
    rule = rules.find(reply, provider) or _unknown(reply, stage)
    return Verdict(
        outcome=_outcome(rule, reply, stage),
        rule=rule.name,
        scope=rule.scope,
        action=rule.action,
        wait=rule.wait,
        suspend_after=rule.suspend_after,
    )


def _unknown(reply: Reply, stage: Stage) -> Rule:
    if reply.code == 421:
        return CLOSING
    if reply.code < 500:
        return LATER
    return NEVER if stage >= Stage.MAIL else TURNED_AWAY


def _outcome(rule: Rule, reply: Reply, stage: Stage) -> delivery.Outcome:
    """Tell what becomes of the message that got the reply.

    Before RCPT nothing is said about the recipient: no attempt is spent.  Nor is
    one when a lane is too fast or closed by hand: the message waits with its lane.
    """
    if stage < Stage.MAIL or (stage is Stage.MAIL and reply.code < 500):
        return delivery.Throttled(stage=stage, reply=reply)
    match rule.action:
        case Action.SUPPRESS | Action.REFUSE | Action.BREAK | Action.NONE:
            if reply.code < 500:
                return delivery.Deferral(stage=stage, reply=reply)
            is_bad = rule.action is Action.SUPPRESS
            return delivery.Bounce(stage=stage, reply=reply, suppress=is_bad)
        case Action.RETRY:
            return delivery.Deferral(stage=stage, reply=reply)
        case (
            Action.RECONNECT
            | Action.FEWER
            | Action.SINGLE
            | Action.CUT
            | Action.SUSPEND
            | Action.HOLD
        ):
            return delivery.Throttled(stage=stage, reply=reply)
        case _:
            assert_never(rule.action)


def about_domain(verdict: Verdict) -> Verdict:
    """Return what *verdict* comes to on a lane of many domains, sent to directly.

    What the hosts of one domain say is about that domain: its message is put off
    and spends an attempt, so that the wait grows, and the lane goes on.  A new
    connection is all that may be asked for.
    """
    if verdict.action is Action.RECONNECT:
        return verdict
    outcome, action = verdict.outcome, verdict.action
    if isinstance(outcome, delivery.Throttled) and outcome.reply is not None:
        outcome = delivery.Deferral(stage=outcome.stage, reply=outcome.reply)
    if action not in {Action.SUPPRESS, Action.REFUSE, Action.BREAK}:
        action = Action.NONE
    return verdict._replace(outcome=outcome, action=action, wait=None)


_REFUSAL = re.compile(r"[45]\d\d(?: .*)?", re.ASCII)


def is_refusal(line: str) -> bool:
    """Tell whether *line* is a reply of 4xx or 5xx, as one line."""
    return _REFUSAL.fullmatch(line) is not None


def read(line: str) -> Reply:
    """Read a reply of one line.  ValueError if it is none."""
    code, _, text = line.partition(" ")
    return Reply(code=int(code), text=text)


def misread(rules: Iterable[Rule]) -> list[tuple[str, str]]:
    """Return each rule that does not get a sample of its own, and who gets it."""
    every = Rules(rules=tuple(rules))
    problems = []
    for rule in every.rules:
        for sample in rule.samples:
            for provider in rule.providers or ("",):
                found = every.find(read(sample), provider)
                if found is not rule:
                    got = f"rule {found.name}" if found else "no rule"
                    problems.append((rule.name, f'{got} takes "{sample}"'))
    return problems
