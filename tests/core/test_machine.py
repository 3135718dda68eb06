"""People and machines, by traces that were labelled by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from mailer.core import machine, tracking
from mailer.core.machine import Bursts, Seen
from mailer.core.tracking import Label, Visit

FOLDER = Path(__file__).parents[1] / "visits"
AGENTS = tomllib.loads((FOLDER / "agents.toml").read_text("utf-8"))
TEXT = (FOLDER / "traces.txt").read_text("utf-8")
SENT = datetime(2026, 10, 1, 12, tzinfo=UTC)
PREFETCH = "prefetch;prerender"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests, and what each of them is."""

    name: str
    seen: tuple[Seen, ...]
    labels: tuple[Label, ...]


def traces() -> Iterator[Trace]:
    for block in TEXT.split("\n: ")[1:]:
        head, *lines = block.strip().splitlines()
        name, _, provider = head.partition(" @")
        words = [line.split() for line in lines]
        yield Trace(
            name=name,
            seen=tuple(seen(one, n, provider) for n, one in enumerate(words)),
            labels=tuple(Label(one[6]) for one in words),
        )


def seen(words: list[str], number: int, provider: str) -> Seen:
    seconds, what, person, link, agent, network, _ = words
    visit = Visit(
        method="HEAD" if what.endswith("*") else "GET",
        agent=AGENTS[agent],
        ahead=PREFETCH if what.endswith("+") else "",
    )
    return Seen(
        id=UUID(int=number),
        at=SENT + timedelta(seconds=float(seconds)),
        is_click=what.startswith("click"),
        blast=1,
        subscriber=int(person),
        link=0 if link == "-" else int(link),
        agent=AGENTS[agent],
        network=network,
        provider=provider or "google",
        sent_at=SENT,
        reasons=tracking.label(visit)[1],
    )


TRACES = list(traces())


def labelled(given: tuple[Seen, ...]) -> tuple[Label, ...]:
    """Judge *given* as the loader does: what a later one tells counts, too."""
    bursts, more = Bursts(), {one.id: set(one.reasons) for one in given}
    for one in given:
        for id, reasons in bursts.see(one).items():
            more[id].update(reasons)
    return tuple(machine.judge(more[one.id]) for one in given)


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_a_trace_is_labelled_as_by_hand(trace: Trace) -> None:
    assert labelled(trace.seen) == trace.labels


def test_there_are_traces_enough_of_each_kind() -> None:
    found = [label for trace in TRACES for label in trace.labels]

    assert len(TRACES) >= 60
    assert min(found.count(label) for label in Label) >= 3
    used = {word for line in TEXT.splitlines() for word in line.split()}
    assert AGENTS.keys() <= used


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_what_is_judged_twice_is_judged_alike(trace: Trace) -> None:
    bursts = Bursts()
    first = [bursts.see(one) for one in trace.seen]

    again = bursts.see(trace.seen[-1])  # a batch that failed is tried again

    assert set(again) <= {id for one in first for id in one}


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ((), Label.HUMAN),
        (("google_proxy",), Label.HUMAN),
        (("apple_mpp",), Label.UNKNOWN),
        (("fast",), Label.HUMAN),
        (("fast", "gateway"), Label.MACHINE),
        (("apple_mpp", "burst"), Label.MACHINE),
        (("google_proxy", "scanner_network"), Label.MACHINE),
        (("a_rule_of_later",), Label.MACHINE),
    ],
)
def test_one_hard_reason_or_two_soft_ones_make_a_machine(
    reasons: tuple[str, ...], expected: Label
) -> None:
    assert machine.judge(reasons) is expected


def test_the_rules_of_now_forget_what_they_do_not_know_and_keep_what_was_seen() -> None:
    old = ("method", "prefetch", "an_old_rule", "burst")

    assert machine.again(AGENTS["curl"], old) == ("method", "prefetch", "scanner_curl")
    assert machine.again(AGENTS["chrome"], ()) == ()


def test_what_is_remembered_has_a_bound() -> None:
    bursts = Bursts()
    for number in range(machine.MOST + 10):
        bursts.see(
            Seen(
                id=UUID(int=number),
                at=SENT,
                is_click=True,
                blast=1,
                subscriber=number,
                agent="x",
                network=str(number),
            )
        )

    assert len(bursts._people) == len(bursts._networks) == machine.MOST
