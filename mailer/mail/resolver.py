"""Ask the DNS about domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename

from mailer import errors
from mailer.core.exchange import Mx

LIFETIME = 5.0  # seconds for one question, with all servers and tries


class Silent(errors.Unavailable):
    """No resolver answered in time: theirs, or ours, cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the DNS says: no records is an answer too (RFC 2308)."""

    records: Sequence[Any] = ()
    is_known: bool = True  # False: there is no such name (NXDOMAIN)
    seconds: float = 0.0  # for how long this holds, said when it was asked


class Resolver:
    """Asks the resolvers given, else those of the system."""

    def __init__(
        self, servers: Sequence[tuple[str, int]] = (), *, is_caching: bool = True
    ) -> None:
        try:
            self._dns = dns.asyncresolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            message = "DNS cannot be asked: the system names no resolver; set [dns]"
            raise errors.Unavailable(message) from error
        if servers:
            self._dns.nameservers = [
                dns.nameserver.Do53Nameserver(host, port) for host, port in servers
            ]
        if is_caching:
            self._dns.cache = dns.resolver.LRUCache()
        self._dns.lifetime = LIFETIME

    async def txt(self, name: str) -> list[str]:
        """Return the TXT records of *name*, each joined from its strings."""
        return [
            b"".join(record.strings).decode("utf-8", "replace")
            for record in await self._ask(name, dns.rdatatype.TXT)
        ]

    async def mx(self, name: str) -> list[str]:
        """Return the hosts that take mail for *name*, the best first; "" takes none."""
        found = await self._ask(name, dns.rdatatype.MX)
        found.sort(key=lambda record: (record.preference, record.exchange))
        return [_plain(record.exchange) for record in found]

    async def addresses(self, name: str) -> list[str]:
        """Return the IPv4 and IPv6 addresses of *name*."""
        return [
            str(record.address)
            for kind in (dns.rdatatype.A, dns.rdatatype.AAAA)
            for record in await self._ask(name, kind)
        ]

    async def names(self, address: str) -> list[str]:
        """Return the names that an IP address says it has (PTR)."""
        reverse = dns.reversename.from_address(address)
        found = await self._ask(reverse.to_text(), dns.rdatatype.PTR)
        return [_plain(record.target) for record in found]

    async def exchanges(self, name: str) -> tuple[list[Mx], Answer]:
        """Return the MX hosts of *name* by preference, and what they stand in."""
        answer = await self._answer(name, dns.rdatatype.MX)
        hosts = [
            Mx(preference=one.preference, host=_plain(one.exchange))
            for one in answer.records
        ]
        hosts.sort(key=lambda one: (one.preference, one.host))
        return hosts, answer

    async def hosts(self, name: str, *, version: int) -> tuple[list[str], Answer]:
        """Return the IPv4 or IPv6 addresses of *name*, and what they stand in."""
        kind = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA
        answer = await self._answer(name, kind)
        return [str(one.address) for one in answer.records], answer

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
        """Return the records, none if there are none.  Raises Unavailable."""
        return list((await self._answer(name, kind)).records)

    async def _answer(self, name: str, kind: dns.rdatatype.RdataType) -> Answer:
        """Ask once.  Raises Unavailable when nobody can say."""
        try:
            answer = await self._dns.resolve(
                name, kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN as error:
            said: Mapping[dns.name.Name, dns.message.QueryMessage]
            said = error.responses()  # type: ignore[no-untyped-call]  # not annotated
            seconds = min(one.resolve_chaining().minimum_ttl for one in said.values())
            return Answer(is_known=False, seconds=seconds)
        except dns.resolver.LifetimeTimeout as error:
            servers = ", ".join(str(one) for one in self._dns.nameservers)
            message = f"DNS cannot be asked about {name}: {servers} did not answer"
            raise Silent(message) from error
        except (dns.exception.DNSException, OSError) as error:
            message = f"DNS cannot say what {name} is: {error}"
            raise errors.Unavailable(message) from error
        return Answer(
            records=list(answer.rrset or ()),
            seconds=answer.chaining_result.minimum_ttl,
        )


def _plain(name: object) -> str:
    return str(name).rstrip(".").lower()
