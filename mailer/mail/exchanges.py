"""Ask the DNS who receives the mail of many domains, and remember what it said.

RFC 5321 §5.1 (MX, implicit MX), RFC 7505 (null MX), RFC 2308 (that there is nothing is
an answer, and holds for its time, too).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from mailer import errors
from mailer.core.exchange import Mx, Why
from mailer.mail import resolver
from mailer.mail.memory import Memory
from mailer.mail.route import CAP, FAILED, FLOOR, NO_CAP

AT_ONCE = 50  # domains that are asked about
KNOWN = 10_000  # domains that are remembered
HOSTS = 20  # of a domain that are kept: a hostile one may name hundreds
SILENT = 20  # questions in a row without any answer: then it is not the domains

_HOST = re.compile(r"[!-~]{1,255}")  # as the resolver writes it; no space


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the DNS says of a domain.  *why* is None where the hosts tell."""

    hosts: tuple[Mx, ...] = ()
    why: Why | None = None
    seconds: float = FAILED
    trouble: str = ""  # why nobody could say


class Exchanges:
    """Knows the MX hosts of domains; one a process."""

    def __init__(
        self,
        asked: resolver.Resolver,
        *,
        clock: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
    ) -> None:
        self._resolver = asked
        self._known: Memory[Found] = Memory(clock, KNOWN)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._at_once = asyncio.Semaphore(at_once)
        self._silent = 0  # in a row

    async def find(self, domain: str) -> Found:
        """Return what the DNS says of *domain* (A-labels), from memory while it holds.

        Raises Unavailable when it answers to nothing: then it is not the domain.
        """
        domain = domain.lower().rstrip(".")
        lock = self._asking.setdefault(domain, asyncio.Lock())
        async with lock:  # who comes second finds what the first one learned
            found = self._known.get(domain)
            if found is None:
                found = await self._learn(domain)
                self._known.put(domain, found, found.seconds)
        return found

    async def _learn(self, domain: str) -> Found:
        try:
            async with self._at_once:
                if self._silent > SILENT:
                    message = f"DNS did not answer {self._silent} times in a row"
                    raise errors.Unavailable(message)
                found = await self._ask(domain)
        except resolver.Silent as error:
            self._silent += 1
            if self._silent > SILENT:
                raise
            return Found(trouble=str(error))
        self._silent = 0
        return found

    async def _ask(self, domain: str) -> Found:
        try:
            exchanges, said = await self._resolver.exchanges(domain)
            if not said.is_known:
                return Found(why=Why.NONE, seconds=_clamped(said.seconds, NO_CAP))
            named = [one for one in exchanges if _HOST.fullmatch(one.host)]
            if named:
                held = _clamped(said.seconds, CAP)
                return Found(hosts=tuple(named[:HOSTS]), seconds=held)
            if exchanges:
                return Found(why=Why.NULL, seconds=_clamped(said.seconds, NO_CAP))
            return await self._itself(domain)
        except resolver.Silent:
            raise
        except errors.Unavailable as error:
            return Found(trouble=str(error))

    async def _itself(self, domain: str) -> Found:
        """Return what a domain without MX comes to: it may take its mail itself."""
        seconds = NO_CAP
        for version in (4, 6):
            addresses, said = await self._resolver.hosts(domain, version=version)
            seconds = min(seconds, said.seconds)
            if addresses:
                itself = Mx(preference=0, host=domain)
                held = _clamped(said.seconds, CAP)
                return Found(hosts=(itself,), why=Why.IMPLICIT, seconds=held)
        return Found(why=Why.NONE, seconds=_clamped(seconds, NO_CAP))


def _clamped(seconds: float, cap: float) -> float:
    return min(max(seconds, FLOOR), cap)
