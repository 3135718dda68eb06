"""The door for bounces, spoken to by a real client."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailer import errors
from mailer.mail import inbound

OURS = "b-abc@bounce.example.org"
MESSAGE = b"From: MAILER-DAEMON@mx.test\r\nSubject: failure\r\n\r\n.dots\r\n"


@dataclass
class Kept:
    """What was taken, and how the next is refused."""

    found: list[tuple[bytes, str]] = field(default_factory=list)
    trouble: Exception | None = None

    async def take(self, raw: bytes, to: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.found.append((raw, to))


@asynccontextmanager
async def opened(
    kept: Kept, *, protocol: str = "smtp", **changes: Any
) -> AsyncIterator[int]:
    door = inbound.Door(knows=lambda one: one == OURS, take=kept.take, **changes)
    async with inbound.listening(door, "127.0.0.1", 0, protocol=protocol) as port:
        yield port


async def speak(port: int, *lines: bytes) -> list[bytes]:
    """Write each line and return the last line of each answer, the greeting first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = [await _answer(reader)]
    try:
        for line in lines:
            writer.write(line + b"\r\n")
            said.append(await _answer(reader))
    finally:
        writer.close()
    return said


async def _answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        while (line := await reader.readline())[3:4] == b"-":
            pass
    return line.strip()


async def by_library(port: int, step: Callable[[smtplib.SMTP], Any]) -> Any:
    def spoken() -> Any:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            return step(client)

    return await asyncio.to_thread(spoken)


async def test_a_message_to_us_is_kept_before_it_is_answered() -> None:
    kept = Kept()
    async with opened(kept) as port:
        await by_library(port, lambda client: client.sendmail("", [OURS], MESSAGE))

    assert kept.found == [(MESSAGE, OURS)]


async def test_who_is_none_of_ours_is_refused_before_the_message() -> None:
    kept = Kept()
    async with opened(kept) as port:
        said = await speak(
            port, b"EHLO x", b"MAIL FROM:<>", b"RCPT TO:<bo@bounce.example.org>",
            b"DATA",
        )  # fmt: skip

    assert said[3] == b"550 5.1.1 No such address here"
    assert said[4].startswith(b"503")
    assert kept.found == []


@pytest.mark.parametrize(
    "trouble", [errors.Unavailable("disk full"), OSError(), ValueError("a bug")]
)
async def test_what_cannot_be_kept_is_asked_for_again(trouble: Exception) -> None:
    kept = Kept(trouble=trouble)

    def refused(client: smtplib.SMTP) -> int:
        with pytest.raises(smtplib.SMTPDataError) as caught:
            client.sendmail("", [OURS], MESSAGE)
        return caught.value.smtp_code

    async with opened(kept) as port:
        assert await by_library(port, refused) == 451
        kept.trouble = None
        await by_library(port, lambda client: client.sendmail("", [OURS], MESSAGE))

    assert len(kept.found) == 1


async def test_lmtp_takes_one_recipient_at_a_time() -> None:
    kept = Kept()
    async with opened(kept, protocol="lmtp") as port:
        said = await speak(
            port, b"LHLO x", b"MAIL FROM:<>", b"RCPT TO:<" + OURS.encode() + b">",
            b"RCPT TO:<" + OURS.encode() + b">", b"DATA", MESSAGE + b".",
        )  # fmt: skip

    assert [one[:3] for one in said[1:]] == [
        b"250", b"250", b"250", b"452", b"354", b"250",
    ]  # fmt: skip
    assert len(kept.found) == 1


async def test_more_connections_than_may_be_are_sent_away_and_come_again() -> None:
    kept = Kept()
    async with opened(kept, connections=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await _answer(reader)).startswith(b"220")
        assert (await speak(port))[0].startswith(b"421")
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while not kept.found:  # it has seen that the first one left
                with contextlib.suppress(smtplib.SMTPConnectError):
                    await by_library(
                        port, lambda client: client.sendmail("", [OURS], MESSAGE)
                    )

    assert len(kept.found) == 1


async def test_a_line_longer_than_the_standard_has_it_is_taken() -> None:
    kept = Kept()
    raw = MESSAGE + b"x" * 5000 + b"\r\n"
    async with opened(kept) as port:
        await by_library(port, lambda client: client.sendmail("", [OURS], raw))

    assert kept.found == [(raw, OURS)]


async def test_a_message_without_end_is_cut() -> None:
    kept = Kept()
    huge = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n"
    body = huge + (b"y" * 998 + b"\r\n") * (inbound.SIZE // 1000 + 1)

    def refused(client: smtplib.SMTP) -> int:
        client.helo("x")  # whoever says EHLO asks for the size first
        with pytest.raises(smtplib.SMTPDataError) as caught:
            client.sendmail("", [OURS], body)
        return caught.value.smtp_code

    async with opened(kept) as port:
        assert await by_library(port, refused) == 552

    assert kept.found == []


async def test_a_port_that_is_taken_is_told_with_its_key() -> None:
    async with opened(Kept()) as port:
        door = inbound.Door(knows=lambda _: True, take=Kept().take)
        with pytest.raises(errors.Unavailable, match=r"\[bounces\] lmtp"):
            async with inbound.listening(door, "127.0.0.1", port, protocol="lmtp"):
                pass
