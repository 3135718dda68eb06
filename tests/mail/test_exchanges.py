from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mailer import errors
from mailer.core.exchange import Mx, Why
from mailer.mail import exchanges, resolver
from mailer.mail.exchanges import Exchanges, Found
from mailer.mail.resolver import Resolver
from mailer.settings import dns
from tests import nameserver
from tests.nameserver import Zone

ZONE: Zone = {
    "two.test MX": ["20 b.mx.test.", "10 A.mx.test."],
    "null.test MX": ["0 ."],
    "itself.test A": ["8.8.8.1"],
    "modern.test AAAA": ["2606:4700::1"],
    "empty.test TXT": ['"nothing"'],
}


class Clock:
    """A clock that stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def asking(
    zone: Zone = ZONE, *, clock: Clock | None = None, **served: Any
) -> Iterator[Exchanges]:
    with nameserver.serving(zone, **served) as server:
        asked = Resolver([dns.server(server)], is_caching=False)
        yield Exchanges(asked, clock=clock or Clock())


@pytest.mark.parametrize(
    ("domain", "hosts", "why"),
    [
        ("two.test", [(10, "a.mx.test"), (20, "b.mx.test")], None),
        ("TWO.test.", [(10, "a.mx.test"), (20, "b.mx.test")], None),
        ("null.test", [], Why.NULL),
        ("itself.test", [(0, "itself.test")], Why.IMPLICIT),
        ("modern.test", [(0, "modern.test")], Why.IMPLICIT),
        ("empty.test", [], Why.NONE),
        ("gone.test", [], Why.NONE),
    ],
)
async def test_the_dns_says_who_takes_the_mail_of_a_domain(
    domain: str, hosts: list[tuple[int, str]], why: Why | None
) -> None:
    with asking() as known:
        found = await known.find(domain)
    wanted = tuple(Mx(preference=number, host=host) for number, host in hosts)
    assert (found.hosts, found.why, found.trouble) == (wanted, why, "")


@pytest.mark.parametrize(
    ("domain", "ttl", "seconds"),
    [
        ("two.test", 300, 300),
        ("two.test", 5, 60),  # not for every message
        ("two.test", 86400, 3600),  # an hour at most
        ("gone.test", 300, 300),
        ("gone.test", 86400, 900),  # a typo may be corrected
        ("null.test", 86400, 900),
        ("empty.test", 86400, 900),
    ],
)
async def test_an_answer_holds_for_its_time_and_no_longer(
    domain: str, ttl: int, seconds: float
) -> None:
    clock, asked = Clock(), list[str]()
    with asking(clock=clock, ttl=ttl, asked=asked) as known:
        await known.find(domain)
        first = len(asked)
        clock.now += seconds - 1
        await known.find(domain)
        assert len(asked) == first
        clock.now += 1
        await known.find(domain)
        assert len(asked) == 2 * first


async def test_what_the_dns_cannot_say_is_asked_again_after_a_minute() -> None:
    clock, asked = Clock(), list[str]()
    with asking(clock=clock, refused="two.test", asked=asked) as known:
        found = await known.find("two.test")
        assert "DNS cannot say what two.test is" in found.trouble
        count = len(asked)
        clock.now += 59
        await known.find("two.test")
        assert len(asked) == count
        clock.now += 1
        await known.find("two.test")
        assert len(asked) > count


async def test_many_who_want_to_know_the_same_ask_once() -> None:
    asked: list[str] = []
    with asking(asked=asked) as known:
        async with asyncio.TaskGroup() as people:
            for _ in range(50):
                people.create_task(known.find("two.test"))
    assert asked == ["two.test MX"]


async def test_a_domain_that_names_hundreds_of_hosts_is_cut() -> None:
    with asking({"big.test MX": [f"{n} h{n}.test." for n in range(1, 200)]}) as known:
        found = await known.find("big.test")
    assert len(found.hosts) == exchanges.HOSTS
    assert found.hosts[0] == Mx(preference=1, host="h1.test")


async def test_a_dns_that_answers_nobody_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "LIFETIME", 0.1)
    names = [f"d{n}.test" for n in range(40)]
    asked: list[str] = []
    found: list[Found] = []
    failed: list[str] = []
    with asking({}, silent=" ".join(names), asked=asked) as known:

        async def ask(name: str) -> None:
            try:
                found.append(await known.find(name))
            except errors.Unavailable as error:
                failed.append(str(error))

        for name in names:
            await ask(name)
    assert len(found) == exchanges.SILENT
    assert all("did not answer" in one.trouble for one in found)
    assert len(failed) == 40 - exchanges.SILENT
    assert len({one.split()[0] for one in asked}) == exchanges.SILENT + 1
