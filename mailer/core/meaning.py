"""What a reply means, said to a person: for the message, the lane and the person.

The verdict is `core.bounce`'s; here are only its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import SequenceMatcher
from typing import assert_never

from mailer.core import bounce, delivery
from mailer.core.bounce import Action, Rule, Rules, Scope, Verdict
from mailer.core.delivery import Reply
from mailer.core.provider import span

LIKE = 0.5  # of a sample, from 0 to 1: less is another reply
SHOWN = 3  # samples

SCOPES = {
    Scope.RECIPIENT: "this recipient only",
    Scope.CONNECTION: "this connection only",
    Scope.LANE: "the lane: this provider and our source",
    Scope.SENDER: "our domain, at this provider",
    Scope.BLAST: "this blast, at this provider",
    Scope.HALT: "our mail as a whole at this provider: a person must look",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What mailer does: to the message, to the lane, to the person."""

    message: str
    lane: str
    person: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A sample that a reply is like, from 0 to 1, and whose it is."""

    rule: str
    providers: tuple[str, ...]
    sample: str
    ratio: float


def meaning(verdict: Verdict, *, retry: Sequence[timedelta]) -> Meaning:
    """Say what *verdict* comes to; *retry* are the waits between attempts."""
    return Meaning(
        message=_message(verdict.outcome, _waits(verdict, retry)),
        lane=_lane(verdict),
        person=_person(verdict.outcome),
    )


def _waits(verdict: Verdict, retry: Sequence[timedelta]) -> Sequence[timedelta]:
    """Return the waits of a message, of which a rule may lengthen each."""
    if verdict.action is Action.RETRY and verdict.wait is not None:
        return list(dict.fromkeys(max(one, verdict.wait) for one in retry))
    return retry


def _message(outcome: delivery.Outcome, retry: Sequence[timedelta]) -> str:
    match outcome:
        case delivery.Accepted():
            return "It is sent."
        case delivery.Bounce():
            return "It bounces: it is not tried again."
        case delivery.Deferral():
            waits = ", ".join(span(one) for one in retry)
            return (
                "It is put off and spends an attempt: it goes out again after "
                f"{waits}, the last again and again until the blast expires."
            )
        case delivery.Throttled():
            return "It waits with its lane and goes out again; no attempt is spent."
        case delivery.InDoubt():
            return "Nobody knows whether it arrived: it is not sent again by itself."
        case _:
            assert_never(outcome)


def _person(outcome: delivery.Outcome) -> str:
    if isinstance(outcome, delivery.Bounce) and outcome.suppress:
        return "The address is suppressed: it gets no blast any more."
    return "Nothing: the address may be mailed as before."


def _lane(verdict: Verdict) -> str:
    wait = f" for {span(verdict.wait)}" if verdict.wait else ""
    match verdict.action:
        case Action.NONE | Action.RETRY | Action.REFUSE | Action.SUPPRESS:
            return "Nothing: it goes on."
        case Action.RECONNECT:
            return "It goes on over a new connection, at the same rate."
        case Action.FEWER:
            return "It goes on with fewer connections, at the same rate."
        case Action.SINGLE:
            return f"It has one connection{wait}."
        case Action.CUT:
            after = ""
            if verdict.suspend_after:
                after = (
                    f"; after {verdict.suspend_after} such replies in an hour it is "
                    f"closed{wait}"
                )
            return f"Its rate is cut by half{after}."
        case Action.SUSPEND:
            return f"It is closed{wait}, then probed. Other lanes go on."
        case Action.HOLD:
            return "It is closed, and an alarm calls a person. Other lanes go on."
        case Action.BREAK:
            return "It goes on; many such replies are a reason to stop this blast here."
        case _:
            assert_never(verdict.action)


def alike(reply: Reply, rules: Iterable[Rule], *, only: str | None) -> list[Likeness]:
    """Return the samples that *reply* is like, the likest first.

    *only* is the rule that knows it: its samples are shown however unlike they are.
    """
    found = [
        Likeness(
            rule=rule.name,
            providers=rule.providers,
            sample=sample,
            ratio=round(_ratio(str(reply), sample), 2),
        )
        for rule in rules
        if only is None or rule.name == only
        for sample in rule.samples
    ]
    found.sort(key=lambda one: (-one.ratio, one.rule, one.sample))
    return [one for one in found if only is not None or one.ratio >= LIKE][:SHOWN]


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one[:200].lower(), other[:200].lower()).ratio()


def elsewhere(reply: Reply, provider: str, rules: Rules) -> list[Rule]:
    """Return the rules of other providers that would know *reply*."""
    line = str(reply)
    return [
        rule
        for rule in rules.rules
        if rule.providers
        and provider not in rule.providers
        and bounce.compiled(rule.match).search(line)
    ]
