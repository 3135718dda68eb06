from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mailer import errors
from mailer.core import bounce, delivery
from mailer.core.bounce import Answered
from mailer.mail import route
from mailer.mail.resolver import Resolver
from mailer.mail.route import Host, Own, Route, Router, Target
from mailer.settings import BOUNCES, Bounces, dns, read, shipped
from tests import nameserver
from tests.nameserver import Zone

ONE, TWO, THREE = "8.8.8.1", "8.8.8.2", "8.8.8.3"
ZONE: Zone = {
    "example.com MX": ["20 b.example.com.", "10 a.example.com."],
    "a.example.com A": [ONE],
    "b.example.com A": [TWO],
}


class Clock:
    """A clock that stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def routing(
    zone: Zone, *, served: dict[str, Any] | None = None, **given: Any
) -> Iterator[Router]:
    with nameserver.serving(zone, **(served or {})) as server:
        asked = Resolver([dns.server(server)], is_caching=False)
        yield Router(asked, **{"seed": 1, **given})


async def answer(zone: Zone, domain: str = "example.com", **given: Any) -> str:
    """Return what mail for *domain* gets instead of a way."""
    with routing(zone, **given) as router:
        found = await router.route(domain)
    assert isinstance(found, Answered)
    assert found.stage is delivery.Stage.RCPT
    return str(found.reply)


async def way(zone: Zone, domain: str = "example.com", **given: Any) -> Route:
    with routing(zone, **given) as router:
        found = await router.route(domain)
    assert isinstance(found, Route)
    return found


def outcome(reply: str) -> delivery.Outcome:
    rules = bounce.Rules(rules=tuple(read(shipped(BOUNCES), Bounces).rule.values()))
    code, _, text = reply.partition(" ")
    said = delivery.Reply(code=int(code), text=text)
    end = Answered(stage=delivery.Stage.RCPT, reply=said)
    return bounce.judge(end, provider="other", rules=rules).outcome


# ── Where mail goes ─────────────────────────────────────────────────────────


async def test_the_best_preference_comes_first() -> None:
    found = await way(ZONE, "Example.COM.")
    assert found == Route(
        ((Host("a.example.com", (ONE,)),), (Host("b.example.com", (TWO,)),))
    )
    assert found.key == ("a.example.com", "b.example.com")


async def test_equal_hosts_take_turns_and_stay_before_the_others() -> None:
    zone = {
        "example.com MX": ["10 a.test.", "10 b.test.", "20 c.test."],
        "a.test A": [ONE],
        "b.test A": [TWO],
        "c.test A": [THREE],
    }
    with routing(zone) as router:
        found = await router.route("example.com")
        assert isinstance(found, Route)
        orders = {
            tuple(one.name for one in router.targets(found, source="own", version=None))
            for _ in range(50)
        }
    assert orders == {("a.test", "b.test", "c.test"), ("b.test", "a.test", "c.test")}
    assert found.key == ("a.test", "b.test", "c.test")


async def test_a_domain_without_mx_takes_its_mail_itself() -> None:
    found = await way({"example.com A": [ONE], "example.com AAAA": ["2606:4700::1"]})
    assert found == Route(((Host("example.com", (ONE, "2606:4700::1")),),))


async def test_a_domain_with_unusable_mx_is_not_its_own() -> None:
    zone = {"example.com MX": ["10 gone.test."], "example.com A": [ONE]}
    said = await answer(zone)
    assert said == "550 5.4.4 no usable MX of example.com: gone.test is nowhere"


async def test_an_ipv4_source_is_given_no_ipv6_address() -> None:
    zone = {**ZONE, "a.example.com AAAA": ["2606:4700::1"]}
    with routing(zone) as router:
        found = await router.route("example.com")
        assert isinstance(found, Route)
        old = router.targets(found, source="own", version=4)
        new = router.targets(found, source="own", version=6)
    assert old == [Target("a.example.com", ONE), Target("b.example.com", TWO)]
    assert new == [Target("a.example.com", "2606:4700::1")]


async def test_ten_hosts_with_five_addresses_each_are_enough() -> None:
    zone: Zone = {"example.com MX": []}
    for number in range(20):
        zone["example.com MX"].append(f"{number} h{number:02}.test.")
        zone[f"h{number:02}.test A"] = [f"8.8.{number}.{one}" for one in range(1, 9)]
    with routing(zone) as router:
        found = await router.route("example.com")
        assert isinstance(found, Route)
        targets = router.targets(found, source="own", version=None)
    assert found.key == tuple(f"h{number:02}.test" for number in range(10))
    assert len(targets) == 50
    assert [one.name for one in targets[4:6]] == ["h00.test", "h01.test"]


# ── Where none goes ─────────────────────────────────────────────────────────


async def test_a_null_mx_refuses_and_the_address_is_bad() -> None:
    said = await answer({"example.com MX": ["0 ."], "example.com A": [ONE]})
    assert said == "556 5.1.10 example.com takes no mail (null MX)"
    assert getattr(outcome(said), "suppress", None) is True


async def test_a_null_mx_among_others_does_not_count() -> None:
    zone = {**ZONE, "example.com MX": ["0 .", "10 a.example.com."]}
    assert (await way(zone)).key == ("a.example.com",)


async def test_a_domain_that_does_not_exist_bounces_but_suppresses_nobody_yet() -> None:
    said = await answer({})
    assert said == "550 5.1.2 example.com: no such domain (NXDOMAIN)"
    assert outcome(said) == delivery.Bounce(
        stage=delivery.Stage.RCPT,
        reply=delivery.Reply(code=550, text=said[4:]),
        suppress=False,
    )


async def test_a_dns_that_knows_nobody_is_not_believed() -> None:
    domains = [f"d{number}.example.com" for number in range(route.SILENT + 1)]
    with routing({}, served={"is_cut_off": True}) as router:
        said = [await router.route(domain) for domain in domains[:-1]]
        with pytest.raises(errors.Unavailable, match="not even com: is it one of"):
            await router.route(domains[-1])

    assert {one.reply.code for one in said if isinstance(one, Answered)} == {451}
    assert len(said) == route.SILENT


async def test_a_domain_without_mx_and_address_takes_none() -> None:
    said = await answer({"example.com TXT": ['"here"']})
    assert said == "550 5.1.2 example.com has neither MX nor address"


@pytest.mark.parametrize("served", [{"refused": "example.com"}, {"refused": "mx.test"}])
async def test_what_the_dns_cannot_say_is_put_off(served: dict[str, Any]) -> None:
    zone = {"example.com MX": ["10 mx.test."], "mx.test A": [ONE]}
    said = await answer(zone, served=served)
    assert said.startswith("451 4.4.3 DNS cannot say what ")
    assert isinstance(outcome(said), delivery.Deferral)


async def test_one_host_that_can_be_found_is_enough() -> None:
    found = await way(ZONE, served={"refused": "a.example.com"})
    assert found.key == ("b.example.com",)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "fe80::1",
        "fd00::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::1", "ff02::1",
    ],
)  # fmt: skip
async def test_nobody_can_make_us_speak_to_servers_that_only_we_reach(
    address: str,
) -> None:
    kind = "AAAA" if ":" in address else "A"
    zone = {"example.com MX": ["10 mx.test."], f"mx.test {kind}": [address]}
    said = await answer(zone)
    assert said.startswith("550 5.4.4 no usable MX of example.com: mx.test is ")
    assert getattr(outcome(said), "suppress", None) is False


async def test_a_network_that_is_named_may_be_sent_to() -> None:
    zone = {"example.com MX": ["10 mx.test."], "mx.test A": ["10.1.2.3", "10.9.0.1"]}
    found = await way(zone, inside=["10.1.0.0/16"])
    assert found == Route(((Host("mx.test", ("10.1.2.3",)),),))


OURSELVES = [
    Own(names=frozenset({"b.example.com"})),
    Own(addresses=frozenset({TWO})),
    Own(names=frozenset({"mail.test"})),
]


@pytest.mark.parametrize("own", OURSELVES)
async def test_only_hosts_better_than_ourselves_get_mail(own: Own) -> None:
    zone = {
        "example.com MX": ["10 a.example.com.", "20 b.example.com.", "30 c.test."],
        "a.example.com A": [ONE],
        "b.example.com A": [TWO],
        "mail.test A": [TWO],
        "c.test A": [THREE],
    }
    assert (await way(zone, own=own)).key == ("a.example.com",)


@pytest.mark.parametrize("own", OURSELVES)
async def test_a_domain_that_leads_back_to_us_is_told(own: Own) -> None:
    zone = {
        "example.com MX": ["10 b.example.com.", "20 a.example.com."],
        "a.example.com A": [ONE],
        "b.example.com A": [TWO],
        "mail.test A": [TWO],
    }
    said = await answer(zone, own=own)
    assert said.startswith("550 5.4.6 mail for example.com loops back: its MX is this")
    assert getattr(outcome(said), "suppress", None) is False


# ── What is remembered ──────────────────────────────────────────────────────


async def asked_again(zone: Zone, after: float, **served: Any) -> bool:
    asked: list[str] = []
    clock = Clock()
    with routing(zone, served={"asked": asked, **served}, clock=clock) as router:
        first = await router.route("example.com")
        count = len(asked)
        clock.now += after
        assert await router.route("example.com") == first
    return len(asked) > count


@pytest.mark.parametrize(
    ("ttl", "after", "is_asked"),
    [
        (300, 299, False), (300, 301, True),
        (0, 59, False), (0, 61, True),  # not at each message, whatever is said
        (86400, 3599, False), (86400, 3601, True),  # a change is seen within the hour
    ],
)  # fmt: skip
async def test_an_answer_holds_as_long_as_it_says_within_bounds(
    ttl: int, after: float, is_asked: bool
) -> None:
    assert await asked_again(ZONE, after, ttl=ttl) is is_asked


async def test_what_is_not_there_is_remembered_for_a_quarter_of_an_hour() -> None:
    assert not await asked_again({}, 899, ttl=86400)
    assert await asked_again({}, 901, ttl=86400)


async def test_what_could_not_be_said_is_asked_again_after_a_minute() -> None:
    assert not await asked_again(ZONE, 59, refused="example.com")
    assert await asked_again(ZONE, 61, refused="example.com")


async def test_many_who_ask_at_once_ask_once() -> None:
    asked: list[str] = []
    zone = {"one.test MX": ["1 mx.test."], "two.test MX": ["1 mx.test."]}
    with routing({**zone, "mx.test A": [ONE]}, served={"asked": asked}) as router:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(router.route("one.test"))
        await router.route("two.test")
    assert sorted(asked) == ["mx.test A", "mx.test AAAA", "one.test MX", "two.test MX"]


async def test_only_the_newest_domains_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(route, "KNOWN", 2)
    asked: list[str] = []
    with routing({}, served={"asked": asked}) as router:
        for domain in ("a.test", "b.test", "c.test", "c.test", "b.test", "a.test"):
            await router.route(domain)
    names = [one.split()[0] for one in asked if one != "com MX"]
    assert names == ["a.test", "b.test", "c.test", "a.test"]


async def test_a_host_that_failed_is_tried_last_for_a_minute() -> None:
    clock = Clock()
    first, second = Target("a.example.com", ONE), Target("b.example.com", TWO)
    with routing(ZONE, clock=clock) as router:
        found = await router.route("example.com")
        assert isinstance(found, Route)
        router.bury("own", first)
        assert router.targets(found, source="own", version=None) == [second, first]
        assert router.targets(found, source="other", version=None) == [first, second]
        clock.now += 61
        assert router.targets(found, source="own", version=None) == [first, second]


async def test_when_the_dns_answers_nothing_no_domain_is_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mailer.mail.resolver.LIFETIME", 0.05)
    domains = [f"d{number}.test" for number in range(route.SILENT + 1)]
    with routing({}, served={"silent": " ".join(domains)}) as router:
        for domain in domains[:-1]:
            found = await router.route(domain)
            assert isinstance(found, Answered)
            assert found.reply.code == 451
        with pytest.raises(errors.Unavailable, match=f"about {domains[-1]}: .*answer"):
            await router.route(domains[-1])
        found = await router.route("known.test")
        assert isinstance(found, Answered)
        assert found.reply.code == 550
