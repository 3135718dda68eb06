"""Which addresses are on the Internet, and which only we could reach.

RFC 6890 (special purpose), RFC 1918, 4193 (private), 6052 and 3056 (IPv4 in IPv6).
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_INTERNET_6 = ipaddress.ip_network("2000::/3")
_6TO4 = ipaddress.ip_network("2002::/16")  # carries an IPv4 address: perhaps our own


def is_public(ip: Address) -> bool:
    """Tell whether *ip* means the same host to everybody."""
    if ip.is_multicast or not ip.is_global:
        return False
    return ip.version == 4 or (ip in _INTERNET_6 and ip not in _6TO4)
