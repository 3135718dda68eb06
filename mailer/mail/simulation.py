"""Simulated mailbox providers: a `sink.Host` that plays a scenario and counts.

What arrived is written to a record before it is answered, so that the record knows
of every message for which a client can have seen a 250.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from mailer.core.provider import OTHER
from mailer.mail import sink
from mailer.mail.place import Count, Place
from mailer.mail.scenario import Handshake, Scenario
from mailer.mail.sink import Act, Conversation, Then

_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_FEEDBACK = re.compile(rb"^feedback-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_LINK = re.compile(rb'(?:href|src)="(https?://[!#-~]+)"')
_UNSAFE = re.compile(r"[^A-Za-z0-9@.+-]")
EXTENSIONS = ("sink", "PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")


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
        self,
        scenario: Scenario,
        keeping: Keeping,
        *,
        now: Callable[[], datetime],
        time: Callable[[], float] | None = None,
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
        self._time = time or asyncio.get_running_loop().time  # in seconds
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
            if (act := place.join(client.peer, now=self._time())) is not None:
                return act
            client.provider = place.part.name
        return place.rcpt(
            address, messages=client.messages, now=self._time(), client=client.peer
        )

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
        place = self._place(address)
        act = place.take(address, now=self._time(), client=client.peer)
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
            self.places[client.provider].leave(client.peer)
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
