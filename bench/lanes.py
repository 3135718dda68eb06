"""The controller of a lane against providers whose hidden limits change while it sends.

Twelve scenarios (bench/scenarios, files as `mailer sink` plays them) are run in virtual
time through the product's own pure code: controller, throttle, rules of replies.
Beside it are a fixed rate and snap-back rules, both given the true limits of the first
phase, and an oracle that knows the hidden limits at each moment.  Counted from the
tenth minute on: at least 90 % of what the oracle gets, and less than 1 % of replies
about the lane, in every scenario.

    python bench/lanes.py --hours 6
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mailer import settings
from mailer.core import lane
from mailer.core.bounce import Rules
from mailer.core.provider import Provider, Source
from mailer.mail.place import Count, Place
from mailer.mail.scenario import Part, Scenario
from rig import given
from rig.given import Figures
from rig.policies import Controlled, Fixed, Oracle, SnapBack
from rig.virtual import Policy, Sending

SHARE = 0.9  # of the oracle
DEFERRED = 0.01  # of all tries: replies about the lane
WARM = 600.0  # seconds in which nothing is known yet

FOLDER = Path(__file__).parent / "scenarios"
POLICIES = ("controller", "fixed", "snap-back", "oracle")


def main() -> None:
    """Measure."""
    names = sorted(file.stem for file in FOLDER.glob("*.toml"))
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--hours", type=float, default=6.0)
    options.add_argument("--only", nargs="+", choices=names, default=names)
    options.add_argument("--seed", type=int, default=1, help="of the jitter")
    options.add_argument(
        "--stretch", type=float, default=1.0, help="the times at which limits change"
    )
    options.add_argument("--changes", action="store_true", help="tell each of the lane")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    if asked.hours * 3600 <= WARM:
        options.error("--hours: more than the ten minutes that are not counted")
    found = measure(asked)
    given.shown(found, told(found), as_json=asked.json)
    sys.exit(0 if found["reached"] else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Play each scenario to each policy."""
    rules = Rules(
        rules=tuple(
            settings.read(settings.shipped(settings.BOUNCES), settings.Bounces)
            .rule.values()
        )
    )  # fmt: skip
    known = settings.read(settings.shipped(settings.PROVIDERS), settings.Providers)
    begun = time.process_time()
    rows = [
        played(name, known.provider, rules, asked) for name in asked.only
    ]  # fmt: skip
    return {
        "hours": asked.hours,
        "seconds": round(time.process_time() - begun, 1),
        "scenarios": rows,
        "reached": all(row["reached"] for row in rows),
    }


def played(
    name: str,
    known: Mapping[str, Provider],
    rules: Rules,
    asked: argparse.Namespace,
) -> Figures:
    """Play one scenario to all."""
    file = FOLDER / f"{name}.toml"
    play = settings.read(file, Scenario)
    (part,) = (stretched(one, asked.stretch) for one in play.provider.values())
    tallies, changes = {}, []
    for policy in POLICIES:
        place = Place(part=part, count=Count(provider=part.name))
        chosen = choose(policy, place, known[part.name], asked.seed)
        sending = Sending(place, chosen, rules=rules, warm=WARM)
        tallies[policy] = sending.run(asked.hours * 3600)
        if isinstance(chosen, Controlled):
            changes = [line(change) for change in chosen.changes]
    best = tallies["oracle"].accepted
    shares = {policy: tally.accepted / best for policy, tally in tallies.items()}
    ours = tallies["controller"]
    return {
        "scenario": name,
        "about": file.read_text("utf-8").partition("\n")[0].removeprefix("# "),
        "oracle": best,
        "share": {policy: round(shares[policy], 4) for policy in POLICIES},
        "deferred": {policy: round(tallies[policy].deferred, 5) for policy in POLICIES},
        "reached": shares["controller"] >= SHARE and ours.deferred < DEFERRED,
        "changes": changes if asked.changes else len(changes),
    }


def stretched(part: Part, times: float) -> Part:
    """Let the limits change so many times as late: one good hour is no proof."""
    phases = tuple(replace(one, at=times * one.at) for one in part.phase)
    return replace(part, phase=phases)


def choose(policy: str, place: Place, known: Provider, seed: int) -> Policy:
    """Return a policy; those that cannot learn are told how the provider begins."""
    limits = lane.limits(known, Source(name="bench"))
    part = place.part
    if policy == "controller":
        return Controlled(limits, messages=known.messages, seed=seed)
    if policy == "oracle":
        return Oracle(place, limits, known.messages)
    rate, connections = first(part, limits)
    made = SnapBack if policy == "snap-back" else Fixed
    return made(rate, connections, min(known.messages, part.messages or 10**6))


def first(part: Part, limits: lane.Limits) -> tuple[float, int]:
    """Return the true limits when the run begins, as far as the settings allow them."""
    rate = part.trust.start if part.trust else part.rate
    connections = part.connections or limits.connections
    return (
        min(rate.per_second, limits.ceiling),
        min(connections, limits.connections),
    )


def line(change: lane.Transition) -> str:
    """Tell a change of the lane in a line."""
    before, after = (60 * rate for rate in change.rate)
    minutes = (change.at - given.NOW).total_seconds() / 60
    return (
        f"{minutes:7.1f} min  {change.cause:10}  {change.after:11}  "
        f"{before:6.0f} -> {after:6.0f}/min  {change.connections[1]:3} connections  "
        f"{(change.reply or '')[:60]}"
    )


def told(found: Figures) -> str:
    """Make the table."""
    heads = "".join(f"{policy:>18}" for policy in POLICIES[:3])
    lines = [f"{'scenario':24}{'oracle/h':>10}{heads}"]
    for row in found["scenarios"]:
        cells = "".join(
            f"{100 * share:10.1f} % {100 * row['deferred'][policy]:4.1f} %"
            for policy, share in row["share"].items()
            if policy != "oracle"
        )
        an_hour = row["oracle"] / (found["hours"] - WARM / 3600)
        mark = "" if row["reached"] else "  <- not reached"
        lines.append(f"{row['scenario']:24}{an_hour:10,.0f}{cells}{mark}")
        if isinstance(row["changes"], list):
            lines += [f"    {change}" for change in row["changes"]]
    lines += [
        "",
        "of what the oracle gets, and the share of tries that the provider refused as "
        "too fast or too many",
        f"{found['hours']:g} simulated hours each, in {found['seconds']:g} s of CPU",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
