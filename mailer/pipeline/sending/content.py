"""What was approved, as a worker needs it: composers and the predicate of excludes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailer.core import audience, signature
from mailer.core.preference import Mode
from mailer.core.segment import Predicate
from mailer.mail import message, template
from mailer.store import blasts, chunks, database


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the settings say that goes into each message."""

    organization: Mapping[str, str]
    public_url: str
    ring: Any
    signers: Sequence[signature.Key] = ()
    bounce_domain: str | None = None
    has_metadata: bool = False
    tracking: Mapping[str, Mode] = field(default_factory=dict)  # by topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The approved content of one blast, compiled."""

    topic: str
    composers: Mapping[int, message.Composer]
    excluded: Predicate | None
    domains: frozenset[str]  # of From, of all variants


async def load(
    tx: database.Connection, running: blasts.Running, *, house: House
) -> Content:
    """Read and compile what was approved of a running blast."""
    body = await blasts.content(tx, running.approved_hash)
    arms = composers(body, running=running, house=house)
    return Content(
        topic=running.topic,
        composers=arms,
        excluded=audience.excluded(body, offset=chunks.ROWS_PARAMETERS),
        domains=frozenset(arm.domain for arm in arms.values()),
    )


def composers(
    body: Mapping[str, Any], *, running: blasts.Running, house: House
) -> dict[int, message.Composer]:
    """Return the composer of each variant of an approved content."""
    expires_at = body["expires_at"]
    shared = message.Blast(
        id=running.id,
        name=running.name,
        topic=running.topic,
        organization=house.organization,
        public_url=house.public_url,
        ring=house.ring,
        signers=house.signers,
        bounce_domain=house.bounce_domain,
        has_metadata=house.has_metadata,
        tracking=house.tracking.get(running.topic, Mode.FULL),
        deadline=datetime.fromisoformat(expires_at) if expires_at else None,
    )
    return {
        position: message.Composer(
            template.Compiled.from_document(arm["compiled"]),
            blast=shared,
            variant=position,
            sender=arm["from"],
            reply_to=body["reply_to"],
        )
        for position, arm in enumerate(body["variants"], 1)
    }
