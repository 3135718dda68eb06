"""The world outside: browsers, proxies of mail programs, ActBlue."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from mailer import runtime
from tests.program import LINKS, Program

HUMAN = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
APPLE = "Mozilla/5.0"  # Mail Privacy Protection: all that it says of itself
GMAIL_AHEAD = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
SCANNER = "Barracuda Sentinel (EE)"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}  # RFC 8058 §3.1
_LOADED = re.compile(r"^mailer_events_loaded_total ([\d.]+)$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Tracker:
    """Asks the public address as the world does, and knows what that should add."""

    client: aiohttp.ClientSession
    program: Program
    events: int = 0

    async def open(self, url: str, *, agent: str = HUMAN) -> None:
        """Fetch a pixel."""
        async with self._ask("GET", url, agent) as answer:
            assert answer.status == 200
            assert answer.content_type == "image/gif"
        self.events += 1

    async def click(self, url: str, *, agent: str = HUMAN) -> str:
        """Follow a link, and return to where, to the byte."""
        async with self._ask("GET", url, agent) as answer:
            assert answer.status == 302
            self.events += 1
            return answer.headers["Location"]

    async def head(self, url: str) -> None:
        """Probe a link as gateways do."""
        async with self._ask("HEAD", url, HUMAN) as answer:
            assert answer.status == 302

    async def look(self, url: str) -> str:
        """Open a page and change nothing."""
        async with self._ask("GET", url, HUMAN) as answer:
            assert answer.status == 200
            return await answer.text()

    async def one_click(self, url: str) -> None:
        """Unsubscribe as a mailbox provider does for its user."""
        async with self._ask("POST", url, "", data=ONE_CLICK) as answer:
            assert answer.status == 200
            assert not {"Location", "Set-Cookie"} & set(answer.headers)
        self.events += 1

    async def give(
        self,
        number: int,
        amount: str,
        *,
        email: str,
        form: str = "",
        again: bool = False,
    ) -> None:
        """Tell of a gift on the form at the address *form*, as ActBlue does."""
        query = URL(form, encoded=True).query
        said = {
            "donor": {"firstname": "Some", "lastname": "Donor", "email": email},
            "contribution": {
                "orderNumber": f"AB{number}",
                "status": "approved",
                "recurringPeriod": "once",
                "refcodes": {
                    key: query[key] for key in ("refcode", "refcode2") if key in query
                },
            },
            "lineitems": [
                {
                    "sequence": 0,
                    "amount": amount,
                    "lineitemId": number,
                    "paidAt": runtime.now().isoformat(),
                }
            ],
        }
        async with self._hook(said, password="p:ss wörd") as answer:
            assert answer.status == 200, await answer.text()
        self.events += not again

    async def forge(self) -> None:
        """Tell of a gift without knowing the password."""
        async with self._hook({}, password="guessed") as answer:
            assert answer.status == 401

    async def loaded(self) -> None:
        """Wait until all that happened is in the database."""
        url = f"http://127.0.0.1:{self.program.private}/metrics"
        seen = 0
        while seen < self.events:
            async with self.client.get(url) as answer:
                match = _LOADED.search(await answer.text())
            assert match is not None
            seen = int(float(match[1]))
        assert seen == self.events

    def _hook(
        self, said: object, *, password: str
    ) -> aiohttp.client._RequestContextManager:
        code = b64encode(f"blue:{password}".encode()).decode()
        url = f"http://127.0.0.1:{self.program.public}/hooks/actblue/contributions"
        return self.client.post(
            url, json=said, headers={"Authorization": f"Basic {code}"}
        )

    def _ask(
        self, method: str, url: str, agent: str, data: dict[str, str] | None = None
    ) -> aiohttp.client._RequestContextManager:
        assert url.startswith(f"{LINKS}/")
        here = f"http://127.0.0.1:{self.program.public}{url.removeprefix(LINKS)}"
        return self.client.request(
            method,
            URL(here, encoded=True),
            headers={"User-Agent": agent},
            data=data,
            allow_redirects=False,
        )


@asynccontextmanager
async def tracking(program: Program) -> AsyncIterator[Tracker]:
    """Let the world in: strangers without cookies."""
    jar = aiohttp.DummyCookieJar()
    limit = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=limit) as client:
        yield Tracker(client=client, program=program)
