"""What a worker knows of sources that send directly: which are here, and the ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog

from mailer import errors
from mailer.core.bounce import Answered
from mailer.core.provider import Source
from mailer.mail import smtp
from mailer.mail.route import Route, Router

log = structlog.get_logger()


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


async def ways(
    router: Router, domains: Iterable[str]
) -> Mapping[str, Route | Answered]:
    """Return where mail for each of *domains* goes, all asked at once.

    Raises Unavailable when the DNS answers to nothing.
    """
    found: dict[str, Route | Answered] = {}
    failures: list[errors.Unavailable] = []

    async def ask(domain: str) -> None:
        try:
            found[domain] = await router.route(domain)
        except errors.Unavailable as error:
            failures.append(error)

    async with asyncio.TaskGroup() as group:
        for domain in dict.fromkeys(domains):
            group.create_task(ask(domain))
    if failures:
        raise failures[0]
    return found
