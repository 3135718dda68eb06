"""A name server on loopback that knows what a test tells it."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = dict[str, list[str]]  # "example.org MX" -> ["10 mx.example.org."]


def txt(text: str) -> str:
    """Write a TXT record, in strings of at most 255 bytes."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


class _Server(socketserver.ThreadingUDPServer):
    daemon_threads = True
    zone: Mapping[str, list[str]]
    refused: frozenset[str]
    silent: frozenset[str]
    ttl: int
    asked: list[str]
    is_cut_off: bool


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, socket = self.request
        server = self.server
        assert isinstance(server, _Server)
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        (asked,) = question.question
        name = asked.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(asked.rdtype)
        server.asked.append(f"{name} {kind}")
        if name in server.silent:
            return
        records = server.zone.get(f"{name} {kind}", [])
        if records:
            answer.answer.append(
                dns.rrset.from_text(asked.name, server.ttl, "IN", kind, *records)
            )
        else:  # RFC 2308 §3: for how long there is nothing
            answer.authority.append(
                dns.rrset.from_text(
                    ".", server.ttl, "IN", "SOA", f". . 1 1 1 1 {server.ttl}"
                )
            )
        is_top = name == "com" and not server.is_cut_off
        if not is_top and not any(key.split()[0] == name for key in server.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if name in server.refused:
            answer.set_rcode(dns.rcode.SERVFAIL)
        socket.sendto(answer.to_wire(), self.client_address)


@contextmanager
def serving(
    zone: Mapping[str, list[str]],
    *,
    refused: str = "",
    silent: str = "",
    ttl: int = 60,
    asked: list[str] | None = None,
    is_cut_off: bool = False,
) -> Iterator[str]:
    """Answer from *zone* inside the block; yield the address to ask.

    SERVFAIL for the names in *refused*, nothing at all for those in *silent*; what
    was asked is added to *asked*.  A server that is *cut off* does not know ``com``.
    """
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.zone = zone
        server.refused = frozenset(refused.split())
        server.silent = frozenset(silent.split())
        server.ttl = ttl
        server.asked = [] if asked is None else asked
        server.is_cut_off = is_cut_off
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
