"""Simulated mailbox providers: a `sink.Host` that plays a scenario and counts.

What arrived is written to a record before it is answered, so that the record knows
of every message for which a client can have seen a 250.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mailer.core.provider import OTHER
from mailer.mail import sink
from mailer.mail.scenario import Handshake, Part, Scenario
from mailer.mail.sink import Act, Conversation, Then

_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_FEEDBACK = re.compile(rb"^feedback-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_LINK = re.compile(rb'(?:href|src)="(https?://[!#-~]+)"')
_UNSAFE = re.compile(r"[^A-Za-z0-9@.+-]")
_MEMORY = 600.0  # seconds for which `slow` replies are held against the client
EXTENSIONS = ("sink", "PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")


@dataclass(slots=True, kw_only=True)
class Count:
    """What one provider saw."""

    provider: str
    connections: int = 0
    accepted: int = 0
    unknown: int = 0
    full: int = 0
    greylisted: int = 0
    slowed: int = 0
    banned: int = 0
    crowded: int = 0
    refused: int = 0
    broken: int = 0
    dropped: int = 0
    most_connections: int = 0  # at once
    most_in_a_second: int = 0  # accepted


@dataclass(slots=True)
class Place:
    """One provider at work: its part and what it remembers."""

    part: Part
    count: Count
    open: int = 0
    _due: float = 0.0  # GCRA: when the bucket is empty again
    _banned_until: float = 0.0
    _slow: deque[float] = field(default_factory=deque)
    _seen: dict[str, float] = field(default_factory=dict)  # address, first try
    _broken: set[str] = field(default_factory=set)
    _second: tuple[int, int] = (0, 0)

    def join(self) -> Act | None:
        """Count a connection; refuse it when there are too many."""
        limit = self.part.connections
        if limit is not None and self.open >= limit:
            self.count.crowded += 1
            return Act(self.part.says.crowded, Then.CLOSE)
        self.open += 1
        self.count.connections += 1
        self.count.most_connections = max(self.count.most_connections, self.open)
        return None

    def rcpt(self, address: str, *, messages: int, now: float) -> Act:
        """Answer RCPT TO, after *messages* on this connection."""
        part, count, says = self.part, self.count, self.part.says
        if part.messages is not None and messages >= part.messages:
            return Act(says.enough, Then.CLOSE)
        if (act := self._pace(now)) is not None:
            return act
        delay = part.latency.total_seconds()
        if part.unknown.has(address, "unknown"):
            count.unknown += 1
            return Act(says.unknown, delay=delay)
        if part.full.has(address, "full"):
            count.full += 1
            return Act(says.full, delay=delay)
        if part.greylisted.has(address, "greylisted"):
            first = self._seen.setdefault(address, now)
            if first == now or now < first + part.greylisting.total_seconds():
                count.greylisted += 1
                return Act(says.greylisted, delay=delay)
        return Act("250 2.1.5 OK", delay=delay)

    def _pace(self, now: float) -> Act | None:
        """Refuse what comes too fast, and for a while who does not listen."""
        part, count = self.part, self.count
        if now < self._banned_until:
            count.banned += 1
            return Act(part.says.banned, Then.CLOSE)
        if part.rate.is_unlimited:
            return None
        due = max(self._due, now) + 1 / part.rate.per_second
        if due - now <= max(1, part.burst) / part.rate.per_second:
            self._due = due
            return None
        count.slowed += 1
        self._slow.append(now)
        while self._slow and self._slow[0] < now - _MEMORY:
            self._slow.popleft()
        if part.penalty and len(self._slow) > part.patience:
            self._banned_until = now + part.penalty.total_seconds()
            self._slow.clear()
        closes = part.says.slow.startswith("421")
        return Act(part.says.slow, Then.CLOSE if closes else Then.GO_ON)

    def breaks(self, address: str) -> bool:
        """Tell whether the connection is cut while this first try comes in."""
        if address in self._broken or not self.part.broken.has(address, "broken"):
            return False
        self._broken.add(address)
        self.count.broken += 1
        return True

    def take(self, address: str, *, now: float) -> Act:
        """Answer the final dot; 2xx or silence means that the message is in."""
        part, count = self.part, self.count
        delay = part.latency.total_seconds()
        if part.refused.has(address, "refused"):
            count.refused += 1
            return Act(part.says.refused, delay=delay)
        count.accepted += 1
        second, so_far = self._second
        self._second = (int(now), so_far + 1 if second == int(now) else 1)
        count.most_in_a_second = max(count.most_in_a_second, self._second[1])
        if part.dropped.has(address, "dropped"):
            count.dropped += 1
            return Act(then=Then.DROP)
        return Act(part.says.accepted, delay=delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What is kept of the messages that arrive."""

    record: Path | None = None  # a JSON line a message
    is_durable: bool = False  # the line is on disk before the answer
    has_links: bool = False  # with the links of its HTML, for visitors to follow
    save: Path | None = None  # a folder of whole messages
    save_at_most: int = 1000


