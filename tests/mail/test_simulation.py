from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core import bounce, delivery
from mailer.core.bounce import Action, Answered, Lost
from mailer.core.delivery import Reply, Stage
from mailer.core.provider import OTHER, Rate, Source, Tls
from mailer.mail import reply, scenario, simulation, sink, smtp
from mailer.mail.place import Count, Place
from mailer.mail.scenario import Part, Scenario
from mailer.mail.session import Session
from mailer.mail.share import Share
from mailer.mail.simulation import Keeping

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
DATA = b"Message-ID: <b1.2.x@example.org>\r\nSubject: Hi\r\n\r\nHi\r\n"
ALL = Share(1.0)


def place(part: Part) -> Place:
    return Place(part=part, count=Count(provider=part.name))


def shipped(name: str) -> Scenario:
    return settings.read(scenario.path(name), Scenario)


@asynccontextmanager
async def played(
    play: Scenario, keeping: Keeping | None = None
) -> AsyncIterator[tuple[simulation.Simulation, Source]]:
    with simulation.Simulation(play, keeping or Keeping(), now=lambda: NOON) as host:
        async with sink.serving(host) as port:
            yield host, Source(name="sink", port=port, tls=Tls.NONE, helo="mailer.test")


async def send(session: Session, to: str) -> Answered | Lost:
    return await session.send("team@example.org", to, DATA)


@pytest.mark.parametrize("text", ["0%", "0.5 %", "100%"])
def test_a_share_is_a_percentage(text: str) -> None:
    assert 0 <= Share.parse(text).value <= 1


