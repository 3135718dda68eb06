"""Play the people who got a blast: real requests, by the agents that really come."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import parse_qs, urlsplit

import aiohttp

from mailer import errors
from mailer.settings import Credentials
from mailer.web import crowd
from mailer.web.crowd import Deed, Visit

LOADING = 60.0  # seconds until a report may be a little behind
LOOK = 0.2  # seconds between two looks at the spool
SCANNED = 3  # links of a message that a scanner follows
AT_ONCE = 32  # requests under way
PATIENCE = aiohttp.ClientTimeout(total=20)  # seconds for one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message as the sink recorded it."""

    recipient: str
    provider: str
    variant: int
    pixel: str
    clicks: tuple[str, ...]
    unsubscribe: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was done, and how much was given."""

    deeds: Counter[Deed] = field(default_factory=Counter)
    messages: int = 0
    requests: int = 0


def arrived(record: Path, *, blast: int) -> Iterator[Arrived]:
    """Yield the messages of a blast that ``mailer sink --links`` recorded."""
    with record.open("rb") as lines:
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # the last line of a sink that was killed
            named = str(said.get("feedback_id") or "").split(":")
            links = said.get("links")
            if links is None:
                message = f"{record}: no links in it: run the sink with --links"
                raise errors.Invalid(message)
            if named[0] == f"b{blast}" and len(named) == 4:
                yield _arrived(said, variant=int(named[1][1:]))


def _arrived(said: Mapping[str, Any], *, variant: int) -> Arrived:
    by_kind: dict[str, list[str]] = {"o": [], "c": [], "u": []}
    for link in said["links"]:
        kind = urlsplit(link).path[1:2]
        if kind in by_kind:
            by_kind[kind].append(link)
    return Arrived(
        recipient=said["recipient"],
        provider=said["provider"],
        variant=variant,
        pixel=by_kind["o"][0] if by_kind["o"] else "",
        clicks=tuple(by_kind["c"]),
        unsubscribe=by_kind["u"][0] if by_kind["u"] else "",
    )


@dataclass(slots=True, kw_only=True)
class Visitors:
    """Everybody who does something, one request after the other, some at once."""

    client: aiohttp.ClientSession
    hooks: str  # where gifts are told
    actblue: Credentials | None
    now: Callable[[], datetime]
    tally: Tally = field(default_factory=Tally)

    async def visit(self, message: Arrived, visit: Visit) -> None:
        """Do one thing."""
        self.tally.deeds[visit.deed] += 1
        match visit.deed:
            case Deed.OPEN:
                await self._get(message.pixel, visit.agent)
            case Deed.SCAN:
                for link in message.clicks[:SCANNED]:
                    await self._get(link, visit.agent)
            case Deed.CLICK:
                await self._get(message.clicks[0], visit.agent)
            case Deed.GIVE:
                where = await self._get(message.clicks[0], visit.agent)
                await self._give(message, visit, where)
            case Deed.UNSUBSCRIBE:
                await self._post(message.unsubscribe, visit.agent)
            case _:
                assert_never(visit.deed)

    async def _get(self, url: str, agent: str) -> str:
        """Ask for *url*, and return where it leads."""
        self.tally.requests += 1
        headers = {"User-Agent": agent}
        async with self.client.get(
            url, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.headers.get("Location", "")

    async def _post(self, url: str, agent: str) -> None:
        """Unsubscribe as a mailbox provider does (RFC 8058)."""
        self.tally.requests += 1
        form = {"List-Unsubscribe": "One-Click"}
        async with self.client.post(
            url, data=form, headers={"User-Agent": agent}
        ) as answer:
            await answer.read()

    async def _give(self, message: Arrived, visit: Visit, where: str) -> None:
        """Tell of a gift as ActBlue does, with the refcodes of the link."""
        if self.actblue is None:
            return
        self.tally.requests += 1
        instant = self.now().isoformat()
        codes = {
            name: values[0]
            for name, values in parse_qs(urlsplit(where).query).items()
            if name.startswith("refcode")
        }
        named = f"{message.recipient} {codes}".encode()
        number = int.from_bytes(hashlib.blake2b(named, digest_size=6).digest(), "big")
        gift = {
            "donor": {"email": message.recipient},
            "contribution": {
                "createdAt": instant,
                "orderNumber": f"AB{number}",
                "refcodes": codes,
                "recurringPeriod": "once",
                "status": "approved",
            },
            "lineitems": [
                {
                    "lineitemId": number,
                    "sequence": 0,
                    "amount": f"{visit.amount:.2f}",
                    "paidAt": instant,
                }
            ],
        }
        auth = aiohttp.BasicAuth(self.actblue.user, self.actblue.password)
        url = f"{self.hooks}/hooks/actblue/contributions"
        async with self.client.post(url, json=gift, auth=auth) as answer:
            await answer.read()


async def visit(
    record: Path,
    *,
    blast: int,
    hooks: str,
    metrics: str,
    actblue: Credentials | None,
    now: Callable[[], datetime],
    tell: Callable[[Tally], None],
) -> Tally:
    """Have everybody do what they do with a blast; *tell* hears how far it is.

    Gifts are told to *hooks*; *metrics* says when all of it is in the database.

    Raises NotFound without the record, Unavailable when nobody answers.
    """
    if not await asyncio.to_thread(record.is_file):
        message = f"{record}: no such file: run `mailer sink --record {record} --links`"
        raise errors.NotFound(message)
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as client:
        visitors = Visitors(client=client, hooks=hooks, actblue=actblue, now=now)
        todo = _todo(record, blast=blast, tally=visitors.tally)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(_work(visitors, todo, tell))
            await _loaded(client, metrics)
        except* (aiohttp.ClientError, TimeoutError) as failures:
            message = f"{hooks} does not answer: {failures.exceptions[0]!r}"
            raise errors.Unavailable(message) from failures
        return visitors.tally


def _todo(record: Path, *, blast: int, tally: Tally) -> Iterator[tuple[Arrived, Visit]]:
    for message in arrived(record, blast=blast):
        tally.messages += 1
        for one in crowd.visits(
            recipient=message.recipient,
            provider=message.provider,
            variant=message.variant,
        ):
            yield message, one


async def _work(
    visitors: Visitors,
    todo: Iterator[tuple[Arrived, Visit]],
    tell: Callable[[Tally], None],
) -> None:
    for message, one in todo:
        await visitors.visit(message, one)
        tell(visitors.tally)


async def _loaded(client: aiohttp.ClientSession, metrics: str) -> None:
    """Wait until what was received is in the database, or a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOADING):
            while True:
                async with client.get(f"{metrics}/metrics") as answer:
                    counts = _counts(await answer.text())
                known = counts["mailer_events_loaded"] + counts["mailer_events_refused"]
                if known >= counts["mailer_events_received"]:
                    return
                await asyncio.sleep(LOOK)


def _counts(text: str) -> Counter[str]:
    """Return the totals of a page of metrics, whatever their labels."""
    totals: Counter[str] = Counter()
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if line.startswith("mailer_events_"):
            totals[name.partition("{")[0].removesuffix("_total")] += int(float(value))
    return totals
