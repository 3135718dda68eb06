"""What a worker knows of sources that send directly: which are here, and the ways."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from mailer import errors
from mailer.core import exchange
from mailer.core.bounce import Answered
from mailer.core.provider import Kind, Provider, Source
from mailer.core.subscriber import Subscriber
from mailer.mail import smtp
from mailer.mail.route import Route, Router
from mailer.mail.session import Session

log = structlog.get_logger()

Way = Route | Answered


def here(sources: Sequence[Source]) -> tuple[Source, ...]:
    """Return the sources that can send from this machine.

    The settings are the same on every machine, and an address is on one of them.
    Raises Unavailable when there is none.
    """
    found = tuple(one for one in sources if smtp.is_here(one))
    for one in sources:
        if one not in found:
            log.info("source.elsewhere", source=one.name, address=one.address)
    if sources and not found:
        smtp.demand_here(sources[0])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """Knows where the messages of a source go: all to its relay, or each its way."""

    source: Source
    router: Router | None  # there for every source that sends directly
    providers: tuple[Provider, ...]  # known by their MX hosts

    @property
    def is_direct(self) -> bool:
        """Tell whether each domain has servers of its own."""
        return self.source.kind is Kind.DIRECT

    async def ask(self, people: Iterable[Subscriber]) -> Mapping[str, Way]:
        """Ask for the way to each domain, all at once; a relay needs none.

        Raises Unavailable when the DNS answers to nothing.
        """
        found: dict[str, Way] = {}
        failures: list[errors.Unavailable] = []

        async def ask(router: Router, domain: str) -> None:
            try:
                found[domain] = await router.route(domain)
            except errors.Unavailable as error:
                failures.append(error)

        if not self.is_direct:
            return found
        assert self.router is not None
        async with asyncio.TaskGroup() as group:
            for domain in dict.fromkeys(one.domain for one in people):
                group.create_task(ask(self.router, domain))
        if failures:
            raise failures[0]
        return found

    def way(self, found: Way | None) -> Way | None:
        """Return the way, or what its messages get because no host took us lately."""
        if self.router is None or not isinstance(found, Route):
            return found
        return self.router.shut_for(self.source.name, found) or found

    def shut(self, found: Route, end: Answered) -> None:
        """Have the messages of *found* get *end* for a while."""
        assert self.router is not None
        self.router.shut(self.source.name, found, end)

    async def open(self, found: Route | None) -> Session:
        """Connect to the relay, or to a host of *found*.  Raises Refused."""
        if found is None:
            return await smtp.connect(self.source)
        assert self.router is not None
        return await smtp.connect_any(self.source, found, router=self.router)

    def strays(
        self, lane: str, domains: Mapping[int, str], ways: Mapping[str, Way]
    ) -> Mapping[str, list[int]]:
        """Return the seqs that belong into the lanes of other providers than *lane*.

        *domains* has that of each seq.  All MX hosts of a domain decide together.
        """
        found: defaultdict[str, list[int]] = defaultdict(list)
        lanes: dict[tuple[str, ...], str] = {}
        for seq, domain in domains.items():
            way = ways.get(domain)
            if not isinstance(way, Route):
                continue
            hosts = way.names or way.key
            if hosts not in lanes:
                lanes[hosts] = exchange.receiver(
                    hosts, providers=self.providers, hint=lane
                ).provider
            if lanes[hosts] != lane:
                found[lanes[hosts]].append(seq)
        return found
