"""How much more each variant brought: lifts, with intervals that bear to be looked at.

Before the post-mortem they are valid at any look; at that instant, which was fixed
before the launch, Dunnett's and Šidák's narrower ones hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from mailer.core import contrast, score, sequence, stats
from mailer.pipeline.reporting.figures import Arm, Head, Lift

POST_MORTEM: Final = timedelta(days=7)  # after launch: the second fixed instant
MEAN: Final = "mean of all"

# Share of recipients planned to react: the clock of the peek-safe intervals.  Any
# figure is valid that is fixed before the launch; these make them tightest.
PLANNED: Final = {"dollars": 0.001, "donors": 0.001, "clicks": 0.006}


def lifts(
    arms: Sequence[Arm], tallies: Mapping[int, stats.Tally], head: Head
) -> list[Lift]:
    """Compare variants: with the mean of all where there are three, and the control."""
    if len(tallies) < 2:
        return []
    kept = list(tallies.values())
    measure, estimate, events = _measured(kept)
    if estimate is None:
        return []
    names = {arm.position: arm.name for arm in arms}
    control = next((arm for arm in arms if arm.is_control), None)
    order = list(tallies)
    # Who was chosen, not who was reached so far: a plan that moves is no plan.
    chosen = {arm.position: arm.counts.recipients for arm in arms}
    planned = PLANNED[measure] * np.array([float(max(chosen[j], 1)) for j in order])
    late = head.launched_at is not None and head.as_of >= head.launched_at + POST_MORTEM
    found: list[Lift] = []

    def add(lifts: stats.Lifts, reference: str, enough: list[float | None]) -> None:
        claims = _fixed(lifts, estimate, order, control) if late else None
        for at, position in enumerate(lifts.positions):
            one = stats.Lifts(
                positions=(position,),
                log=lifts.log[at : at + 1],
                error=lifts.error[at : at + 1],
            )
            information = enough[at]
            if claims is not None:
                p, reach = float(claims.p[at]), claims.critical
            elif information is not None:
                alpha = stats.ALPHA / len(lifts)
                reach = sequence.multiplier(information, alpha=alpha)
                p = float(sequence.p_values(one, information, contrasts=len(lifts))[0])
            else:
                continue
            low, high = one.bounds(reach)
            found.append(
                Lift(
                    name=names[order[position]],
                    reference=reference,
                    measure=measure,
                    ratio=float(one.ratio[0]),
                    low=float(low[0]),
                    high=float(high[0]),
                    p=p,
                    is_peek_safe=claims is None,
                    method=_name_of(reference) if claims else "always valid",
                )
            )

    if len(order) > 2:
        add(stats.against_mean(estimate), MEAN, _clock_of_mean(events, planned))
    if control is not None and control.position in tallies:
        at = order.index(control.position)
        lifts = stats.against(estimate, at)
        add(lifts, control.name, _clock(lifts, at, events, planned))
    return found


def _name_of(reference: str) -> str:
    return "Šidák" if reference == MEAN else "Dunnett"


def _measured(
    tallies: Sequence[stats.Tally],
) -> tuple[str, stats.Estimate | None, stats.Floats]:
    """Return the deepest measure that has events enough, its estimate, its events."""
    recipients = stats.column(tallies, "recipients")
    donors, clickers = stats.column(tallies, "donors"), score.clicked(tallies)
    if donors.sum() >= 2:
        return "dollars", stats.money(tallies), donors
    if clickers.sum() > 0:
        return "clicks", stats.rate(recipients, clickers), clickers
    return "clicks", None, clickers


def _clock(
    lifts: stats.Lifts, control: int, events: stats.Floats, planned: stats.Floats
) -> list[float | None]:
    """Return how far each contrast has come; None where too little has happened."""
    return [
        float((events[j] + events[control]) / (planned[j] + planned[control]))
        if events[j] + events[control] >= sequence.LEAST_EVENTS
        else None
        for j in lifts.positions
    ]


def _clock_of_mean(events: stats.Floats, planned: stats.Floats) -> list[float | None]:
    enough = events.sum() >= sequence.LEAST_EVENTS * len(events) / 2
    information = float(events.sum() / planned.sum()) if enough else None
    return [information] * len(events)


def _fixed(
    lifts: stats.Lifts,
    estimate: stats.Estimate | None,
    order: Sequence[int],
    control: Arm | None,
) -> contrast.Claims:
    """Return the claims of the post-mortem: an instant fixed before the launch."""
    if len(lifts) == len(order) or control is None or estimate is None:
        return contrast.sidak(lifts.p)
    return contrast.dunnett(estimate, order.index(control.position))
