"""From counters to figures: pure, so that a report can be made again from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from mailer.core import maturity, score, stats
from mailer.pipeline.reporting import checking, comparing, speaking
from mailer.pipeline.reporting.figures import (
    THOUSAND,
    Arm,
    Belief,
    ByProvider,
    Counts,
    Head,
    Hour,
    Method,
    Range,
    Rates,
    Report,
)

Row = Mapping[str, Any]

WINDOW: Final = 168  # hours that the series shows: a week, as attribution does
FEW: Final = 10  # donors, below which an interval is mostly assumption
TOP_GIFT: Final = 0.25  # of a variant's money


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The rows that a report is made of."""

    head: Head
    variants: Sequence[Row]
    by_provider: Sequence[Row]
    by_hour: Sequence[Row]
    gifts: Sequence[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gifts:
    """How the gifts to one variant spread; nothing where the rows do not tell all."""

    donors: int | None = None  # whose gifts were not refunded whole
    squares: float | None = None
    largest: Decimal | None = None


def judge(given: Given) -> Report:
    """Compute every figure, and what they come to."""
    cells = [
        (row["variant"], row["provider"], Counts.read(row)) for row in given.by_provider
    ]
    counts = {
        row["position"]: Counts.total(c for v, _, c in cells if v == row["position"])
        for row in given.variants
    }
    gifts = _gifts(given.gifts, counts)
    tallies = {
        position: tally
        for position, found in counts.items()
        if (tally := _tally(found, gifts[position])) is not None
    }
    totals = Counts.total(c for _, _, c in cells)
    seed = given.head.number
    scored = score.score(list(tallies.values()), seed=seed) if tallies else None
    arms = _arms(given.variants, counts, gifts, tallies, scored)
    lifts = comparing.lifts(arms, tallies, given.head)
    providers = _providers(cells)
    head = _aged(given)
    checks = checking.checks(head=head, arms=arms, totals=totals, cells=cells)
    return Report(
        head=head,
        verdict=speaking.verdict(arms, scored, checks, totals),
        totals=totals,
        rates=Rates.of(totals),
        raised=_raised_in_all(tallies),
        arms=tuple(arms),
        lifts=tuple(lifts),
        providers=tuple(providers),
        hours=tuple(_hours(given, counts)),
        health=tuple(checks),
        method=_method(scored, list(tallies.values()), seed),
    )


def _gifts(rows: Sequence[Row], counts: Mapping[int, Counts]) -> dict[int, Gifts]:
    """Return the spread of gifts of each variant, where the rows tell all of it."""
    found = {row["variant"]: row for row in rows}
    spread: dict[int, Gifts] = {}
    for position, count in counts.items():
        row = found.get(position)
        spread[position] = (
            Gifts(
                donors=row["donors"],
                squares=float(row["squares"]),
                largest=row["largest"],
            )
            if row is not None and row["money"] == count.money
            else Gifts()
        )
    return spread


def _tally(counts: Counts, gifts: Gifts) -> stats.Tally | None:
    """Return what statistics may use, or None where the counters do not fit.

    They do not while an event is counted and its delivery is not settled yet, or
    where refunds took all that donors gave.
    """
    n = counts.attempted
    donors = counts.donors if gifts.donors is None else gifts.donors
    if n < 1 or not 0 <= donors <= n or counts.clicks > n:
        return None
    if (counts.money > 0) != (donors > 0):
        return None
    return stats.Tally(
        recipients=n,
        clickers=max(0, counts.clicks),
        donors=donors,
        money=float(counts.money),
        squares=gifts.squares,
    )


def _arms(
    variants: Sequence[Row],
    counts: Mapping[int, Counts],
    gifts: Mapping[int, Gifts],
    tallies: Mapping[int, stats.Tally],
    scored: score.Score | None,
) -> list[Arm]:
    """Return every variant, the best first, those without figures last."""
    order = list(tallies)
    raised = _raised(list(tallies.values()))
    beliefs = _beliefs(scored)
    control = min((row["position"] for row in variants), default=1)
    arms = []
    for row in variants:
        position = row["position"]
        at = order.index(position) if position in tallies else None
        found, largest = counts[position], gifts[position].largest
        arms.append(
            Arm(
                position=position,
                name=row["name"],
                subject=row["subject"],
                is_control=position == control and len(variants) > 1,
                counts=found,
                rates=Rates.of(found),
                raised=raised[at] if raised and at is not None else None,
                belief=beliefs[at] if beliefs and at is not None else None,
                largest=largest,
                squares=gifts[position].squares,
                flags=_flags(found, largest, at is not None),
            )
        )
    arms.sort(key=lambda arm: (-arm.belief.value if arm.belief else 1.0, arm.position))
    return _sensitive(arms, tallies, scored)


def _flags(counts: Counts, largest: Decimal | None, fits: bool) -> tuple[str, ...]:
    """Return what a reader should know before believing a row."""
    flags = []
    if counts.attempted and not fits:
        flags.append(
            "unsettled" if counts.money > 0 or not counts.donors else "refunds"
        )
    if 0 < counts.donors < FEW:
        flags.append("few donors")
    if largest is not None and counts.money > 0:
        share = float(largest / counts.money)
        if share > TOP_GIFT and counts.donors > 1:
            flags.append(f"top gift {100 * share:.0f}%")
    return tuple(flags)


def _sensitive(
    arms: list[Arm], tallies: Mapping[int, stats.Tally], scored: score.Score | None
) -> list[Arm]:
    """Flag a winner that wins by its largest gift alone."""
    if scored is None or not scored.in_dollars or len(tallies) < 2:
        return arms
    best = arms[0]
    tally = tallies[best.position]
    if best.largest is None or tally.squares is None or tally.donors < 2:
        return arms
    top = float(best.largest)
    less = {
        **tallies,
        best.position: replace(
            tally,
            donors=tally.donors - 1,
            money=tally.money - top,
            squares=max(0.0, tally.squares - top**2),
        ),
    }
    again = score.score(list(less.values()), seed=0)
    if again is None or list(tallies)[again.best] == best.position:
        return arms
    return [replace(best, flags=(*best.flags, "by one gift")), *arms[1:]]


def _raised(tallies: Sequence[stats.Tally]) -> list[Range] | None:
    """Return dollars per 1,000 as raised, with log intervals; None if nobody gave."""
    estimate = stats.money(tallies)
    if estimate is None:
        return None
    low, high = stats.means(estimate)
    found = []
    for at, tally in enumerate(tallies):
        raw = tally.money / tally.recipients
        found.append(
            Range(
                value=raw * THOUSAND,
                low=min(float(low[at]), raw) * THOUSAND,
                high=max(float(high[at]), raw) * THOUSAND,
            )
        )
    return found


def _raised_in_all(tallies: Mapping[int, stats.Tally]) -> Range | None:
    """Return dollars per 1,000 of all variants together."""
    if not tallies:
        return None
    kept = list(tallies.values())
    known = all(one.squares is not None for one in kept if one.donors)
    whole = stats.Tally(
        recipients=sum(one.recipients for one in kept),
        donors=sum(one.donors for one in kept),
        money=sum(one.money for one in kept),
        squares=sum(one.squares or 0.0 for one in kept) if known else None,
    )
    raised = _raised([whole])
    return raised[0] if raised else None


def _beliefs(scored: score.Score | None) -> list[Belief] | None:
    if scored is None:
        return None
    low80, high80 = scored.interval(0.80)
    low95, high95 = scored.interval(0.95)
    p_best, loss = scored.p_best, scored.loss
    return [
        Belief(
            value=float(scored.mean[at]) * THOUSAND,
            low80=float(low80[at]) * THOUSAND,
            high80=float(high80[at]) * THOUSAND,
            low95=float(low95[at]) * THOUSAND,
            high95=float(high95[at]) * THOUSAND,
            p_best=float(p_best[at]),
            loss=float(loss[at]) * THOUSAND,
        )
        for at in range(len(scored.mean))
    ]


# ── Providers and hours ─────────────────────────────────────────────────────


def _providers(cells: Sequence[tuple[int, str, Counts]]) -> list[ByProvider]:
    names = sorted({provider for _, provider, _ in cells})
    found = []
    for name in names:
        counts = Counts.total(c for _, provider, c in cells if provider == name)
        found.append(ByProvider(provider=name, counts=counts, rates=Rates.of(counts)))
    return sorted(found, key=lambda one: (-one.counts.recipients, one.provider))


def _hours(given: Given, counts: Mapping[int, Counts]) -> list[Hour]:
    """Return running totals of each variant, hour by hour, without gaps."""
    rows = {(row["variant"], row["hour"]): row for row in given.by_hour}
    busy = [row["hour"] for row in given.by_hour if row["sent"]]
    if not busy:
        return []
    first = min(busy)
    last = min(max(hour for _, hour in rows), first + timedelta(hours=WINDOW - 1))
    steps = int((last - first) / timedelta(hours=1)) + 1
    found = []
    for variant in given.variants:
        attempted = counts[variant["position"]].attempted
        sums = dict.fromkeys(("sent", "opens", "clicks", "donors"), 0)
        money = Decimal(0)
        for step in range(steps):
            row = rows.get((variant["position"], first + timedelta(hours=step)))
            if row is not None:
                sums = {name: value + row[name] for name, value in sums.items()}
                money += row["money"]
            found.append(
                Hour(
                    variant=variant["name"],
                    hours=step + 1,
                    **sums,
                    money=money,
                    per_thousand=float(money) * THOUSAND / attempted
                    if attempted
                    else None,
                )
            )
    return found


def _aged(given: Given) -> Head:
    """Add how old the sending is, and how much of its gifts that lets us expect."""
    head = given.head
    sent = [(row["hour"], row["sent"]) for row in given.by_hour if row["sent"] > 0]
    total = sum(number for _, number in sent)
    if not total:
        return head

    def age(hour: datetime) -> float:
        middle = hour + timedelta(minutes=30)
        if head.launched_at is not None:
            middle = max(middle, head.launched_at)
        return max(0.0, (head.as_of - min(middle, head.as_of)) / timedelta(hours=1))

    return replace(
        head,
        hours=sum(age(hour) * number for hour, number in sent) / total,
        maturity=sum(maturity.share(age(hour)) * n for hour, n in sent) / total,
    )


def _method(
    scored: score.Score | None, tallies: Sequence[stats.Tally], seed: int
) -> Method:
    if scored is None:
        return Method(score="", seed=seed)
    known = all(one.squares is not None for one in tallies if one.donors)
    return Method(
        score=scored.unit,
        stages=tuple(name for name, _ in scored.stages),
        tau=tuple(part.tau_mean for _, part in scored.stages),
        seed=seed,
        spread=stats.pooled_spread(tallies) if scored.in_dollars and known else None,
    )
