"""A gift, and the codes by which it is known what moved the person to give.

A refcode names blast and variant; refcode2 names the link and, sealed, the person
(ActBlue: "reference codes").  Letters, digits and underscores only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from mailer import errors
from mailer.core import tracking
from mailer.core.tracking import Purpose, Ring, Token

CLICKED_WITHIN = timedelta(days=7)  # a gift without codes belongs to a click so recent
CENT = Decimal("0.01")
HIGHEST = Decimal(10) ** 10  # the ledger has ten digits before the point

_REFCODE = re.compile(r"em_([1-9]\d{0,9})_([1-9]\d{0,3})", re.ASCII)


class Method(StrEnum):
    """How a gift was attributed; kept with it, because some are surer than others."""

    REFCODE = "refcode"  # blast and variant stood in the form's address
    TOKEN = "token"  # noqa: S105 -- a word, no secret
    CLICK = "click"  # the same address had clicked within `CLICKED_WITHIN`
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """One line of a donation, as its sender told it."""

    sender: str  # actblue, …
    external_id: str  # the sender's name for this line
    at: datetime
    amount: Decimal
    currency: str = "USD"
    recurring: bool = False
    renewal: bool = False  # a later payment of a recurring gift
    email: str | None = None
    refcode: str | None = None
    giver: Token | None = None  # opened from refcode2

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Decimal):
            message = f"gift {self.external_id}: the amount must be a Decimal"
            raise TypeError(message)
        is_sum = self.amount.is_finite() and 0 < self.amount < HIGHEST
        if not is_sum or self.amount != self.amount.quantize(CENT):
            message = f"gift {self.external_id}: an amount of {self.amount}"
            raise errors.Invalid(message)


def refcode(*, blast: int, variant: int) -> str:
    """Return what a form shall send back with a gift that this variant moved."""
    return f"em_{blast}_{variant}"


def read_refcode(text: str | None) -> tuple[int, int] | None:
    """Return blast and variant of a refcode of ours, or None."""
    match = _REFCODE.fullmatch(text or "")
    return (int(match[1]), int(match[2])) if match else None


def read_refcode2(ring: Ring, text: str | None) -> Token | None:
    """Return person, blast and link of a refcode2 of ours, or None."""
    link, _, sealed = (text or "").partition("_")
    try:
        token = tracking.unseal(ring, Purpose.REFCODE, sealed.lower())
    except errors.Invalid:
        return None
    return token if link == str(token.link) else None


def as_json(gift: Gift) -> dict[str, Any]:
    """Return *gift* as what JSON knows; money is text."""
    giver = gift.giver
    return {
        "sender": gift.sender,
        "id": gift.external_id,
        "at": gift.at.isoformat(),
        "amount": str(gift.amount),
        "currency": gift.currency,
        "recurring": gift.recurring,
        "renewal": gift.renewal,
        "email": gift.email,
        "refcode": gift.refcode,
        "giver": giver and [giver.blast, giver.subscriber, giver.link],
    }


def from_json(value: Mapping[str, Any]) -> Gift:
    """Read what `as_json` wrote."""
    giver = value["giver"]
    return Gift(
        sender=value["sender"],
        external_id=value["id"],
        at=datetime.fromisoformat(value["at"]),
        amount=Decimal(value["amount"]),
        currency=value["currency"],
        recurring=value["recurring"],
        renewal=value["renewal"],
        email=value["email"],
        refcode=value["refcode"],
        giver=giver and Token(blast=giver[0], subscriber=giver[1], link=giver[2]),
    )
