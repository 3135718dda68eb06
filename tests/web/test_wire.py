"""What the endpoint does with bytes: plain, slow, huge, endless and none of HTTP."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailer.core.event import Kind
from mailer.core.tracking import Purpose
from mailer.pipeline import linking, receiving
from mailer.settings import Address
from mailer.store import database
from mailer.web import app
from tests.web.conftest import NOWHERE, Tracker, parts, path
from tests.web.test_app import free_port

CLICK = path("c", Purpose.CLICK).encode()
OPEN = path("o", Purpose.OPEN).encode()
LEAVE = path("u", Purpose.UNSUBSCRIBE).encode()


@asynccontextmanager
async def listening(
    inbox: receiving.Inbox, folder: Path, *, patience: float = 15
) -> AsyncIterator[int]:
    """Serve on a port of its own, as `mailer serve` does."""
    port = free_port()
    async with database.opened(NOWHERE, at_once=False) as away:
        links = linking.Links(away, folder / "links.json")
        links.recall()
        tracking, hooks = parts(inbox, links)
        async with app.listening(
            app.public(tracking, hooks),
            Address(port=port),
            key="public",
            front=tracking,
            patience=patience,
        ):
            yield port


@pytest.fixture
async def port(tracker: Tracker, inbox: receiving.Inbox) -> AsyncIterator[int]:
    async with listening(inbox, tracker.folder, patience=0.3) as given:
        yield given


async def said(port: int, *pieces: bytes) -> bytes:
    """Send *pieces*, and return all that is answered until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def get(path: bytes, *, version: bytes = b"1.1", more: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/" + version + b"\r\nHost: x\r\n" + more + b"\r\n"


CLOSE = b"Connection: close\r\n"


async def test_a_connection_stays_and_takes_one_request_after_the_other(
    port: int, tracker: Tracker
) -> None:
    answer = await said(port, get(CLICK) + get(OPEN) + get(CLICK, more=CLOSE))

    assert answer.count(b"HTTP/1.1 302 Found\r\n") == 2
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert answer.count(b"Connection: close\r\n") == 1
    assert sorted(one.kind for one in tracker.events()) == [
        Kind.CLICK,
        Kind.CLICK,
        Kind.OPEN,
    ]


@pytest.mark.parametrize("place", [CLICK, OPEN], ids=["click", "open"])
async def test_the_long_way_answers_the_same(place: bytes, port: int) -> None:
    short = await said(port, get(place, more=CLOSE))
    encoded = place.replace(place[3:4], b"%%%02X" % place[3], 1)
    long = await said(port, get(encoded, more=CLOSE))

    def lines(answer: bytes) -> tuple[bytes, set[bytes], bytes]:
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *rest = head.split(b"\r\n")
        return first, {one for one in rest if not one.startswith(b"Date:")}, body

    assert lines(short) == lines(long)


async def test_old_clients_are_answered_and_counted(
    port: int, tracker: Tracker
) -> None:
    answer = await said(port, get(CLICK, version=b"1.0"))

    assert b" 302 " in answer
    assert b"Location: https://example.org/" in answer
    assert [one.kind for one in tracker.events()] == [Kind.CLICK]


HOSTILE = {
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "long line": b"GET /c/" + b"A" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": get(b"/", more=b"X: " + b"evil" * 3000 + b"\r\n"),
    "many headers": get(b"/", more=b"X-Evil: evil\r\n" * 200),
    "bad length": get(b"/", more=b"Content-Length: evil\r\n"),
    "two framings": get(
        b"/", more=b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
    ),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_request_is_refused_without_an_echo(
    sent: bytes, port: int, tracker: Tracker
) -> None:
    answer = await said(port, sent)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Server" not in answer
    assert b"evil" not in answer.lower()
    assert answer.endswith(b"\r\n\r\n")
    assert tracker.events() == []


async def test_idle_connections_and_half_requests_are_cut(port: int) -> None:
    async with asyncio.timeout(5):
        idle = await said(port)
        half = await said(port, get(CLICK)[:-2])
        after = await said(port, get(CLICK))  # kept open, then nothing

    assert (idle, half) == (b"", b"")
    assert after.startswith(b"HTTP/1.1 302 ")


async def test_a_header_that_comes_by_drops_is_cut(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n")
    ended = asyncio.Event()

    async def drip() -> None:
        while not ended.is_set():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(drip())
        answer = await reader.read()
        ended.set()
    writer.close()

    assert answer in {b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                      b"Connection: close\r\n\r\n"}  # fmt: skip


async def test_an_unsubscribe_whose_body_never_ends_is_one_all_the_same(
    port: int, tracker: Tracker
) -> None:
    async with asyncio.timeout(15):
        answer = await said(
            port,
            b"POST " + LEAVE + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nL",
        )

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [one.kind for one in tracker.events()] == [Kind.UNSUBSCRIBE]


async def test_a_body_without_end_fills_no_memory(port: int, tracker: Tracker) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST " + LEAVE + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        async with asyncio.timeout(15):
            while True:
                writer.write(chunk)
                await writer.drain()
    except ConnectionError:
        writer.close()

    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert more < 20 << 10  # KB
    assert [one.kind for one in tracker.events()] == [Kind.UNSUBSCRIBE]
