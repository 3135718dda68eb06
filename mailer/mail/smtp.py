"""Speak SMTP to one server: aiosmtplib connects, our own session sends.

RFC 5321 (SMTP), RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6531 (SMTPUTF8).
aiosmtplib does TCP, TLS, EHLO and AUTH; then its transport is given to `Session`,
which knows at each moment how far each message has come.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from mailer import errors
from mailer.core import bounce
from mailer.core.delivery import Reply, Stage
from mailer.core.provider import Source, Tls
from mailer.mail.reply import shown
from mailer.mail.session import Limits, Session

SUBMISSIONS = 465  # TLS from the first byte, RFC 8314 §3.3
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

LIMITS = Limits()


class Refused(errors.Unavailable):
    """No connection could be had; *end* says how far it came and what was said."""

    end: bounce.Answered | bounce.Lost

    def __init__(self, source: Source, end: bounce.Answered | bounce.Lost) -> None:
        self.end = end
        said = end.reply if isinstance(end, bounce.Answered) else end.reason
        super().__init__(
            f"{source.host}:{source.port}: {end.stage.name}: {said}",
        )


async def connect(source: Source, *, limits: Limits = LIMITS) -> Session:
    """Open a connection to the relay of *source*, encrypted as it asks.

    Raises Refused, which is judged by `core.bounce` like any other end.
    """
    try:
        return await _open(source, limits=limits, tls=source.tls)
    except Refused as error:
        # RFC 7435: where encryption is a bonus, a broken one is no reason to stop.
        if source.tls is not Tls.OPPORTUNISTIC or error.end.stage is not Stage.TLS:
            raise
    return await _open(source, limits=limits, tls=Tls.NONE)


@dataclass(slots=True)
class _Progress:
    stage: Stage = Stage.CONNECT


async def _open(source: Source, *, limits: Limits, tls: Tls) -> Session:
    client = aiosmtplib.SMTP(
        hostname=source.host,
        port=source.port,
        local_hostname=source.helo,
        use_tls=tls is not Tls.NONE and source.port == SUBMISSIONS,
        start_tls=False,  # ours to say, below
        validate_certs=tls is Tls.REQUIRED,
        timeout=None,  # ours too
    )
    progress = _Progress()
    try:
        async with asyncio.timeout(limits.connect + limits.greeting):
            await client.connect()
        await _greet(client, progress, limits=limits)
        await _encrypt(client, progress, limits=limits, tls=tls)
        await _log_in(client, progress, source=source, limits=limits)
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        reply = Reply(code=error.code, text=shown(error.message))
        end = bounce.Answered(stage=progress.stage, reply=reply)
        raise Refused(source, end) from error
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError, ValueError) as error:
        client.close()
        reason = "timed out" if isinstance(error, TimeoutError) else str(error)
        lost = bounce.Lost(stage=progress.stage, reason=reason)
        raise Refused(source, lost) from error
    except BaseException:
        client.close()
        raise
    transport = cast("asyncio.Transport", client.transport)
    session = Session(extensions=client.esmtp_extensions, limits=limits)
    transport.set_protocol(session)
    session.connection_made(transport)
    return session


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
    client: aiosmtplib.SMTP, progress: _Progress, *, limits: Limits, tls: Tls
) -> None:
    if client.use_tls or tls is Tls.NONE:
        return
    if tls is Tls.OPPORTUNISTIC and not client.supports_extension("starttls"):
        return
    progress.stage = Stage.TLS
    async with asyncio.timeout(limits.greeting):
        await client.starttls()
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
