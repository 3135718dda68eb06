"""What the DNS said of domains, judged by the providers of the settings, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from mailer import errors, settings
from mailer.core import exchange
from mailer.core.exchange import TAKES_NONE, Mx, Receiver, Why
from mailer.core.provider import OTHER, Provider
from mailer.mail.exchanges import Exchanges, Found
from mailer.mail.resolver import Resolver
from mailer.settings import dns
from mailer.store import database, domains

BATCH = 500  # domains that are written down at once
WORKERS = 100  # tasks that ask; fewer questions are open at once
FEW = 3  # domains of which none is there: more, and it is not the domains
LAST = 5.0  # seconds for writing down what is left

log = structlog.get_logger()

Progress = Callable[[int, int], None]  # domains that are done, of how many


def exchanges(chosen: settings.Settings) -> Exchanges:
    """Return what asks the resolvers of the settings.  Unavailable without any."""
    servers = [dns.server(one) for one in chosen.dns.servers]
    return Exchanges(Resolver(servers, is_caching=False))


@dataclass(frozen=True, slots=True)
class Answer:
    """Who receives a domain, and by which hosts."""

    receiver: Receiver
    hosts: tuple[Mx, ...]


def judge(found: Found, hint: str, providers: Sequence[Provider]) -> Answer:
    """Judge what the DNS said of a domain that *hint* is hinted for."""
    if found.why in TAKES_NONE:
        why = found.why
        return Answer(Receiver(provider=hint, why=why, claims={}), found.hosts)
    hosts = [one.host for one in found.hosts]
    judged = exchange.receiver(hosts, providers=providers, hint=hint)
    if found.why is Why.IMPLICIT and judged.why is Why.NOBODY:
        judged = Receiver(
            provider=judged.provider, why=Why.IMPLICIT, claims=judged.claims
        )
    return Answer(judged, found.hosts)


def rejudge(known: domains.Domain, hint: str, providers: Sequence[Provider]) -> Answer:
    """Judge what is kept by the providers of today: the file may have changed."""
    is_settled = known.why not in {Why.MX, Why.NOBODY, Why.MIXED}
    found = Found(hosts=known.hosts, why=known.why if is_settled else None)
    return judge(found, hint, providers)


def note(name: str, answer: Answer, seconds: float) -> domains.Said:
    """Return what is kept of *answer*."""
    return domains.Said(
        name=name,
        provider=answer.receiver.provider,
        why=answer.receiver.why,
        hosts=answer.hosts,
        seconds=seconds,
    )


async def kept(
    pool: database.Pool, said: Iterable[domains.Said]
) -> list[domains.Moved]:
    """Write down what was learned; without the database it is only shown."""
    try:
        async with database.transaction(pool) as tx:
            return await domains.keep(tx, said)
    except errors.Unavailable as error:
        log.warning("domains.away", error=str(error))
        return []


class Asker:
    """Asks about many domains, so many at once, and keeps what it learns."""

    def __init__(
        self,
        *,
        pool: database.Pool,
        chosen: settings.Settings,
        answers: dict[str, Answer],
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.moved: list[domains.Moved] = []
        self._pool = pool
        self._providers = chosen.providers
        self._chosen = chosen
        self._hints = exchange.hints(chosen.providers)
        self._answers = answers
        self._progress = progress
        self._unkept: list[domains.Said] = []
        self._done = 0
        self._has_found = False  # a domain that is there

    async def ask(self, names: Sequence[str]) -> str:
        """Ask about *names*; return why it was given up, or ""."""
        if not names:
            return ""
        left = iter(names)
        trouble: list[str] = []

        async def work(asked: Exchanges) -> None:
            for name in left:
                if trouble:
                    return
                try:
                    found = await asked.find(name)
                except errors.Unavailable as error:
                    trouble.append(str(error))
                    return
                await self._take(name, found, total=len(names))

        try:
            asked = exchanges(self._chosen)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(WORKERS, len(names))):
                    tasks.create_task(work(asked))
        except errors.Unavailable as error:  # no resolver at all
            trouble.append(str(error))
        finally:
            trouble += self._disbelieved()
            async with asyncio.timeout(LAST):
                await self._keep()
        return trouble[0] if trouble else ""

    def _disbelieved(self) -> list[str]:
        """Drop what a DNS said that knows nobody: it is not the Internet's."""
        count = len(self._unkept)
        if self._has_found or count < FEW:
            return []
        for one in self._unkept:
            del self._answers[one.name]
        self._unkept = []
        return [f"it knows none of {count:,} domains: is it one of the Internet's?"]

    async def _take(self, name: str, found: Found, *, total: int) -> None:
        self._done += 1
        self._progress(self._done, total)
        if found.trouble:
            return
        hint = self._hints.get(name, OTHER)
        answer = judge(found, hint, self._providers)
        self._answers[name] = answer
        self._unkept.append(note(name, answer, found.seconds))
        self._has_found = self._has_found or found.why is not Why.NONE
        if self._has_found and len(self._unkept) >= BATCH:
            await self._keep()

    async def _keep(self) -> None:
        said, self._unkept = self._unkept, []
        if said:
            self.moved += await kept(self._pool, said)