def _header(pattern: re.Pattern[bytes], content: bytes) -> str | None:
    """Return the value of a header that *pattern* finds."""
    found = pattern.search(content, 0, content.find(b"\r\n\r\n") + 2)
    return found[1].decode("ascii", "replace") if found else None


class Simulation:
    """All providers at one address; the recipient's domain says which is meant."""

    def __init__(
        self, scenario: Scenario, keeping: Keeping, *, now: Callable[[], datetime]
    ) -> None:
        parts = {**scenario.provider, OTHER: scenario.casting()[OTHER]}
        self.places = {
            name: Place(part=part, count=Count(provider=name))
            for name, part in parts.items()
        }
        self._cast: Mapping[str, Place] = {
            domain: self.places[part.name]
            for domain, part in scenario.casting().items()
        }
        self._tls = scenario.tls
        self._keeping = keeping
        self._now = now
        self._time = asyncio.get_running_loop().time
        self._saved = 0
        self._file: int | None = None

    def __enter__(self) -> Simulation:
        if self._keeping.record is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.open(self._keeping.record, flags, 0o600)
        if self._keeping.save is not None:
            self._keeping.save.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def counts(self) -> tuple[Count, ...]:
        """Return what each provider that was spoken to saw."""
        return tuple(
            place.count
            for place in self.places.values()
            if place.count.connections or place.count.crowded
        )

    def _place(self, address: str) -> Place:
        domain = address.rpartition("@")[2].lower()
        return self._cast.get(domain) or self._cast[OTHER]

    # ── sink.Host ───────────────────────────────────────────────────────────

    def connected(self, client: Conversation) -> Act:
        """Greet: whose mail it is shows at RCPT."""
        return Act("220 sink ESMTP")

    def ehlo(self, client: Conversation) -> Act:
        """Offer what real providers do."""
        *lines, last = EXTENSIONS
        if self._tls is not None and not client.is_encrypted:
            lines.append("STARTTLS")
        return Act("".join(f"250-{line}\n" for line in lines) + f"250 {last}")

    def starttls(self, client: Conversation) -> Act:
        """Encrypt, as the scenario has it."""
        if self._tls is None or client.is_encrypted:
            return Act("503 5.5.1 Not now")
        match self._tls.handshake:
            case Handshake.GOOD:
                return Act("220 2.0.0 Go ahead", Then.ENCRYPT)
            case Handshake.REFUSED:
                return Act("454 4.7.0 TLS not available due to temporary reason")
            case Handshake.BROKEN:
                return Act("220 2.0.0 Go ahead\nThis is no TLS", Then.CLOSE)

    def mail(self, client: Conversation, sender: str) -> Act:
        """Take any sender."""
        return Act("250 2.1.0 OK")

    def rcpt(self, client: Conversation, address: str) -> Act:
        """Let the provider of *address* answer."""
        place = self._place(address)
        if client.provider != place.part.name:
            self.left(client)
            if (act := place.join()) is not None:
                return act
            client.provider = place.part.name
        return place.rcpt(address, messages=client.messages, now=self._time())

    def data(self, client: Conversation) -> Act:
        """Let the message come, if it is to somebody."""
        if not client.recipients:
            return Act("503 5.5.1 No valid recipients")
        return Act("354 Go ahead")

    def body(self, client: Conversation, size: int) -> Act | None:
        """Cut the connection while the body comes, where the part says so."""
        address = client.recipients[0]
        if self._place(address).breaks(address):
            return Act(then=Then.RESET)
        return None

    def message(self, client: Conversation, content: bytes) -> Act:
        """Record the message, then answer."""
        address = client.recipients[0]
        act = self._place(address).take(address, now=self._time())
        if sink.is_yes(act) or act.then is Then.DROP:
            self._keep(client, address, content)
        return act

    def other(self, client: Conversation, verb: str) -> Act:
        """Know no other command but RSET."""
        if verb == "RSET":
            return Act("250 2.0.0 Reset")
        return Act("500 5.5.2 Unknown command")

    def left(self, client: Conversation) -> None:
        """Free the client's connection."""
        if client.provider is not None:
            self.places[client.provider].open -= 1
            client.provider = None

    def _keep(self, client: Conversation, address: str, content: bytes) -> None:
        if self._file is not None:
            line: dict[str, Any] = {
                "at": self._now().isoformat(),
                "provider": client.provider,
                "sender": client.sender,
                "recipient": address,
                "message_id": _header(_ID, content),
                "size": len(content),
            }
            if self._keeping.has_links:
                line["feedback_id"] = _header(_FEEDBACK, content)
                line["links"] = sorted(
                    {link.decode("ascii") for link in _LINK.findall(content)}
                )
            os.write(self._file, json.dumps(line).encode() + b"\n")
            if self._keeping.is_durable:
                os.fsync(self._file)
        folder = self._keeping.save
        if folder is not None and self._saved < self._keeping.save_at_most:
            self._saved += 1
            name = f"{self._saved:06}-{_UNSAFE.sub('_', address)[:100]}.eml"
            (folder / name).write_bytes(sink.unstuffed(content))
