"""What came back from a message, and which people it counts.

An event gets its id at receipt, so that loading it twice changes nothing.  People are
counted once a blast, in the hour of their first event of a kind: whatever order the
events arrive in, the counts are those of the events in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import DecimalException
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from mailer import errors
from mailer.core import donation, stray
from mailer.core.donation import Gift
from mailer.core.stray import Stray
from mailer.core.tracking import RULES, Label, Token

LONGEST_AGENT = 300  # characters; longer ones are nobody's browser


class Kind(StrEnum):
    """What happened."""

    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    DONATION = "donation"
    PREFERENCES = "preferences"  # what a person chose on our page
    RETURN = "return"  # an unsubscribe is taken back
    SIGNUP = "signup"  # asked for mail on the website
    CONFIRMATION = "confirmation"  # followed the link of our question


class Queue(StrEnum):
    """The two spools: what may forbid a message never waits behind clicks."""

    URGENT = "urgent"
    BULK = "bulk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that came back."""

    id: UUID
    at: datetime
    kind: Kind
    blast: int | None = None
    subscriber: int | None = None
    link: int | None = None
    label: Label = Label.HUMAN
    reasons: tuple[str, ...] = ()
    rules: int = 0
    agent: str | None = None
    ip: str | None = None  # truncated
    seq: int | None = None  # in the ledger of the blast, where that is what is known
    gift: Gift | None = None
    stray: Stray | None = None  # that nobody could read: for review, no event
    body: Mapping[str, Any] | None = None  # what the sender of a hook or report said

    @property
    def queue(self) -> Queue:
        """Return the spool that it goes through."""
        return queue(self.kind)


def queue(kind: Kind) -> Queue:
    """Return the spool that events of a *kind* go through."""
    return Queue.BULK if kind is Kind.CLICK or kind is Kind.OPEN else Queue.URGENT


