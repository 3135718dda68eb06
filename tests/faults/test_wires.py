"""Wires that are cut and servers that stammer: who has it, who gets it later (F5, F7).

Only silence after the final dot is in doubt (facts: sending.md section 5).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer.store import database
from tests import given
from tests.faults import promises, stage
from tests.faults.oracle import oracle
from tests.faults.promises import Expected

PEOPLE = 500
# What each does, and where those must end that meet it.
CUT = {
    ("mail", "reset"): {"sent"},
    ("rcpt", "half-close"): {"sent"},
    ("data", "reset"): {"sent"},
    ("data", "hang-up"): {"sent"},
    ("body", "reset"): {"sent", "in_doubt"},  # body and dot leave us in one write
    ("dot", "reset"): {"in_doubt"},
    ("dot", "hang-up"): {"in_doubt"},
    ("dot", "half-close"): {"in_doubt"},
    ("dot", "answer-reset"): {"sent"},
}
STAMMER = {
    ("connect", "drip"): {"sent"},
    ("rcpt", "drip"): {"sent"},
    ("dot", "drip"): {"sent"},
    ("rcpt", "chatter"): {"sent"},
    ("dot", "chatter"): {"sent"},
    ("rcpt", "shout"): {"sent"},
    ("dot", "shout"): {"in_doubt"},
}
Cases = dict[tuple[str, str], set[str]]


def scenario(cases: Cases) -> str:
    """Have each trouble for some addresses, once; before RCPT for two connections."""
    return "".join(
        f'[[trouble]]\nat = "{at}"\ndoes = "{does}"\n'
        + (
            "times = 2\n"
            if at in {"connect", "mail"}
            else 'share = "0.8%"\ntimes = 1\n'
        )
        for at, does in cases
    )


@pytest.mark.timeout(90)
@pytest.mark.parametrize("cases", [CUT, STAMMER], ids=["cut", "stammer"])
async def test_only_who_was_taken_without_an_answer_is_in_doubt(
    cases: Cases, db: database.Pool, database_url: str, tmp_path: Path
) -> None:
    name = await stage.launched(db, PEOPLE)
    async with oracle(tmp_path, scenario(cases)) as book:
        house = await stage.made(tmp_path, database_url, book)
        async with stage.working(house) as workers:
            await stage.finished(db, PEOPLE)
            await stage.stopped(workers)

    states = await given.states(db, name)
    doubted = promises.having(states, "in_doubt")
    # What broke may be noticed there after its successor has come.
    expected = Expected(
        people=PEOPLE, doubts=len(doubted), connections=2 * stage.CONNECTIONS
    )
    await promises.kept(db, name, book, expected)
    met = [one for one in book.steps if one.trouble is not None]
    assert {(one.step, one.trouble) for one in met} == set(cases)
    for address, one in {one.recipient: one for one in met if one.recipient}.items():
        # A second try may have met another one: the last decides.
        assert states[address] in cases[one.step, str(one.trouble)], one
    cut = {one.recipient for one in met if one.step in {"body", "dot"}}
    assert doubted <= cut
    # What ends before the dot is no attempt.
    assert await given.rows(db, "SELECT max(attempts) FROM delivery") == [(1,)]
