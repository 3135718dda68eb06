from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mailer import errors
from mailer.core import bounce, delivery
from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Reply, Stage
from mailer.core.provider import Kind, Source, Tls
from mailer.mail import sink as servers
from mailer.mail import smtp
from mailer.mail.resolver import Resolver
from mailer.mail.route import Host, Route, Router
from mailer.mail.session import Limits
from tests import certificates
from tests.mail.test_smtp import relaying
from tests.sink import Act, Sink, Then

DATA = b"Subject: Hi\r\n\r\nHi\r\n"
BOTH = Route(((Host("one.test", ("127.0.0.2",)),), (Host("two.test", ("127.0.0.3",)),)))
ONE = Route(BOTH.tiers[:1])


@pytest.fixture
def router() -> Router:
    """One that is not asked: these tests know the way."""
    return Router(Resolver([("127.0.0.1", 9)]))


@asynccontextmanager
async def playing(first: Sink, second: Sink) -> AsyncIterator[Source]:
    """Serve one.test and two.test on one port; yield a source that sends there."""
    async with (
        servers.serving(first, address="127.0.0.2") as port,
        servers.serving(second, address="127.0.0.3", port=port),
    ):
        yield direct(port)


def direct(port: int) -> Source:
    return Source(
        name="own",
        kind=Kind.DIRECT,
        port=port,
        helo="mail.example.org",
        tls=Tls.OPPORTUNISTIC,
    )


async def deliver(source: Source, found: Route, router: Router) -> None:
    session = await smtp.connect_any(source, found, router=router, limits=SHORT)
    end = await session.send("a@b.test", "c@d.test", DATA)
    await session.quit()
    assert isinstance(end, Answered)
    assert end.reply.code == 250


SHORT = Limits(connect=1, greeting=0.2)


# ── The next host ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("at", "trouble"),
    [
        ("connect", Act(then=Then.RESET)),
        ("connect", Act(then=Then.HOLD)),
        ("connect", Act("421 4.3.2 Too busy", Then.CLOSE)),
        ("connect", Act("554 5.7.1 You are listed", Then.CLOSE)),
        ("connect", Act("521 Takes no mail", Then.CLOSE)),
        ("ehlo", Act("421 4.3.2 Not now", Then.CLOSE)),
        ("ehlo", Act(then=Then.DROP)),
    ],
)
async def test_the_next_host_is_tried_when_one_does_not_take_us(
    router: Router, at: str, trouble: Act
) -> None:
    first, second = Sink(), Sink()
    first.script("", trouble, at=at)
    async with playing(first, second) as source:
        await deliver(source, BOTH, router)
        await deliver(source, BOTH, router)
        assert len(second.accepted) == 2
        assert first.connections == 1  # not asked again within a minute


async def test_the_next_host_is_tried_when_nobody_is_there(router: Router) -> None:
    second = Sink()
    async with servers.serving(second, address="127.0.0.3") as port:
        await deliver(direct(port), BOTH, router)
    assert len(second.accepted) == 1


async def test_a_host_that_takes_us_is_the_only_one_that_is_asked(
    router: Router,
) -> None:
    first, second = Sink(), Sink()
    async with playing(first, second) as source:
        await deliver(source, BOTH, router)
        assert (first.connections, second.connections) == (1, 0)


