"""Whom to ask about domains."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

PORT = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """The resolvers that are asked; the system's if none is named.

    *inside* are networks that sources of kind direct may send to although they are
    not public: of a test, or of an organisation that takes its own mail.
    """

    servers: tuple[str, ...] = ()  # "192.0.2.53" or "192.0.2.53:5353"
    inside: tuple[str, ...] = ()  # "10.1.0.0/16"

    def __post_init__(self) -> None:
        for one in self.servers:
            server(one)
        for one in self.inside:
            _network(one)


def _network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        message = f'"{text}": write a network, "10.1.0.0/16" or "fd00:1::/32"'
        raise ValueError(message) from None


def server(text: str) -> tuple[str, int]:
    """Read ``"192.0.2.53"``, ``"192.0.2.53:5353"`` or ``"[2001:db8::53]:5353"``."""
    host, port = text, str(PORT)
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
    try:
        address, number = ipaddress.ip_address(host.strip("[]")), int(port)
    except ValueError:
        message = f'"{text}": write the address of a resolver, "192.0.2.53:53"'
        raise ValueError(message) from None
    if not 0 < number <= 65535:
        message = f'"{text}": a port is from 1 to 65535'
        raise ValueError(message)
    return str(address), number
