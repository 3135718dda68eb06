import re
from pathlib import Path

import pytest

from mailer import errors
from mailer.core import blast, delivery
from mailer.core.blast import Move, State

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def drawn(heading: str) -> set[tuple[str, str]]:
    """Return the arrows of the chart under *heading*."""
    chart = PAGE.read_text("utf-8").split(f"## {heading}")[1].split("```")[1]
    return set(re.findall(r"^ +(\w+) --> (\w+)", chart, re.MULTILINE))


def test_the_page_draws_exactly_the_allowed_moves_of_a_blast() -> None:
    allowed = {
        (before.value, leads.value)
        for befores, leads in blast.MOVES.values()
        if leads is not None
        for before in befores
    }
    resumes = {("paused", before.value) for before in blast.MOVES[Move.PAUSE][0]}

    assert drawn("A blast") == allowed | resumes


def test_the_page_draws_exactly_what_a_delivery_may_become() -> None:
    allowed = {
        (before.value, after.value)
        for before in delivery.State
        for after in delivery.State
        if delivery.may_become(before, after)
    }

    assert drawn("A delivery") == allowed


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("move", list(Move))
def test_a_move_leads_where_the_table_says_or_is_a_conflict(
    state: State, move: Move
) -> None:
    allowed, leads = blast.MOVES[move]
    resumes = State.SENDING if state is State.PAUSED else None

    if state in allowed:
        led = blast.after(move, state=state, resumes=resumes, name="x")
        assert led == (leads or State.SENDING)
    else:
        with pytest.raises(errors.Conflict, match=f"blast x is {state}: cannot {move}"):
            blast.after(move, state=state, resumes=resumes, name="x")


def test_an_ended_blast_is_left_only_when_a_person_resends_what_is_in_doubt() -> None:
    left = {
        (move, before)
        for move, (befores, _) in blast.MOVES.items()
        for before in befores
        if before in blast.ENDED
    }

    assert left == {(Move.RESEND, State.DONE)}


def test_nothing_goes_out_unproofed_or_unapproved() -> None:
    assert blast.MOVES[Move.APPROVE][0] == (State.PROOFED,)
    assert set(blast.MOVES[Move.SCHEDULE][0]) == {State.APPROVED, State.SCHEDULED}
    assert blast.MOVES[Move.LAUNCH][0] == (State.SCHEDULED,)


@pytest.mark.parametrize(
    ("text", "expected"), [("20%", 0.2), ("0%", 0.0), ("100 %", 1.0), ("0.5%", 0.005)]
)
def test_a_share_is_read(text: str, expected: float) -> None:
    assert blast.share(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["20", "101%", "-1%", "a fifth", ""])
def test_what_is_no_share_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='write "20%"'):
        blast.share(text)


def test_a_variant_takes_from_its_blast_what_it_does_not_say() -> None:
    spec = blast.Spec(
        name="eoq",
        topic="fundraising",
        segment="everyone",
        template="appeal",
        from_="Team <team@example.org>",
        variant=(
            blast.Variant(name="a", subject="Hours left"),
            blast.Variant(name="b", subject="Hey", template="deadline"),
        ),
    )

    assert [(arm.subject, arm.template, arm.from_) for arm in spec.variants] == [
        ("Hours left", "appeal", "Team <team@example.org>"),
        ("Hey", "deadline", "Team <team@example.org>"),
    ]


def test_every_fault_of_a_blast_is_named_at_once() -> None:
    spec = blast.Spec(
        name="End of quarter!",
        topic="Fund raising",
        segment="everyone",
        template="appeal",
        from_="Team <team@example.org>",
        expires_at="midnight",
        variant=(blast.Variant(name="a"), blast.Variant(name="a")),
        experiment=blast.Experiment(
            slice="a fifth",
            wait="soon",
            method=blast.Method.HALVING,
            guard={"unsubscribe": "0.5%"},
        ),
    )

    problems = blast.check(spec, file="blasts/eoq.toml")

    assert [problem.key for problem in problems] == [
        "name",
        "topic",
        "variant.name",
        "expires_at",
        "experiment.slice",
        "experiment.wait",
        "experiment.guard",
        "experiment.method",
    ]


@pytest.mark.parametrize("state", [*blast.RUNNING, State.PAUSED, *blast.ENDED])
def test_a_blast_that_cannot_be_scheduled_any_more_says_what_to_do(
    state: State,
) -> None:
    with pytest.raises(errors.Conflict, match=r"cannot schedule; .*mailer blast "):
        blast.after(blast.Move.SCHEDULE, state=state, resumes=State.SENDING, name="eoq")