async def test_required_tls_goes_to_the_host_whose_certificate_is_right(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = certificates.make(tmp_path / "two.pem", "two.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(two))
    async with (
        relaying(two, address="127.0.0.2") as first,
        relaying(two, address="127.0.0.3", port=first.port) as second,
    ):
        await deliver(replace(direct(first.port), tls=Tls.REQUIRED), BOTH, router)
        assert (first.envelopes, second.encrypted) == ([], [True])


async def test_opportunistic_tls_takes_any_certificate(
    router: Router, tmp_path: Path
) -> None:
    strange = certificates.make(tmp_path / "strange.pem", "strange.test")
    async with relaying(strange, address="127.0.0.2") as first:
        await deliver(direct(first.port), ONE, router)
        assert first.encrypted == [True]


# ── When none takes us ──────────────────────────────────────────────────────


async def refusal(source: Source, router: Router) -> smtp.Refused:
    with pytest.raises(smtp.Refused) as caught:
        await smtp.connect_any(source, BOTH, router=router, limits=SHORT)
    return caught.value


async def test_the_best_host_that_spoke_is_quoted(router: Router) -> None:
    first, second = Sink(), Sink()
    first.script("", Act(then=Then.RESET), at="connect")
    second.script("", Act("554 5.7.1 You are listed", Then.CLOSE), at="connect")
    async with playing(first, second) as source:
        error = await refusal(source, router)
    assert error.end == Answered(
        stage=Stage.CONNECT, reply=Reply(code=554, text="5.7.1 You are listed")
    )
    said = f"two.test[127.0.0.3]:{source.port}: CONNECT: 554 5.7.1 You are listed"
    assert str(error) == said
    # It is about us, not about them: put off, and nobody is suppressed.
    put_off = Answered(stage=Stage.RCPT, reply=Reply(code=450, text=f"4.4.1 {said}"))
    assert error.about_domain == put_off
    verdict = bounce.judge(put_off, provider="other", rules=bounce.Rules())
    assert isinstance(verdict.outcome, delivery.Deferral)


async def test_silence_is_put_off_as_well(router: Router) -> None:
    async with playing(Sink(), Sink()) as source:
        pass
    error = await refusal(source, router)
    assert isinstance(error.end, Lost)
    assert str(error.about_domain.reply).startswith("450 4.4.1 one.test[127.0.0.2]:")


async def test_a_domain_whose_hosts_never_take_mail_bounces(router: Router) -> None:
    first, second = Sink(), Sink()
    for one in (first, second):
        one.script("", Act("521 Takes no mail", Then.CLOSE), at="connect")
    async with playing(first, second) as source:
        error = await refusal(source, router)
    verdict = bounce.judge(error.about_domain, provider="x", rules=bounce.Rules())
    assert verdict.outcome == delivery.Bounce(
        stage=Stage.RCPT, reply=error.about_domain.reply, suppress=False
    )


async def test_one_host_that_might_is_enough_to_wait(router: Router) -> None:
    first, second = Sink(), Sink()
    first.script("", Act("521 Takes no mail", Then.CLOSE), at="connect")
    second.script("", Act(then=Then.RESET), at="connect")
    async with playing(first, second) as source:
        assert (await refusal(source, router)).about_domain.reply.code == 450


# ── Where it comes from ─────────────────────────────────────────────────────


async def test_it_comes_from_its_address_and_says_its_name(router: Router) -> None:
    async with relaying(None, address="127.0.0.2") as relay:
        await deliver(replace(direct(relay.port), address="127.0.0.9"), ONE, router)
        assert relay.names == [("127.0.0.9", "mail.example.org")]


async def test_an_address_of_another_machine_blames_no_domain(router: Router) -> None:
    source = replace(direct(25), address="203.0.113.5")
    with pytest.raises(errors.Unavailable, match=r"own\] address 203\.0\.113\.5") as no:
        await smtp.connect_any(source, BOTH, router=router)
    assert not isinstance(no.value, smtp.Refused)
    assert not router.is_dead("own", router.targets(BOTH, source="own", version=4)[0])


async def test_a_domain_that_only_speaks_ipv6_is_put_off_for_an_ipv4_source(
    router: Router,
) -> None:
    new = Route(((Host("six.test", ("::1",)),),))
    source = replace(direct(25), address="127.0.0.9")
    with pytest.raises(smtp.Refused, match=r"six\.test: CONNECT: has no IPv4 address"):
        await smtp.connect_any(source, new, router=router)
