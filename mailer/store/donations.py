"""Gifts, and who has given what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailer import errors
from mailer.core import donation
from mailer.core import subscriber as people
from mailer.core.donation import Gift, Method
from mailer.store import database

SQL = database.load("donations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Who gave, and what moved them."""

    method: Method
    subscriber: int | None = None
    blast: int | None = None
    variant: int | None = None
    link: int | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """The gift that counts a donor of a blast."""

    at: datetime
    external_id: str
    variant: int | None


async def lock(tx: database.Connection) -> None:
    """Be the only transaction that adds gifts, until it ends."""
    await tx.value(SQL["lock"])


async def attribute(tx: database.Connection, gift: Gift) -> Attribution:
    """Find who gave and why: refcode, token, a recent click, else nothing."""
    giver = gift.giver
    subscriber = None
    if giver is not None:
        subscriber = await tx.value(SQL["subscriber"], id=giver.subscriber)
    if subscriber is None and gift.email:
        subscriber = await tx.value(
            SQL["subscriber_by_address"], address=_address(gift.email)
        )
    code = donation.read_refcode(gift.refcode)
    if code is not None and await tx.value(
        SQL["variant_exists"], blast=code[0], variant=code[1]
    ):
        link = giver.link if giver is not None and giver.blast == code[0] else None
        return await _delivered(
            tx, Method.REFCODE, subscriber, blast=code[0], link=link, variant=code[1]
        )
    if giver is not None and await tx.value(SQL["blast_exists"], blast=giver.blast):
        return await _delivered(
            tx, Method.TOKEN, subscriber, blast=giver.blast, link=giver.link
        )
    if subscriber is not None:
        row = await tx.row(
            SQL["clicked"],
            subscriber=subscriber,
            since=gift.at - donation.CLICKED_WITHIN,
            until=gift.at,
        )
        if row is not None and await tx.value(
            SQL["blast_exists"], blast=row["blast_id"]
        ):
            return await _delivered(
                tx, Method.CLICK, subscriber, blast=row["blast_id"], link=row["link"]
            )
    return Attribution(method=Method.NONE, subscriber=subscriber)


def _address(email: str) -> str:
    """Return the address as subscribers have it; a form may take what we would not."""
    try:
        return people.normalise(email).address
    except errors.Invalid:
        return email.strip().lower()


async def _delivered(
    tx: database.Connection,
    method: Method,
    subscriber: int | None,
    *,
    blast: int,
    link: int | None,
    variant: int | None = None,
) -> Attribution:
    """Add what the ledger says of the person's delivery."""
    row = await tx.row(SQL["delivery"], blast=blast, subscriber=subscriber)
    return Attribution(
        method=method,
        subscriber=subscriber,
        blast=blast,
        variant=variant or (row["variant"] if row is not None else None),
        link=link,
        provider=row["provider"] if row is not None else None,
    )


async def first(
    tx: database.Connection, gift: Gift, found: Attribution
) -> First | None:
    """Return the gift that counts this donor of this blast so far."""
    row = await tx.row(
        SQL["first"],
        blast=found.blast,
        subscriber=found.subscriber,
        person=gift.email or gift.external_id,
    )
    if row is None:
        return None
    return First(at=row["at"], external_id=row["external_id"], variant=row["variant"])


async def add(tx: database.Connection, gift: Gift, found: Attribution) -> bool:
    """Add a gift to the ledger and to the giver's history; tell whether it was new."""
    new = await tx.value(
        SQL["add"],
        sender=gift.sender,
        external_id=gift.external_id,
        at=gift.at,
        amount=gift.amount,
        currency=gift.currency,
        recurring=gift.recurring,
        renewal=gift.renewal,
        email=gift.email,
        subscriber=found.subscriber,
        blast=found.blast,
        variant=found.variant,
        link=found.link,
        method=found.method.value,
    )
    if new is None:
        return False
    if found.subscriber is not None:
        await tx.run(
            SQL["add_to_giving"],
            subscriber=found.subscriber,
            amount=gift.amount,
            at=gift.at,
            recurring=gift.recurring,
        )
        if found.blast is not None and not gift.renewal:
            await tx.run(
                SQL["mark_donated"],
                subscriber=found.subscriber,
                blast=found.blast,
                at=gift.at,
            )
    return True
