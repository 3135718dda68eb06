"""Whose message came back: only what we have sealed or signed says so.

The address that a report names is written down and never believed: whoever knows an
address could write a report about it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailer import errors
from mailer.core import tracking, verp
from mailer.core.feedback.reading import Carriers
from mailer.core.tracking import Purpose, Ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One delivery, by its person or by its place in the ledger."""

    blast: int
    subscriber: int | None = None
    seq: int | None = None
    by: str  # what said so

    @property
    def key(self) -> str:
        """Return what is the same for the same delivery and carrier."""
        return f"{self.blast}:{self.subscriber}:{self.seq}"


def identify(ring: Ring, carriers: Carriers) -> Identity | None:
    """Return whose message it was; None when nothing says so that only we can make."""
    return (
        _by_path(ring, carriers.paths, by="the return path")
        or _by_path(ring, carriers.envelope_ids, by="the envelope id")
        or _by_name(ring, carriers.envelope_ids, by="the envelope id")
        or _by_name(ring, carriers.message_ids, by="the Message-ID")
        or _by_unsubscribe(ring, carriers.unsubscribes)
    )


def _by_path(ring: Ring, texts: tuple[str, ...], *, by: str) -> Identity | None:
    for text in texts:
        token = verp.unseal(ring, text)
        if token is not None:
            return Identity(blast=token.blast, subscriber=token.subscriber, by=by)
    return None


def _by_name(ring: Ring, texts: tuple[str, ...], *, by: str) -> Identity | None:
    for text in texts:
        found = verp.named(ring, text)
        if found is not None:
            return Identity(blast=found.blast, seq=found.seq, by=by)
    return None


def _by_unsubscribe(ring: Ring, texts: tuple[str, ...]) -> Identity | None:
    for text in texts:
        try:
            token = tracking.unseal(ring, Purpose.UNSUBSCRIBE, text)
        except errors.Invalid:
            continue
        return Identity(
            blast=token.blast, subscriber=token.subscriber, by="List-Unsubscribe"
        )
    return None
