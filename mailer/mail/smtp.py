"""Speak SMTP to one server: aiosmtplib connects, our own session sends.

RFC 5321 (SMTP), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6531 (SMTPUTF8).
aiosmtplib does TCP, TLS, EHLO and AUTH; then its transport is given to `Session`,
which knows at each moment how far each message has come.
Nothing here is tried twice by itself: for a domain the next try is its next host,
after that the retry schedule of the delivery.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from mailer import errors
from mailer.core import bounce
from mailer.core.delivery import Reply, Stage
from mailer.core.provider import Kind, Source, Tls
from mailer.mail.reply import shown
from mailer.mail.route import Route, Router, Target
from mailer.mail.session import Limits, Session

SUBMISSIONS = 465  # TLS from the first byte, RFC 8314 §3.3
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
PATIENCE = 90.0  # seconds for the hosts of a domain, but for the first two always
NO_MAIL = 521  # RFC 7504 §3.1: this host takes no mail, ever

LIMITS = Limits()


class Refused(errors.Unavailable):
    """No connection could be had; *end* says how far it came and what was said."""

    end: bounce.Answered | bounce.Lost

    def __init__(self, place: str, end: bounce.Answered | bounce.Lost) -> None:
        self.end = end
        said = end.reply if isinstance(end, bounce.Answered) else end.reason
        super().__init__(f"{place}: {end.stage.name}: {said}")

    @property
    def about_domain(self) -> bounce.Answered:
        """Return what the recipients of a domain get when none of its hosts took us.

        A lane of many domains does not wait for one of them: its messages are put
        off (RFC 3463 §3.5: x.4.1 no answer from host).  Those of a domain whose
        hosts say that they never take mail are refused (RFC 7504 §5).
        """
        if isinstance(self.end, bounce.Answered) and self.end.reply.code == NO_MAIL:
            reply = Reply(code=NO_MAIL, text=f"5.3.2 {self}")
            return bounce.Answered(stage=Stage.RCPT, reply=reply)
        reply = Reply(code=450, text=f"4.4.1 {self}")
        return bounce.Answered(stage=Stage.RCPT, reply=reply)


async def connect(source: Source, *, limits: Limits = LIMITS) -> Session:
    """Open a connection to the relay of *source*, encrypted as it asks.

    Raises Refused, which is judged by `core.bounce` like any other end.
    """
    assert source.kind is Kind.RELAY
    return await _reach(source, Target(source.host, source.host), limits=limits)


async def connect_any(
    source: Source, found: Route, *, router: Router, limits: Limits = LIMITS
) -> Session:
    """Open a connection to the first host of a domain that takes one.

    The next host is tried whatever was wrong with the last one (RFC 5321 §5.1): no
    connection, no TLS where it is required, 4xx and 5xx alike.  RFC 5321 leaves open
    what a 5xx greeting means for the others; Postfix goes on too
    (smtp_skip_5xx_greeting), because one host that blocks or is closed says nothing
    of the next.
    Raises Refused with what the best host said; Unavailable when *source* cannot
    send from this machine.
    """
    loop = asyncio.get_running_loop()
    version = source.address and ipaddress.ip_address(source.address).version
    targets = router.targets(found, source=source.name, version=version or None)
    if not targets:
        raise Refused(found.key[0], _lost(f"has no IPv{version} address"))
    failures: list[Refused] = []
    end_at = loop.time() + PATIENCE
    for target in targets:
        if len(failures) >= 2 and loop.time() >= end_at:
            break
        try:
            return await _reach(source, target, limits=limits)
        except Refused as error:
            demand_here(source)
            router.bury(source.name, target)
            failures.append(error)
    raise _most_telling(failures)


async def connect_to(
    source: Source, domain: str, *, router: Router | None, limits: Limits = LIMITS
) -> Session:
    """Open the connection over which *source* sends to *domain*.

    Raises Refused, also when the domain takes no mail.
    """
    if source.kind is Kind.RELAY:
        return await connect(source, limits=limits)
    assert router is not None
    found = await router.route(domain)
    if not isinstance(found, Route):
        raise Refused(domain, found)
    return await connect_any(source, found, router=router, limits=limits)


def is_here(source: Source) -> bool:
    """Tell whether *source* can send from this machine: the address is one of it."""
    if source.address is None:
        return True
    is_old = ipaddress.ip_address(source.address).version == 4
    family = socket.AF_INET if is_old else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((source.address, 0))
    except OSError:
        return False
    return True


def demand_here(source: Source) -> None:
    """Raise Unavailable when *source* cannot send from this machine."""
    if not is_here(source):
        message = (
            f"[source.{source.name}] address {source.address}: no address of this "
            "machine: run its worker where it is, or correct it"
        )
        raise errors.Unavailable(message)


def _most_telling(failures: Sequence[Refused]) -> Refused:
    """Return the refusal that stands for all: words before silence, may before never.

    The hosts come in the order of the domain's preference.
    """

    def rank(error: Refused) -> int:
        if not isinstance(error.end, bounce.Answered):
            return 1
        return 2 if error.end.reply.code == NO_MAIL else 0

    return min(failures, key=rank)


def _lost(reason: str, stage: Stage = Stage.CONNECT) -> bounce.Lost:
    return bounce.Lost(stage=stage, reason=reason)


async def _reach(source: Source, target: Target, *, limits: Limits) -> Session:
    try:
        return await _open(source, target, limits=limits, tls=source.tls)
    except Refused as error:
        # RFC 7435: where encryption is a bonus, a broken one is no reason to stop.
        if source.tls is not Tls.OPPORTUNISTIC or error.end.stage is not Stage.TLS:
            raise
    return await _open(source, target, limits=limits, tls=Tls.NONE)


@dataclass(slots=True)
class _Progress:
    stage: Stage = Stage.CONNECT


async def _open(source: Source, target: Target, *, limits: Limits, tls: Tls) -> Session:
    place = f"{target.name}:{source.port}"
    if target.name != target.address:
        place = f"{target.name}[{target.address}]:{source.port}"
    client = _client(source, target, tls=tls)
    progress = _Progress()
    try:
        await _dial(client, source, target, limits=limits)
        await _greet(client, progress, limits=limits)
        await _encrypt(client, progress, target=target, limits=limits, tls=tls)
        await _log_in(client, progress, source=source, limits=limits)
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        reply = Reply(code=error.code, text=shown(error.message))
        end = bounce.Answered(stage=progress.stage, reply=reply)
        raise Refused(place, end) from error
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError) as error:
        client.close()
        reason = "timed out" if isinstance(error, TimeoutError) else str(error)
        raise Refused(place, _lost(reason, progress.stage)) from error
    except BaseException:
        client.close()
        raise
    transport = cast("asyncio.Transport", client.transport)
    session = Session(extensions=client.esmtp_extensions, limits=limits)
    transport.set_protocol(session)
    session.connection_made(transport)
    return session


def _client(source: Source, target: Target, *, tls: Tls) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=target.address,
        port=source.port,
        local_hostname=source.helo,
        source_address=(source.address, 0) if source.address else None,
        use_tls=tls is not Tls.NONE and source.port == SUBMISSIONS,
        start_tls=False,  # ours to say, below
        validate_certs=tls is Tls.REQUIRED,
        client_cert=source.certificate,
        client_key=source.key,
        timeout=None,  # ours too
    )


async def _dial(
    client: aiosmtplib.SMTP, source: Source, target: Target, *, limits: Limits
) -> None:
    """Connect and wait for the banner.

    A host of a domain has a time of its own to take the connection: there are others,
    and a slow banner is no sign that nobody is there.
    """
    if source.kind is Kind.RELAY:
        async with asyncio.timeout(limits.connect + limits.greeting):
            await client.connect()
        return
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        if source.address is not None:
            connection.bind((source.address, 0))
        async with asyncio.timeout(limits.connect):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, (target.address, source.port))
        async with asyncio.timeout(limits.greeting):
            await client.connect(hostname=None, port=None, sock=connection)
    except BaseException:
        connection.close()
        raise


async def _greet(
    client: aiosmtplib.SMTP, progress: _Progress, *, limits: Limits
) -> None:
    progress.stage = Stage.EHLO
    async with asyncio.timeout(limits.greeting):
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code < 500:
                raise
            await client.helo()


async def _encrypt(
    client: aiosmtplib.SMTP,
    progress: _Progress,
    *,
    target: Target,
    limits: Limits,
    tls: Tls,
) -> None:
    if client.use_tls or tls is Tls.NONE:
        return
    if tls is Tls.OPPORTUNISTIC and not client.supports_extension("starttls"):
        return
    progress.stage = Stage.TLS
    async with asyncio.timeout(limits.greeting):
        await client.starttls(server_hostname=target.name)  # who must be vouched for
        await client.ehlo()  # RFC 3207 §4.2: what was said before does not count


async def _log_in(
    client: aiosmtplib.SMTP, progress: _Progress, *, source: Source, limits: Limits
) -> None:
    if source.user is None:
        return
    progress.stage = Stage.AUTH
    is_encrypted = client.get_transport_info("sslcontext") is not None
    if not is_encrypted and source.tls is not Tls.NONE and source.host not in LOOPBACK:
        message = 'no password without TLS: say tls = "none" if you mean it'
        raise ValueError(message)
    async with asyncio.timeout(limits.greeting):
        await client.login(source.user, source.password or "")
