"""Whether the figures of a report may be believed, one line for each worry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mailer.core import balance, maturity
from mailer.pipeline.reporting import words
from mailer.pipeline.reporting.figures import Arm, Check, Counts, Head, Health

FEW: Final = 10  # donors of a variant
COMPLAINTS: Final = (0.001, 0.003)  # Gmail: better below .1 %, never .3 %
BOUNCES: Final = (0.02, 0.05)
MIN_RECIPIENTS: Final = 200  # below it one complaint is not a rate

Cells = Sequence[tuple[int, str, Counts]]  # variant, provider, what happened


def checks(
    *, head: Head, arms: Sequence[Arm], totals: Counts, cells: Cells
) -> list[Check]:
    """Look at everything that could mislead a reader."""
    found = []
    if len(arms) > 1 and totals.attempted:
        found += [_split(arms), _acceptance(arms, cells)]
    if totals.attempted:
        found += [_maturity(head), _donors(arms, totals), _machines(arms, totals)]
        found += [
            _rate("complaints", totals.complaints, totals.attempted, COMPLAINTS),
            _rate(
                "bounces", totals.bounced + totals.returned, totals.attempted, BOUNCES
            ),
        ]
    return found + _unfinished(totals)


def _split(arms: Sequence[Arm]) -> Check:
    cells = [
        (arm.counts.recipients, min(arm.counts.attempted, arm.counts.recipients))
        for arm in arms
    ]
    p = balance.uneven(cells)
    if p is not None and p < balance.ALARM:
        return Check(
            name="split",
            health=Health.BAD,
            sentence="Variants were not sent to equal shares of their people "
            f"({words.p_value(p)}): find out why before comparing them.",
        )
    return Check(
        name="split",
        health=Health.GOOD,
        sentence="Every variant went to the same share of its people.",
    )


def _acceptance(arms: Sequence[Arm], cells: Cells) -> Check:
    p = balance.uneven([(arm.counts.attempted, arm.counts.sent) for arm in arms])
    if p is not None and p < balance.ALARM:
        return Check(
            name="acceptance",
            health=Health.BAD,
            sentence="Providers accepted some variants more often than others "
            f"({words.p_value(p)}): delivery, not the message, may decide.",
        )
    positions = [arm.position for arm in arms]
    tables: dict[str, list[tuple[int, int]]] = {}
    for provider in sorted({name for _, name, _ in cells}):
        own = {v: c for v, name, c in cells if name == provider}
        found = [own.get(position, Counts()) for position in positions]
        tables[provider] = [(one.attempted, one.sent) for one in found]
    odd = [
        name
        for name, p in balance.uneven_by_provider(tables).items()
        if p < balance.ALARM
    ]
    if odd:
        return Check(
            name="acceptance",
            health=Health.WATCH,
            sentence=f"Accepted unevenly between variants at {', '.join(odd)}.",
        )
    return Check(
        name="acceptance",
        health=Health.GOOD,
        sentence="Providers accepted all variants alike.",
    )


def _maturity(head: Head) -> Check:
    if head.maturity is None:
        return Check(
            name="maturity", health=Health.WATCH, sentence="Its age is unknown."
        )
    health = Health.WATCH if head.maturity < maturity.IMMATURE else Health.GOOD
    return Check(
        name="maturity",
        health=health,
        sentence=f"About {100 * head.maturity:.0f}% of the gifts are in, "
        f"{words.duration(head.hours)} after the send (an assumed curve).",
    )


def _donors(arms: Sequence[Arm], totals: Counts) -> Check:
    fewest = min((arm.counts.donors for arm in arms), default=0)
    health = Health.GOOD if fewest >= FEW else Health.WATCH
    if totals.donors == 0:
        return Check(
            name="donors", health=health, sentence="No gift has been recorded yet."
        )
    people = "donor" if totals.donors == 1 else "donors"
    sentence = f"{totals.donors:,} {people}"
    if len(arms) > 1:
        sentence += f", {fewest:,} in the smallest variant"
    return Check(name="donors", health=health, sentence=f"{sentence}.")


def _machines(arms: Sequence[Arm], totals: Counts) -> Check:
    p = balance.uneven(
        [
            (arm.counts.attempted, min(arm.counts.machine_clicks, arm.counts.attempted))
            for arm in arms
        ]
    )
    opens = totals.opens + totals.machine_opens
    if opens == 0 and totals.machine_clicks == 0:
        sentence = "No opens by machines were seen."
    else:
        sentence = (
            f"{totals.machine_opens:,} people were opened for by machines or privacy "
            f"proxies, {totals.machine_clicks:,} clicked for by scanners: not counted."
        )
    if p is not None and p < balance.ALARM:
        return Check(
            name="machines",
            health=Health.WATCH,
            sentence=f"{sentence} Scanner clicks differ between variants "
            f"({words.p_value(p)}): trust money more than clicks.",
        )
    return Check(name="machines", health=Health.GOOD, sentence=sentence)


def _rate(name: str, events: int, trials: int, bounds: tuple[float, float]) -> Check:
    share = events / trials
    health = Health.GOOD
    if trials >= MIN_RECIPIENTS:
        health = Health.WATCH if share > bounds[0] else health
        health = Health.BAD if share > bounds[1] else health
    return Check(
        name=name,
        health=health,
        sentence=f"{events:,} of {trials:,} recipients ({words.percent(share)}; "
        f"better below {words.percent(bounds[0])}).",
    )


def _unfinished(totals: Counts) -> list[Check]:
    found = []
    if totals.in_doubt > 0:
        found.append(
            Check(
                name="in doubt",
                health=Health.WATCH,
                sentence=f"{totals.in_doubt:,} without a reply to the last dot: "
                "not sent again, not counted as sent.",
            )
        )
    if totals.waiting > 0:
        found.append(
            Check(
                name="waiting",
                health=Health.WATCH,
                sentence=f"{totals.waiting:,} of {totals.recipients:,} "
                "recipients have not been served yet.",
            )
        )
    return found
