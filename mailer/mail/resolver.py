"""Ask the DNS about domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename

from mailer import errors

LIFETIME = 5.0  # seconds for one question, with all servers and tries


class Resolver:
    """Asks the resolvers given, else those of the system."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        try:
            self._dns = dns.asyncresolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            message = "DNS cannot be asked: the system names no resolver; set [dns]"
            raise errors.Unavailable(message) from error
        if servers:
            self._dns.nameservers = [
                dns.nameserver.Do53Nameserver(host, port) for host, port in servers
            ]
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

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
        """Return the records, none if there are none.  Raises Unavailable."""
        try:
            answer = await self._dns.resolve(
                name, kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return []
        except dns.resolver.LifetimeTimeout as error:
            servers = ", ".join(str(one) for one in self._dns.nameservers)
            message = f"DNS cannot be asked about {name}: {servers} did not answer"
            raise errors.Unavailable(message) from error
        except (dns.exception.DNSException, OSError) as error:
            message = f"DNS cannot say what {name} is: {error}"
            raise errors.Unavailable(message) from error
        return list(answer.rrset or ())


def _plain(name: object) -> str:
    return str(name).rstrip(".").lower()
