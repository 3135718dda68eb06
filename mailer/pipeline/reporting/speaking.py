"""The one sentence that a report comes to, for a person in a hurry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mailer.core import score
from mailer.pipeline.reporting import words
from mailer.pipeline.reporting.figures import (
    THOUSAND,
    Arm,
    Belief,
    Check,
    Counts,
    Health,
    Label,
    Verdict,
)

CLEAR: Final = 0.95  # P(best)
LIKELY: Final = 0.80  # below it, the second is named as a rival
FINE: Final = 0.01  # expected loss, as a share of what the best brings
_DECIDE_NOTHING: Final = frozenset({"split", "acceptance"})


def verdict(
    arms: Sequence[Arm],
    scored: score.Score | None,
    checks: Sequence[Check],
    totals: Counts,
) -> Verdict:
    """Say who wins and how sure that is, or that it cannot be said."""
    if totals.attempted == 0:
        return _undecided("Nothing has been sent yet.")
    ranked = [arm for arm in arms if arm.belief is not None]
    if len(arms) == 1:
        return Verdict(label=Label.SINGLE, sentence=_single(arms[0]))
    if scored is None or not ranked:
        return _undecided(
            "The test cannot decide: nobody has clicked or given yet."
            if totals.gifts <= 0
            else "The test cannot decide: refunds took back what was given."
        )
    title = words.titles(arms)
    first, belief = ranked[0], ranked[0].belief
    assert belief is not None, "ranked has beliefs only"
    sick = [
        check
        for check in checks
        if check.health is Health.BAD and check.name in _DECIDE_NOTHING
    ]
    if sick:
        return _undecided(f"The test cannot decide: {_lower(sick[0].sentence)}")
    if len(ranked) == 1:
        return _undecided(
            f"The test cannot decide: only {title[first.name]} has figures yet."
        )
    few = _too_few(arms, scored, totals)
    if few is not None:
        return _undecided(f"{few} {title[first.name]} is ahead by {_means(scored)}.")
    return _decided(ranked, scored, title)


def _decided(
    ranked: Sequence[Arm], scored: score.Score, title: dict[str, str]
) -> Verdict:
    """Speak of the best and the second, who both have figures."""
    first, second = ranked[0], ranked[1]
    best, next_ = _belief(first), _belief(second)
    name, other = title[first.name], title[second.name]
    worth, behind = _worth(best.value, scored), _worth(next_.value, scored)
    sure, cost = words.sure(best.p_best), _worth(best.loss, scored)
    leads = (
        f"about {worth} {_per()} after allowing for luck ({_brought(first, scored)})"
    )
    fine = [arm for arm in ranked if _belief(arm).loss < FINE * best.value]
    if best.p_best >= CLEAR:
        sentence = (
            f"{name} is the best, {sure} sure: {leads}, against {behind} for {other}."
        )
        return Verdict(label=Label.CLEAR, sentence=sentence, winner=first.name)
    if len(fine) > 1:
        sentence = (
            f"{name} ({worth}) and {other} ({behind} {_per()}) are too close to call, "
            f"and either is fine: choosing the first is expected to cost {cost}."
        )
        return Verdict(label=Label.TOSS_UP, sentence=sentence, winner=first.name)
    share = f"{100 * best.loss / best.value:.1f}%"
    if best.p_best >= LIKELY:
        sentence = (
            f"{name} is very likely the best, {sure} sure: {leads}, against {behind} "
            f"for {other}; choosing it is expected to cost {cost} ({share})."
        )
    else:
        sentence = (
            f"{name} leads with {leads}, but {other} ({behind}) is too close to call: "
            f"{sure} sure, and choosing the first is expected to cost {cost} ({share})."
        )
    return Verdict(label=Label.LEADING, sentence=sentence, winner=first.name)


def _belief(arm: Arm) -> Belief:
    assert arm.belief is not None, "only ranked variants are spoken of"
    return arm.belief


def _undecided(sentence: str) -> Verdict:
    return Verdict(label=Label.UNDECIDED, sentence=sentence)


def _single(arm: Arm) -> str:
    """Say what the only variant brought."""
    counts, raised = arm.counts, arm.raised
    people = f"{counts.attempted:,} recipient{'' if counts.attempted == 1 else 's'}"
    if raised is None:
        back = "" if counts.gifts <= 0 else " that was not refunded"
        return f"No gift{back} yet from {people}; {counts.clicks:,} clicked."
    return (
        f"{words.cents(counts.money)} from {counts.donors:,} "
        f"donor{'' if counts.donors == 1 else 's'} among {people}: "
        f"{words.money_range(raised)} {_per()}."
    )


def _too_few(arms: Sequence[Arm], scored: score.Score, totals: Counts) -> str | None:
    """Say that there are fewer events than variants."""
    events, word = totals.donors, "donor"
    if scored.unit == "clicks":
        events, word = totals.clicks, "click"
    if events >= len(arms):
        return None
    plural = "" if events == 1 else "s"
    return f"The test cannot decide: {events} {word}{plural} for {len(arms)} variants."


def _means(scored: score.Score) -> str:
    return "money" if scored.in_dollars else scored.unit


def _brought(arm: Arm, scored: score.Score) -> str:
    """Say what came in, as it came in."""
    if scored.in_dollars and arm.raised is not None:
        return f"{words.dollars(arm.raised.value)} as raised"
    events = arm.counts.donors if scored.unit == "donors" else arm.counts.clicks
    return f"{THOUSAND * events / arm.counts.attempted:.2g} as counted"


def _worth(value: float, scored: score.Score) -> str:
    return words.dollars(value) if scored.in_dollars else f"{value:.2g} {scored.unit}"


def _per() -> str:
    return "per 1,000 recipients"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
