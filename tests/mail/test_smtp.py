from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Reply, Stage
from mailer.core.provider import Source, Tls
from mailer.mail import header, mime, smtp
from mailer.mail.session import Limits
from tests import certificates
from tests import sink as sinks
from tests.sink import Act, Then

DATA = b"Subject: Hi\r\n\r\nHi\r\n"


@dataclass
class Relay:
    """aiosmtpd with STARTTLS and AUTH: somebody else's idea of SMTP."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    users: list[bytes] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)  # address, HELO

    async def handle_DATA(  # noqa: N802 - aiosmtpd's hook name
        self, _server: SMTP, session: Any, envelope: Envelope
    ) -> str:
        self.envelopes.append(envelope)
        self.encrypted.append(session.ssl is not None)
        self.names.append((session.peer[0], session.host_name))
        return "250 2.0.0 Queued"

    def check(self, _s: Any, _n: Any, _e: Any, _m: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login)
        return AuthResult(success=data.password == b"hush", handled=False)

    @property
    def source(self) -> Source:
        return Source(name="relay", port=self.port, helo="mailer.test")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 and mx.test, with its key."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    return certificates.make(file, "127.0.0.1", "mx.test")


@asynccontextmanager
async def relaying(
    certificate: Path | None,
    *,
    clients: Path | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Relay]:
    """Serve; *clients* is the certificate that a client must show."""
    relay, loop = Relay(), asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
    server = await loop.create_server(
        lambda: SMTP(
            relay,
            hostname="relay.test",
            loop=loop,
            tls_context=context,
            auth_require_tls=context is not None,
            authenticator=relay.check,
        ),
        address,
        port,
    )
    relay.port = server.sockets[0].getsockname()[1]
    async with server:
        yield relay


async def sent(source: Source) -> Answered | Lost:
    session = await smtp.connect(source)
    try:
        return await session.send("a@b.test", "c@d.test", DATA)
    finally:
        await session.quit()


async def refused(source: Source, **limits: float) -> Answered | Lost:
    with pytest.raises(smtp.Refused) as caught:
        await smtp.connect(source, limits=Limits(**limits))
    return caught.value.end


# ── TLS and AUTH ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tls", [Tls.NONE, Tls.OPPORTUNISTIC, Tls.REQUIRED])
async def test_mail_is_encrypted_as_the_source_asks(
    certificate: Path, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with relaying(certificate) as relay:
        end = await sent(replace(relay.source, tls=tls))
        assert isinstance(end, Answered)
        assert relay.encrypted == [tls is not Tls.NONE]


async def test_a_certificate_that_nobody_vouches_for_is_refused_when_tls_is_required(
    certificate: Path,
) -> None:
    async with relaying(certificate) as relay:
        end = await refused(replace(relay.source, tls=Tls.REQUIRED))
        assert end.stage is Stage.TLS
        assert isinstance(await sent(relay.source), Answered)
        assert relay.encrypted == [True]


async def test_required_tls_refuses_a_server_without() -> None:
    async with relaying(None) as relay:
        end = await refused(replace(relay.source, tls=Tls.REQUIRED))
        assert end.stage is Stage.TLS
        assert relay.envelopes == []


@pytest.mark.parametrize(
    "answer", [Act("454 4.7.0 TLS not available"), Act(then=Then.DROP)]
)
async def test_opportunistic_tls_goes_on_without_where_it_is_broken(
    answer: Act,
) -> None:
    async with sinks.serving() as sink:
        sink.extensions = ("mx.test", "STARTTLS")
        sink.script("STARTTLS", answer, at="other")
        end = await sent(replace(sink.source, tls=Tls.OPPORTUNISTIC))
        assert isinstance(end, Answered)
        assert (sink.connections, len(sink.accepted)) == (2, 1)


async def test_a_password_is_sent_and_a_wrong_one_is_told(certificate: Path) -> None:
    async with relaying(certificate) as relay:
        right = replace(relay.source, user="example", password="hush")
        assert isinstance(await sent(right), Answered)
        assert relay.users == [b"example"]
        end = await refused(replace(right, password="no"))
        assert isinstance(end, Answered)
        assert (end.stage, end.reply.code) == (Stage.AUTH, 535)


async def test_a_password_is_not_sent_in_clear_text_over_a_network() -> None:
    async with sinks.serving() as sink:
        sink.extensions = ("mx.test", "AUTH PLAIN LOGIN")
        source = replace(
            sink.source, host="127.0.0.2", tls=Tls.OPPORTUNISTIC, user="u", password="p"
        )
        async with sinks.serving(address="127.0.0.2") as other:
            other.extensions = sink.extensions
            end = await refused(replace(source, port=other.port))
    assert isinstance(end, Lost)
    assert end.stage is Stage.AUTH
    assert "no password without TLS" in end.reason


async def test_a_relay_that_asks_who_we_are_is_shown_our_certificate(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    ours = str(certificates.make(tmp_path / "ours.pem", "mailer.test"))
    wrong = str(certificates.make(tmp_path / "wrong.pem", "mailer.test"))
    async with relaying(certificate, clients=Path(ours)) as relay:
        nameless = replace(relay.source, tls=Tls.REQUIRED)
        known = replace(nameless, certificate=ours, key=ours)

        assert isinstance(await sent(known), Answered)
        for stranger in (nameless, replace(known, certificate=wrong, key=wrong)):
            assert (await refused(stranger)).stage is Stage.TLS
        assert relay.encrypted == [True]


async def test_a_source_sends_from_its_address() -> None:
    async with relaying(None) as relay:
        here = replace(relay.source, tls=Tls.NONE, address="127.0.0.7")
        assert isinstance(await sent(here), Answered)
        assert relay.names == [("127.0.0.7", "mailer.test")]


# ── Doors that stay closed ──────────────────────────────────────────────────


async def test_a_greeting_may_refuse() -> None:
    async with sinks.serving() as sink:
        sink.script("", Act("554 5.7.1 Go away", Then.CLOSE), at="connect")
        end = await refused(sink.source)
        reply = Reply(code=554, text="5.7.1 Go away")
        assert end == Answered(stage=Stage.CONNECT, reply=reply)


async def test_ehlo_may_be_refused_and_helo_taken() -> None:
    async with sinks.serving() as sink:
        sink.script("", "502 5.5.1 What?", at="ehlo")
        assert isinstance(await sent(sink.source), Answered)


async def test_ehlo_may_be_put_off() -> None:
    async with sinks.serving() as sink:
        sink.script("", "421 4.3.2 Busy", at="ehlo")
        end = await refused(sink.source)
        assert end == Answered(
            stage=Stage.EHLO, reply=Reply(code=421, text="4.3.2 Busy")
        )


@pytest.mark.parametrize(
    ("at", "stage"), [("connect", Stage.CONNECT), ("ehlo", Stage.EHLO)]
)
async def test_a_server_that_says_nothing_is_left(at: str, stage: Stage) -> None:
    async with sinks.serving() as sink:
        sink.script("", Act(then=Then.HOLD), at=at)
        end = await refused(sink.source, connect=0.05, greeting=0.05)
        assert end == Lost(stage=stage, reason="timed out")


@pytest.mark.parametrize(
    ("at", "stage"), [("connect", Stage.CONNECT), ("ehlo", Stage.EHLO)]
)
async def test_a_server_that_hangs_up_is_told_with_the_stage(
    at: str, stage: Stage
) -> None:
    async with sinks.serving() as sink:
        sink.script("", Act(then=Then.RESET), at=at)
        end = await refused(sink.source)
        assert isinstance(end, Lost)
        assert end.stage is stage


async def test_a_closed_port_is_told_with_where_it_is() -> None:
    async with sinks.serving() as sink:
        source = sink.source
    with pytest.raises(smtp.Refused, match=f"127.0.0.1:{source.port}: CONNECT: "):
        await smtp.connect(source)


# ── The whole way ───────────────────────────────────────────────────────────

HEAD = mime.Letterhead(sender=header.Mailbox(address="team@example.org"))


@settings(deadline=None, max_examples=40)
@given(text=st.text(alphabet=".\r\nab é", max_size=80), html=st.text(max_size=80))
@example(text=".\r\n.\r\nMAIL FROM:<evil@example.org>\r\n", html=".\r.\n\r\n.\r\n")
def test_any_body_arrives_as_it_was_meant(text: str, html: str) -> None:
    data = mime.build(
        HEAD,
        mime.Message(
            id="<b1.2.x@example.org>",
            date=datetime(2026, 10, 20, tzinfo=UTC),
            to=header.Mailbox(address="c@d.test"),
            subject="Hi",
            html=html,
            text=text,
        ),
    )

    async def through() -> None:
        async with sinks.serving() as sink:
            session = await smtp.connect(sink.source)
            end = await session.send("a@b.test", "c@d.test", data)
            await session.quit()
            assert isinstance(end, Answered)
            assert end.reply.code == 250
            assert [one.content for one in sink.accepted] == [data]

    asyncio.run(through())


async def test_another_server_reads_what_we_write() -> None:
    async with relaying(None) as relay:
        session = await smtp.connect(replace(relay.source, tls=Tls.NONE))
        data = b"Subject: Hi\r\n\r\n.\r\n..\r\n.x\r\n"
        for to in ("c@d.test", "e@f.test"):
            await session.send("a@b.test", to, data)
        await session.quit()
    assert [(one.rcpt_tos, one.content) for one in relay.envelopes] == [
        (["c@d.test"], data),
        (["e@f.test"], data),
    ]


def test_the_session_works_on_uvloop_as_well(certificate: Path) -> None:
    async def both() -> None:
        async with sinks.serving() as sink:
            session = await smtp.connect(sink.source)
            ends = []

            async def feed() -> None:
                for _ in range(20):
                    end = await session.send("a@b.test", "c@d.test", DATA)
                    ends.append(end)

            async with asyncio.TaskGroup() as group:
                group.create_task(feed())
                group.create_task(feed())
            sink.script("c@d.test", Act(then=Then.RESET), at="dot")
            last = await session.send("a@b.test", "c@d.test", DATA)
            await session.quit()
            assert len(sink.accepted) == len(ends) == 40
            assert isinstance(last, Lost)
            assert last.stage is Stage.DOT
        async with relaying(certificate) as relay:
            assert isinstance(await sent(relay.source), Answered)
            assert relay.encrypted == [True]

    uvloop.run(both())
