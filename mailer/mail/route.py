"""Find the servers that take mail for a domain, for sources that send directly.

RFC 5321 §5.1 (MX, implicit MX, order, loops), RFC 7505 (null MX), RFC 2308 (what is
not there is remembered too).  MTA-STS (RFC 8461) and DANE (RFC 7672) are not done:
which host is right, only the DNS says.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from mailer import errors
from mailer.core import exchange, network
from mailer.core.bounce import Answered
from mailer.core.delivery import Reply, Stage
from mailer.core.provider import Kind, Source
from mailer.mail import resolver
from mailer.mail.memory import Memory

HOSTS = 10  # of a domain that are tried
ADDRESSES = 5  # of a host that are tried
KNOWN = 10_000  # domains, and hosts, that are remembered
AT_ONCE = 50  # domains that are asked about
FLOOR, CAP = 60.0, 3600.0  # seconds for which an answer holds, whatever it says
NO_CAP = 900.0  # … when it is that there is nothing: a typo may be corrected
FAILED = 60.0  # seconds until the DNS is asked again about what it could not say
SURE = "com"  # a domain that is there
BELIEVED = 60.0  # seconds for which a DNS is believed that knew a domain
SILENT = 5  # domains in a row without any answer: then it is not the domains
DEAD = 60.0  # seconds in which a host that failed is tried after the others


@dataclass(frozen=True, slots=True)
class Host:
    """A server by its name, as its certificate should say it, and its addresses."""

    name: str
    addresses: tuple[str, ...]


Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """The hosts of a domain: best preference first, equal ones together.

    *names* are all that the domain names, also those without an address for now:
    they say who receives, which must not change with each trouble of a host.
    """

    tiers: tuple[tuple[Host, ...], ...]
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> Key:
        """Return what domains have in common that may share a connection."""
        return tuple(host.name for tier in self.tiers for host in tier)


@dataclass(frozen=True, slots=True)
class Target:
    """One address of one host."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """How this machine is called: mail must not be handed to ourselves."""

    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()


def routing(
    sources: Iterable[Source],
    *,
    servers: Sequence[tuple[str, int]] = (),
    inside: Sequence[str] = (),
) -> Router | None:
    """Return a router for those of *sources* that send directly; None: none does.

    Raises Unavailable when there is no resolver to ask.
    """
    direct = [one for one in sources if one.kind is Kind.DIRECT]
    if not direct:
        return None
    own = Own(
        names=frozenset(one.helo.lower().rstrip(".") for one in direct if one.helo),
        addresses=frozenset(one.address for one in direct if one.address),
    )
    return Router(resolver.Resolver(servers, is_caching=False), own=own, inside=inside)


class Router:
    """Knows the way to domains, and which hosts failed lately; one a process."""

    def __init__(
        self,
        asked: resolver.Resolver,
        *,
        own: Own | None = None,
        inside: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """*inside* are networks that mail may go to although they are not public."""
        self._resolver = asked
        self._own = own or Own()
        self._inside = tuple(ipaddress.ip_network(one) for one in inside)
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 -- spreads load, hides nothing
        self._routes: Memory[Route | Answered] = Memory(clock, KNOWN)
        self._hosts: Memory[_Found] = Memory(clock, KNOWN)
        self._dead: Memory[bool] = Memory(clock, KNOWN)
        self._shut: Memory[Answered] = Memory(clock, KNOWN)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._silent = 0  # domains in a row
        self._known_at = -math.inf  # when the DNS knew a domain

    async def route(self, domain: str) -> Route | Answered:
        """Return where mail for *domain* (A-labels) goes, or what it gets instead.

        556 5.1.10 for a null MX, 550 5.1.2 where there is no such domain, 550 5.4.4
        without a usable address, 550 5.4.6 for a loop; 451 4.4.3 when the DNS cannot
        say, which spends an attempt: so the wait grows while a domain is broken.
        Raises Unavailable when it answers to nothing: then nobody is to blame.
        """
        domain = domain.lower().rstrip(".")
        known = self._routes.get(domain)
        if known is not None:
            return known
        lock = self._asking.setdefault(domain, asyncio.Lock())
        async with lock:  # who comes second finds what the first one learned
            known = self._routes.get(domain)
            if known is None:
                known = await self._learn(domain)
        return known

    def targets(
        self, found: Route, *, source: str, version: int | None
    ) -> list[Target]:
        """Return the addresses to try for *source*, in order.

        Hosts of one preference are shuffled each time (RFC 5321 §5.1); those that
        failed in the last minute come last.  *version*: only IPv4 or IPv6.
        """
        targets = []
        for tier in found.tiers:
            for host in self._random.sample(tier, len(tier)):
                usable = [one for one in host.addresses if _is_version(one, version)]
                targets += [Target(host.name, one) for one in usable[:ADDRESSES]]
        return sorted(targets, key=lambda one: self.is_dead(source, one))

    def is_dead(self, source: str, target: Target) -> bool:
        """Tell whether *target* failed for *source* in the last minute."""
        return self._dead.get(f"{source} {target.address}") is not None

    def bury(self, source: str, target: Target) -> None:
        """Remember that *target* did not take a connection of *source*."""
        self._dead.put(f"{source} {target.address}", value=True, seconds=DEAD)

    def shut(self, source: str, found: Route, end: Answered) -> None:
        """Remember that no host of *found* took *source*, and what that comes to."""
        self._shut.put(" ".join((source, *found.key)), end, DEAD)

    def shut_for(self, source: str, found: Route) -> Answered | None:
        """Return what the messages of *found* get that was shut in the last minute."""
        return self._shut.get(" ".join((source, *found.key)))

    # ── What is asked ───────────────────────────────────────────────────────

    async def _learn(self, domain: str) -> Route | Answered:
        try:
            async with self._at_once:
                found, seconds = await self._ask(domain)
        except resolver.Silent as error:
            self._silent += 1
            if self._silent > SILENT:
                raise
            found, seconds = _answer(451, f"4.4.3 {error}"), FAILED
        except errors.Unavailable as error:
            self._silent = 0
            found, seconds = _answer(451, f"4.4.3 {error}"), FAILED
        else:
            self._silent = 0
        self._routes.put(domain, found, seconds)
        return found

    async def _ask(self, domain: str) -> tuple[Route | Answered, float]:
        exchanges, said = await self._resolver.exchanges(domain)
        no = _clamped(said.seconds, NO_CAP)
        await self._believe(domain, is_known=said.is_known)
        if not said.is_known:
            return _answer(550, f"5.1.2 {domain}: no such domain (NXDOMAIN)"), no
        named = [one for one in exchanges if one.host]
        if exchanges and not named:
            return _answer(556, f"5.1.10 {domain} takes no mail (null MX)"), no
        # RFC 5321 §5.1: a domain without MX is its own; one with unusable MX is not.
        chosen = self._first(named or [exchange.Mx(preference=0, host=domain)])
        hosts = await self._addresses([one.host for one in chosen])
        pairs = list(zip(chosen, hosts, strict=True))
        loop = await self._loop(pairs)
        ways = [
            (one, found)
            for one, found in pairs
            if found.host and (loop is None or one.preference < loop)
        ]
        if ways:
            seconds = min(said.seconds, *(found.seconds for _, found in ways))
            names = sorted(
                one.host for one, _ in pairs if loop is None or one.preference < loop
            )
            return _route(ways, tuple(names)), _clamped(seconds, CAP)
        if loop is not None:
            text = f"5.4.6 mail for {domain} loops back: its MX is this machine"
            return _answer(550, text), no
        unsaid = [found.trouble for found in hosts if found.trouble]
        if unsaid:  # the first says what to look at
            return _answer(451, f"4.4.3 {unsaid[0]}"), FAILED
        if not named:
            return _answer(550, f"5.1.2 {domain} has neither MX nor address"), no
        why = "; ".join(found.why for found in hosts)[:300]
        return _answer(550, f"5.4.4 no usable MX of {domain}: {why}"), no

    async def _believe(self, domain: str, *, is_known: bool) -> None:
        """Believe that a domain is not there only of a DNS that knows one.

        A resolver that is cut off from the Internet may answer NXDOMAIN to everything:
        all of a list would bounce in seconds.  Raises Silent: it is as good as none.
        """
        if not is_known and self._clock() >= self._known_at + BELIEVED:
            _, said = await self._resolver.exchanges(SURE)
            is_known = said.is_known
            if not is_known:
                message = (
                    f"the DNS does not know {domain}, and not even {SURE}: "
                    "is it one of the Internet's?"
                )
                raise resolver.Silent(message)
        if is_known:
            self._known_at = self._clock()

    def _first(self, found: Sequence[exchange.Mx]) -> list[exchange.Mx]:
        """Return the hosts that are tried: a hostile domain may name hundreds."""
        shuffled = self._random.sample(list(found), len(found))
        return sorted(shuffled, key=lambda one: one.preference)[:HOSTS]

    async def _addresses(self, names: Sequence[str]) -> list[_Found]:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._address(name)) for name in names]
        return [one.result() for one in asked]

    async def _address(self, name: str) -> _Found:
        """Return the addresses of a host that mail may go to."""
        known = self._hosts.get(name)
        if known is not None:
            return known
        addresses: list[str] = []
        held: dict[bool, list[float]] = {True: [], False: []}
        try:
            for version in (4, 6):
                found, said = await self._resolver.hosts(name, version=version)
                held[bool(found)].append(said.seconds)
                addresses += found[: 10 * ADDRESSES]
        except errors.Unavailable as error:
            if not addresses:  # one kind of address is enough to go on
                return _Found(trouble=str(error))
            held[True].append(FAILED)
        seconds = min(held[True] or held[False])  # that one kind lacks says little
        usable = tuple(one for one in addresses if self._may_go_to(one))
        made = _Found(
            host=Host(name, usable) if usable else None,
            why=f"{name} is {', '.join(addresses[:3]) or 'nowhere'}",
            seconds=seconds,
        )
        self._hosts.put(name, made, _clamped(seconds, CAP if usable else NO_CAP))
        return made

    def _may_go_to(self, address: str) -> bool:
        """Tell whether *address* is one of the Internet's, or allowed by hand.

        Anybody can publish MX 127.0.0.1 or 10.0.0.1, sign up, and so have us speak
        to servers that only we reach; RFC 1918 §3: such addresses mean nothing
        outside.  A host without other addresses is one without addresses.
        """
        ip = ipaddress.ip_address(address)
        return network.is_public(ip) or any(ip in one for one in self._inside)

    async def _loop(self, pairs: Sequence[tuple[exchange.Mx, _Found]]) -> int | None:
        """Return the preference at which this machine is named; None: nowhere."""
        own = set(self._own.addresses)
        for name in sorted(self._own.names):
            found = await self._address(name)
            own.update(found.host.addresses if found.host else ())
        mine = [
            one.preference
            for one, found in pairs
            if one.host in self._own.names
            or (found.host and own.intersection(found.host.addresses))
        ]
        return min(mine, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is known of a host: its usable addresses, or why there are none."""

    host: Host | None = None
    why: str = ""
    seconds: float = FAILED
    trouble: str = ""  # why nobody could say


def _route(ways: Sequence[tuple[exchange.Mx, _Found]], names: tuple[str, ...]) -> Route:
    tiers: dict[int, list[Host]] = {}
    for one, found in sorted(ways, key=lambda way: (way[0].preference, way[0].host)):
        if found.host is not None:
            tiers.setdefault(one.preference, []).append(found.host)
    return Route(tuple(tuple(tier) for tier in tiers.values()), names)


def _answer(code: int, text: str) -> Answered:
    """Say in a server's place what it would say of the recipient."""
    return Answered(stage=Stage.RCPT, reply=Reply(code=code, text=text))


def _clamped(seconds: float, cap: float) -> float:
    return min(max(seconds, FLOOR), cap)


def _is_version(address: str, version: int | None) -> bool:
    return version is None or (":" in address) == (version == 6)