@pytest.mark.parametrize("text", ["101%", "5", "-1%", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no share"):
        Share.parse(text)


def test_a_share_holds_that_part_of_all_addresses_and_always_the_same() -> None:
    share, people = Share(0.1), [f"p{number}@example.net" for number in range(10_000)]
    found = [one for one in people if share.has(one, "unknown")]
    assert 850 < len(found) < 1150
    assert found == [one for one in people if share.has(one, "unknown")]
    assert found != [one for one in people if share.has(one, "full")]


def test_greylisting_accepts_the_second_try_when_it_is_late_enough() -> None:
    other = place(Part(name=OTHER, greylisted=ALL, greylisting=timedelta(seconds=60)))
    answers = [other.rcpt("a@b.test", messages=0, now=now).reply for now in (0, 59, 60)]
    assert [answer[:3] for answer in answers] == ["450", "450", "250"]
    assert other.count.greylisted == 2


def test_a_provider_grants_its_burst_and_then_its_rate() -> None:
    google = place(Part(name="google", rate=Rate(10), burst=5))
    granted = [
        google.rcpt("a@b.test", messages=0, now=step / 100).reply.startswith("250")
        for step in range(500)
    ]
    assert granted[:6] == [True] * 5 + [False]
    assert sum(granted) == pytest.approx(5 + 5 * 10, abs=1)


def test_who_does_not_listen_is_banned_for_a_while() -> None:
    part = Part(
        name="yahoo", rate=Rate(1), burst=1, patience=2, penalty=timedelta(seconds=60)
    )
    yahoo = place(part)
    answers = [yahoo.rcpt("a@b.test", messages=0, now=0.0).reply for _ in range(5)]
    assert answers == ["250 2.1.5 OK"] + [part.says.slow] * 3 + [part.says.banned]
    assert yahoo.rcpt("a@b.test", messages=0, now=59).reply == part.says.banned
    assert yahoo.rcpt("a@b.test", messages=0, now=60).reply == "250 2.1.5 OK"


async def test_a_provider_closes_after_its_number_of_messages() -> None:
    play = Scenario(provider={OTHER: Part(name=OTHER, messages=2)})
    async with played(play) as (_, source):
        session = await smtp.connect(source)
        for _ in range(2):
            assert isinstance(await send(session, "a@b.test"), Answered)
        end = await send(session, "a@b.test")
        assert isinstance(end, Answered)
        assert (end.stage, end.reply.code) == (Stage.RCPT, 421)
        assert not session.is_open
        await session.close()


async def test_a_provider_has_only_so_many_connections() -> None:
    play = Scenario(provider={OTHER: Part(name=OTHER, connections=1)})
    async with played(play) as (host, source):
        first, second = await smtp.connect(source), await smtp.connect(source)
        await send(first, "a@b.test")
        end = await send(second, "b@b.test")
        assert isinstance(end, Answered)
        assert end.reply.code == 421
        assert isinstance(await send(first, "c@b.test"), Answered)
        await first.quit()
        await second.quit()
        assert (host.counts[0].crowded, host.counts[0].most_connections) == (1, 1)


async def test_each_domain_meets_its_own_provider() -> None:
    unknown = Part(name="strict", domains=("strict.test",), unknown=ALL)
    async with played(Scenario(provider={"strict": unknown})) as (host, source):
        session = await smtp.connect(source)
        refused = await send(session, "a@STRICT.test")
        taken = await send(session, "a@anything.test")
        await session.quit()
        assert isinstance(refused, Answered)
        assert isinstance(taken, Answered)
        assert (refused.reply.code, taken.reply.code) == (550, 250)
        assert {one.provider: (one.unknown, one.accepted) for one in host.counts} == {
            "strict": (1, 0),
            OTHER: (0, 1),
        }


async def test_what_is_taken_is_recorded_even_when_it_is_never_answered(
    tmp_path: Path,
) -> None:
    record = tmp_path / "arrived.jsonl"
    play = Scenario(provider={OTHER: Part(name=OTHER, dropped=ALL)})
    keeping = Keeping(record=record, is_durable=True, save=tmp_path / "mail")
    async with played(play, keeping) as (_, source):
        session = await smtp.connect(source)
        end = await send(session, "a@b.test")
        await session.close()
    assert isinstance(end, Lost)
    assert end.stage is Stage.DOT
    assert [json.loads(line) for line in record.read_text().splitlines()] == [
        {
            "at": "2026-10-20T12:00:00+00:00", "provider": OTHER,
            "sender": "team@example.org", "recipient": "a@b.test",
            "message_id": "<b1.2.x@example.org>", "size": len(DATA),
        }
    ]  # fmt: skip
    assert (tmp_path / "mail" / "000001-a@b.test.eml").read_bytes() == DATA


async def test_a_connection_that_breaks_in_the_body_is_only_broken_once() -> None:
    play = Scenario(provider={OTHER: Part(name=OTHER, broken=ALL)})
    async with played(play) as (host, source):
        session = await smtp.connect(source)
        assert isinstance(await send(session, "a@b.test"), Lost)
        await session.close()
        session = await smtp.connect(source)
        assert isinstance(await send(session, "a@b.test"), Answered)
        await session.quit()
        assert (host.counts[0].broken, host.counts[0].accepted) == (1, 1)


@pytest.mark.parametrize("name", ["default", "smooth"])
def test_a_shipped_scenario_loads(name: str) -> None:
    assert OTHER in shipped(name).provider


def test_a_scenario_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(errors.NotFound, match="default, demo, smooth"):
        scenario.path("calm")


def test_a_domain_has_one_provider() -> None:
    with pytest.raises(ValueError, match="belongs to a and to b"):
        Scenario(
            provider={name: Part(name=name, domains=("x.test",)) for name in ("a", "b")}
        )


RULES = bounce.Rules(
    rules=tuple(
        settings.read(
            settings.shipped(settings.BOUNCES), settings.Bounces
        ).rule.values()
    )
)
MEANS: dict[str, Callable[[bounce.Verdict], bool]] = {
    "unknown": lambda verdict: verdict.action is Action.SUPPRESS,
    "full": lambda verdict: isinstance(verdict.outcome, delivery.Deferral),
    "slow": lambda verdict: verdict.action in {Action.CUT, Action.SUSPEND,
                                               Action.SINGLE, Action.RETRY},
    "banned": lambda verdict: isinstance(
        verdict.outcome, (delivery.Throttled, delivery.Deferral)
    ),
    "refused": lambda verdict: verdict.action is not Action.SUPPRESS,
    "accepted": lambda verdict: isinstance(verdict.outcome, delivery.Accepted),
}  # fmt: skip


@pytest.mark.parametrize("name", shipped("default").provider)
@pytest.mark.parametrize("word", MEANS)
def test_what_the_simulated_providers_say_is_understood(name: str, word: str) -> None:
    part = shipped("default").provider[name]
    text: str = getattr(part.says, word)
    (said,) = reply.Reader().feed((text + "\n").encode())
    stage = Stage.DOT if word in {"refused", "accepted"} else Stage.RCPT
    assert isinstance(said, Reply)
    verdict = bounce.classify(said, stage=stage, provider=part.name, rules=RULES)
    assert MEANS[word](verdict), verdict
