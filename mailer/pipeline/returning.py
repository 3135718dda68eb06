"""Take what comes back by mail: read it, find whose it was, keep it, then say yes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailer.core import feedback, verp
from mailer.core.event import Event
from mailer.core.feedback import Action, Identity, Reading
from mailer.core.tracking import Ring
from mailer.mail import postbox

_WOULD = {
    Action.SUPPRESS: "suppressed",
    Action.COUNT: "counted",
    Action.RECORD: "recorded",
    Action.UNSUBSCRIBE: "unsubscribed",
}
POSTMASTER = "postmaster"  # RFC 5321 §4.5.1: every domain has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What the reader makes of a message, and what would follow."""

    kind: str
    class_: str | None
    action: str
    status: str
    recipient: str
    evidence: tuple[str, ...]
    diagnostic: str
    remote: str
    reporter: str
    blast: int | None
    subscriber: int | None
    seq: int | None
    identified_by: str | None


def explain(ring: Ring, raw: bytes, *, to: Sequence[str] = ()) -> Explained:
    """Read a message that came to *to*; nothing is kept and nobody is suppressed."""
    reading = feedback.read(raw, to=to)
    who = feedback.identify(ring, reading.carriers)
    action = reading.action
    evidence = reading.evidence
    if who is not None:
        evidence += (_said(who),)
    elif action not in {Action.IGNORE, Action.REVIEW}:
        evidence += (
            "nothing that only we can make says whose message it was: else it would "
            f"be {_WOULD[action]}",
        )
        action = Action.REVIEW
    return Explained(
        kind=reading.kind.value,
        class_=None if reading.class_ is None else reading.class_.value,
        action=action.value,
        status=reading.status,
        recipient=reading.recipient,
        evidence=evidence,
        diagnostic=reading.diagnostic,
        remote=reading.remote,
        reporter=reading.reporter,
        blast=who.blast if who else None,
        subscriber=who.subscriber if who else None,
        seq=who.seq if who else None,
        identified_by=who.by if who else None,
    )


def _said(who: Identity) -> str:
    person = (
        f"subscriber {who.subscriber}" if who.seq is None else f"delivery {who.seq}"
    )
    return f"{who.by} says blast {who.blast}, {person}"


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads what came back and hands it on; *keep* returns once it is on the disk."""

    ring: Ring
    keep: Callable[[Event], Awaitable[None]]
    now: Callable[[], datetime]
    domain: str | None = None
    addresses: Sequence[str] = ()
    read: Counter[str] = field(default_factory=Counter)  # by kind, those for review too

    def knows(self, address: str) -> bool:
        """Tell whether mail to *address* is read here: else nobody has to send it."""
        plain = address.strip().strip("<>").lower()
        if plain in {one.lower() for one in self.addresses}:
            return True
        local, _, domain = plain.rpartition("@")
        if self.domain is None or domain != self.domain:
            return False
        return local == POSTMASTER or verp.unseal(self.ring, plain) is not None

    async def take(self, raw: bytes, to: str = "") -> Reading:
        """Read one message and keep what it says.

        Raises Unavailable when it cannot be kept: whoever sent it must try again.
        """
        recipients = [to] if to else []
        # Off the loop: a megabyte of a stranger's text takes up to a second.
        reading, found = await asyncio.to_thread(self._read, raw, recipients)
        if found is not None:
            await self.keep(found)
        is_stray = found is not None and found.stray is not None
        self.read["review" if is_stray else reading.kind.value] += 1
        return reading

    def _read(self, raw: bytes, to: Sequence[str]) -> tuple[Reading, Event | None]:
        reading = feedback.read(raw, to=to)
        found = feedback.as_event(
            reading,
            feedback.identify(self.ring, reading.carriers),
            raw=raw,
            to=to[0] if to else "",
            at=self.now(),
        )
        return reading, found


async def empty(reader: Reader, path: Path, *, remove: bool = True) -> int:
    """Read every message of a Maildir, an mbox or a file; return how many.

    Each is removed once it is kept; a single file stays.  Raises NotFound, Invalid,
    and Unavailable when a message cannot be kept: it and what follows stay.
    """
    count = 0
    with postbox.opened(path) as found:
        for one in found:
            await reader.take(one.raw)
            if remove:
                one.remove()
            count += 1
    return count
