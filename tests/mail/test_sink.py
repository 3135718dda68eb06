from __future__ import annotations

import asyncio

import pytest

from tests import sink as sinks


async def spoken(sink: sinks.Sink, text: bytes) -> list[str]:
    """Say *text* at once and return the replies until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
    writer.write(text)
    writer.write_eof()
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said.decode().split("\r\n")[:-1]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP\r\n", "250 2.0.0 OK"),
        (b"noop\n", "250 2.0.0 OK"),
        (b"VRFY x\r\n", "500 5.5.2 Unknown command"),
        (b"MAIL FROM a@b.test\r\n", "501 5.5.4 Write MAIL FROM:<address>"),
        (b"RCPT TO:<a@b.test>\r\n", "503 5.5.1 Need MAIL before RCPT"),
        (b"DATA\r\n", "503 5.5.1 No valid recipients"),
        (b"x" * 5000 + b"\r\n", "500 5.5.2 Line too long"),
        (b"x" * 5000, "500 5.5.2 Line too long"),
        (b"QUIT\r\n", "221 2.0.0 Bye"),
    ],
)
async def test_a_command_is_answered(line: bytes, reply: str) -> None:
    async with sinks.serving() as sink:
        assert (await spoken(sink, line))[1] == reply


async def test_a_whole_session_in_one_write_is_answered_in_order() -> None:
    async with sinks.serving() as sink:
        replies = await spoken(
            sink,
            b"EHLO me\r\nMAIL FROM:<a@b.test> SIZE=5\r\nMAIL FROM:<a@b.test>\r\n"
            b"RCPT TO:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n..\r\n\n.\nx\r\n.\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n.\r\nRSET\r\nQUIT\r\n",
        )
        codes = [line[:3] for line in replies if line[3] == " "]
        assert codes == [
            "220", "250", "250", "503", "501", "250", "354", "250",
            "250", "250", "354", "250", "250", "221",
        ]  # fmt: skip
        assert [(one.sender, one.content) for one in sink.accepted] == [
            ("a@b.test", b".\r\n\n.\nx\r\n"),
            ("", b""),
        ]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n"])
async def test_only_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    async with sinks.serving() as sink:
        envelope = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
        smuggled = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nz"
        await spoken(sink, envelope + b"x" + end + smuggled + b"\r\n.\r\nQUIT\r\n")
        assert [one.sender for one in sink.accepted] == ["a@b.test"]
