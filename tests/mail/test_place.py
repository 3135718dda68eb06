from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core.provider import Rate, Source, Tls
from mailer.mail import simulation, sink, smtp
from mailer.mail.place import Count, Place
from mailer.mail.scenario import Part, Phase, Scenario, Trust
from mailer.mail.simulation import Keeping
from mailer.mail.sink import Then
from tests.mail.test_simulation import NOON, send

PHASED = """
[provider.yahoo]
rate = "2/s"
burst = 1
[[provider.yahoo.phase]]
at = "60s"
rate = "1/s"
[[provider.yahoo.phase]]
at = "90s"
closed = "421 4.3.2 Back soon"
[[provider.yahoo.phase]]
at = "100s"
closed = ""
"""


def place(part: Part) -> Place:
    return Place(part=part, count=Count(provider=part.name))


def taken(one: Place, *, begin: float, seconds: int, client: str = "a") -> int:
    """Ask ten times a second, and return how many were let in."""
    answers = [
        one.rcpt("x@y.test", messages=0, now=begin + step / 10, client=client)
        for step in range(seconds * 10)
    ]
    return sum(answer.reply.startswith("250") for answer in answers)


def test_limits_change_with_time_since_the_first_connection(tmp_path: Path) -> None:
    file = tmp_path / "play.toml"
    file.write_text(PHASED)
    yahoo = place(settings.read(file, Scenario).provider["yahoo"])
    assert yahoo.join("a", now=1000.0) is None
    assert taken(yahoo, begin=1000, seconds=60) == 120
    assert taken(yahoo, begin=1060, seconds=30) == 30
    assert taken(yahoo, begin=1090, seconds=10) == 0
    assert taken(yahoo, begin=1100, seconds=10) == 10
    assert yahoo.count.closed == 100


def test_phases_come_in_order() -> None:
    phases = tuple(Phase(at=timedelta(seconds=at)) for at in (2, 1))
    with pytest.raises(ValueError, match="in the order of their times"):
        Part(name="x", phase=phases)


@pytest.mark.parametrize(
    ("key", "value"),
    [("rat", "'1/s'"), ("latency", "'soon'"), ("rate", "'0/s'")],
)
def test_a_phase_that_cannot_be_read_is_told(
    key: str, value: str, tmp_path: Path
) -> None:
    file = tmp_path / "play.toml"
    file.write_text(f"[[provider.x.phase]]\nat = '1s'\n{key} = {value}")
    with pytest.raises(errors.Invalid, match=key):
        settings.read(file, Scenario)


def test_each_client_has_limits_of_its_own() -> None:
    yahoo = place(Part(name="yahoo", rate=Rate(1), burst=5, connections=1))
    assert [yahoo.join(name, now=0) for name in "ab"] == [None, None]
    crowded = yahoo.join("a", now=0)
    assert crowded is not None
    assert (crowded.reply, crowded.then) == (yahoo.part.says.crowded, Then.CLOSE)
    assert taken(yahoo, begin=0, seconds=1, client="a") == 5
    assert taken(yahoo, begin=0, seconds=1, client="b") == 5
    assert (yahoo.count.clients, yahoo.count.most_connections) == (2, 1)


def test_who_was_too_fast_is_answered_late_for_two_minutes() -> None:
    part = Part(
        name="x", rate=Rate(1), burst=1, latency=timedelta(seconds=1),
        tarpit=timedelta(seconds=4),
    )  # fmt: skip
    tar = place(part)
    delays = [tar.rcpt("a@b.test", messages=0, now=now).delay for now in (0, 0, 1, 120)]
    assert delays == [1, 1, 5, 1]
    assert tar.rcpt("a@b.test", messages=0, now=121, client="other").delay == 1


def test_trust_grows_by_good_use_only() -> None:
    trust = Trust(start=Rate(1), factor=Decimal(2), every=timedelta(seconds=100))
    part = Part(name="x", rate=Rate(3), burst=1, trust=trust)
    grown, idle, greedy = place(part), place(part), place(part)

    def rate(one: Place, now: float) -> float:
        return one.rate(one.account("a"), now)

    for second in range(100):
        grown.rcpt("a@b.test", messages=0, now=second, client="a")
    taken(greedy, begin=0, seconds=100)
    assert rate(idle, 0) == 1
    assert [rate(one, 100) for one in (grown, idle, greedy)] == [2, 1, 1]
    for step in range(200):
        grown.rcpt("a@b.test", messages=0, now=100 + step / 2, client="a")
    assert rate(grown, 200) == 3  # its rate is the end of it


def test_the_reply_names_the_client() -> None:
    words = place(Part(name="x", closed="421 4.7.0 {client} is too eager"))
    said = words.rcpt("a@b.test", messages=0, now=0, client="127.0.0.2")
    assert (said.reply, said.then) == ("421 4.7.0 127.0.0.2 is too eager", Then.CLOSE)


async def test_addresses_of_one_machine_are_different_clients() -> None:
    play = Scenario(provider={"other": Part(name="other", connections=1)})
    with simulation.Simulation(play, Keeping(), now=lambda: NOON) as host:
        async with sink.serving(host) as port:
            for address in ("127.0.0.2", "127.0.0.3"):
                source = Source(name="s", port=port, tls=Tls.NONE, address=address)
                session = await smtp.connect(source)
                await send(session, "a@b.test")
                await session.quit()
        assert host.counts[0].clients == 2
        assert host.counts[0].accepted == 2
