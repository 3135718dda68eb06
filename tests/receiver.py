"""A real HTTP server that gets alarms, and believes only what is signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET = base64.b64encode(bytes(range(40, 72))).decode()


def is_ours(body: bytes, headers: Any, *, secret: str = SECRET) -> bool:
    """Verify as the specification's text says, apart from the code that signs."""
    content = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    mac = hmac.new(base64.b64decode(secret), content, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(mac).decode()
    return hmac.compare_digest(headers["webhook-signature"], wanted)


@dataclass
class Receiver:
    """What came, in order; *answers* are given in turn, the last one repeats."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [204])
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    forged: int = 0
    asked: int = 0  # requests, answered or not
    gate: asyncio.Event | None = None  # nothing is answered until it is set
    _waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(
        default_factory=list
    )

    @property
    def types(self) -> list[str]:
        """Return what was told, in order."""
        return [one["type"] for one in self.got]

    async def take(self, request: web.Request) -> web.Response:
        """Take one request."""
        self.asked += 1
        self._tell()
        if self.gate is not None:
            await self.gate.wait()
        body = await request.read()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not is_ours(body, request.headers):
            self.forged += 1
            return web.Response(status=401, text="not signed by you")
        if answer < 300:
            self.ids.append(request.headers["webhook-id"])
            self.bodies.append(body)
            self.got.append(json.loads(body))
            self._tell()
        headers = {"Location": self.url} if 300 <= answer < 400 else {}
        return web.Response(status=answer, text="as told", headers=headers)

    async def reached(self, is_so: Callable[[], bool], *, within: float = 10) -> None:
        """Wait until *is_so*, asked when something came.  TimeoutError if not."""
        if not is_so():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((is_so, waiter))
            async with asyncio.timeout(within):
                await waiter

    def _tell(self) -> None:
        for is_so, waiter in self._waiting:
            if is_so() and not waiter.done():
                waiter.set_result(None)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Have a receiver on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/alarms", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/alarms"))
        yield receiver
