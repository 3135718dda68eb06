"""Visitors for the tracking endpoint: connections that ask again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

HEADERS = (
    "Host: mail.example.org\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/{} Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Upgrade-Insecure-Requests: 1\r\n\r\n"
)


@dataclass(slots=True)
class Crowd:
    """What all connections share."""

    requests: Sequence[bytes]
    count: int
    wanted: bytes
    done: asyncio.Event = field(default_factory=asyncio.Event)
    left: int = 0
    answered: int = 0
    wrong: int = 0
    gone: int = 0  # connections that the server closed


class Visitor(asyncio.Protocol):
    """One connection: the next request goes out when the answer is there."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        crowd = self._crowd
        crowd.answered += 1
        crowd.wrong += not data.startswith(crowd.wanted)
        self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        crowd = self._crowd
        crowd.gone += 1
        crowd.done.set()

    def _ask(self) -> None:
        crowd = self._crowd
        if crowd.left:
            crowd.left -= 1
            at = crowd.left % len(crowd.requests)
            self._transport.write(crowd.requests[at])
        elif crowd.answered >= crowd.count:
            crowd.done.set()


def requests(paths: Sequence[str], *, agents: int = 50) -> list[bytes]:
    """Return what browsers would send for *paths*."""
    return [
        f"GET {path} HTTP/1.1\r\n{HEADERS.format(100 + number % agents)}".encode()
        for number, path in enumerate(paths)
    ]


async def visit(
    port: int,
    given: Sequence[bytes],
    *,
    count: int,
    connections: int,
    wanted: bytes = b"HTTP/1.1 302 ",
) -> float:
    """Make *count* requests over *connections*; return the seconds that it took.

    RuntimeError when an answer was another than *wanted*, or none.
    """
    crowd = Crowd(given, count, wanted, left=count)
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Visitor(crowd), "127.0.0.1", port)
        for _ in range(connections)
    ]
    while crowd.answered < count and not crowd.gone:
        crowd.done.clear()
        await crowd.done.wait()
    seconds = time.perf_counter() - begun
    for transport, _ in made:
        transport.abort()
    if crowd.wrong or crowd.answered < count:
        message = f"{crowd.answered} of {count} answered, {crowd.wrong} wrong"
        raise RuntimeError(message)
    return seconds