def new_id(at: datetime, random: bytes) -> UUID:
    """Make a UUIDv7 (RFC 9562 §5.7) of the instant and ten random bytes."""
    number = int.from_bytes(random[:10], "big")
    high = number >> 62 & 0xFFF
    low = number & (1 << 62) - 1
    milliseconds = int(at.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def gift_id(gift: Gift) -> UUID:
    """Return the id of the event of *gift*: the same however often it is told."""
    return uuid5(NAMESPACE_URL, f"mailer:gift:{gift.sender}:{gift.external_id}")


def clean(text: str, *, longest: int = LONGEST_AGENT) -> str:
    """Return text of strangers as what PostgreSQL takes: no NUL, no lone surrogate."""
    kept = text[:longest]
    if not kept.isascii():
        kept = kept.encode("utf-8", "replace").decode()
    return kept.replace("\0", "")


_SHORT = {
    "blast": "b", "subscriber": "s", "link": "l", "rules": "v", "agent": "a",
    "ip": "p", "body": "o", "seq": "q",
}  # fmt: skip


# json.dumps makes a new encoder each time that it is not asked for the default one.
_write = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encode(event: Event) -> bytes:
    """Write *event* as a record of the spool: one line of JSON."""
    line: dict[str, Any] = {
        "i": event.id.hex,
        "t": event.at.isoformat(),
        "k": event.kind,
        "b": event.blast,
        "s": event.subscriber,
        "l": event.link,
        "v": event.rules,
        "a": event.agent,
        "p": event.ip,
    }
    if event.body is not None:
        line["o"] = event.body
    if event.label is not Label.HUMAN:
        line["m"] = event.label
    if event.reasons:
        line["r"] = event.reasons
    if event.seq is not None:
        line["q"] = event.seq
    if event.stray is not None:
        line["w"] = stray.as_json(event.stray)
    if event.gift is not None:
        line["g"] = donation.as_json(event.gift)
    return _write(line).encode()


def seen(label: Label, reasons: tuple[str, ...], agent: str, ip: str | None) -> str:
    """Return the part of a record that is the same for all visits of a visitor."""
    line: dict[str, Any] = {"v": RULES, "a": clean(agent), "p": ip}
    if label is not Label.HUMAN:
        line["m"] = label
    if reasons:
        line["r"] = reasons
    return _write(line)[1:-1]


def visit(kind: Kind, token: Token, *, at: datetime, random: bytes, who: str) -> bytes:
    """Write the record of a click or an open: what `encode` writes, much faster.

    *who* comes from `seen`; *random* are ten bytes.
    """
    link = token.link if kind is Kind.CLICK else "null"
    id = f"{int(at.timestamp() * 1000):012x}7{random.hex()}"
    # RFC 9562 §5.7: the two bits of the variant, and of the rest what fits.
    id = f"{id[:16]}{'89ab'[random[9] & 3]}{id[16:31]}"
    return (
        f'{{"i":"{id}","t":"{at.isoformat()}","k":"{kind.value}",'
        f'"b":{token.blast},"s":{token.subscriber},"l":{link},{who}}}'
    ).encode()


def decode(record: bytes) -> Event:
    """Read a record of the spool.  Raises Invalid when it is no event."""
    try:
        line = json.loads(record)
        gift, kept = line.get("g"), line.get("w")
        return Event(
            id=UUID(line["i"]),
            at=datetime.fromisoformat(line["t"]),
            kind=Kind(line["k"]),
            label=Label(line.get("m", Label.HUMAN)),
            reasons=tuple(line.get("r", ())),
            gift=None if gift is None else donation.from_json(gift),
            stray=None if kept is None else stray.from_json(kept),
            **{name: line[short] for name, short in _SHORT.items() if short in line},
        )
    except (
        ValueError, KeyError, TypeError, AttributeError, IndexError, DecimalException,
    ) as error:  # fmt: skip
        message = f"a record of the spool is no event: {type(error).__name__}"
        raise errors.Invalid(message) from error


# ── Who is counted ──────────────────────────────────────────────────────────


class Count(StrEnum):
    """The columns of a report that count people by what they did."""

    OPENS = "opens"
    MACHINE_OPENS = "machine_opens"
    CLICKS = "clicks"
    MACHINE_CLICKS = "machine_clicks"
    UNSUBSCRIBES = "unsubscribes"
    COMPLAINTS = "complaints"
    RETURNED = "returned"  # was accepted, then came back


VISITS = frozenset(
    {Count.OPENS, Count.MACHINE_OPENS, Count.CLICKS, Count.MACHINE_CLICKS}
)


def count(kind: Kind, label: Label) -> Count | None:
    """Return where a person who did this is counted; a gift is counted by itself."""
    is_human = label is Label.HUMAN
    match kind:
        case Kind.OPEN:
            return Count.OPENS if is_human else Count.MACHINE_OPENS
        case Kind.CLICK:
            return Count.CLICKS if is_human else Count.MACHINE_CLICKS
        case Kind.UNSUBSCRIBE:
            return Count.UNSUBSCRIBES
        case Kind.COMPLAINT:
            return Count.COMPLAINTS
        case Kind.BOUNCE:
            return Count.RETURNED
        case Kind.DONATION | Kind.PREFERENCES:
            return None
        case Kind.RETURN | Kind.SIGNUP | Kind.CONFIRMATION:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engagement:
    """When one person did something about one blast, first and last."""

    first: Mapping[Count, datetime] = field(default_factory=dict)
    last: Mapping[Count, datetime] = field(default_factory=dict)


def engaged(before: Engagement, seen: Iterable[tuple[Count, datetime]]) -> Engagement:
    """Return the engagement after *seen*, in whatever order it is told."""
    first, last = dict(before.first), dict(before.last)
    for what, at in seen:
        first[what] = min(first.get(what, at), at)
        last[what] = max(last.get(what, at), at)
    return Engagement(first=first, last=last)


def hour(at: datetime) -> datetime:
    """Return the hour that an instant is counted in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def changes(
    before: Engagement, after: Engagement
) -> Iterator[tuple[Count, datetime, int]]:
    """Yield how counts change: one more person in an hour, or one less there.

    A person whose earlier event arrives late moves to the earlier hour.
    """
    for what, at in after.first.items():
        known = before.first.get(what)
        if known is not None and hour(known) == hour(at):
            continue
        if known is not None:
            yield what, hour(known), -1
        yield what, hour(at), 1
    for what, at in before.first.items():
        if what not in after.first:  # it was no person, or no machine
            yield what, hour(at), -1


def recounted(before: Engagement, seen: Iterable[tuple[Count, datetime]]) -> Engagement:
    """Return the engagement that the opens and clicks in *seen* make.

    What is older than all of them stays as it was: its raw events are gone.
    """
    found = list(seen)
    fresh = engaged(Engagement(), found)
    oldest = min((at for _, at in found), default=None)
    first, last = dict(fresh.first), dict(fresh.last)
    for what, at in before.first.items():
        if what not in VISITS or oldest is None or at < oldest:
            first[what] = at
            last[what] = max(before.last.get(what, at), last.get(what, at))
    return Engagement(first=first, last=last)
