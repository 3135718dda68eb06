"""Gifts as ActBlue tells them (secure.actblue.com/docs/webhooks).

One notification a line item, by HTTP Basic with a user and password of our choice.
Public parsers disagree on which fields are there: only the number of the line item, the
amount and the order number are required.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from aiohttp import web

from mailer import errors
from mailer.core import donation, event
from mailer.core.donation import Gift
from mailer.core.event import Event, Kind
from mailer.core.tracking import Ring
from mailer.pipeline.receiving import Inbox
from mailer.settings import Credentials

BODY_TIMEOUT = 10.0  # seconds
LONGEST = 2000  # characters of a text that is kept

_EASTERN = ZoneInfo("America/New_York")  # ActBlue's times without an offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the handlers of webhooks share."""

    ring: Ring
    inbox: Inbox
    now: Callable[[], datetime]
    actblue: Credentials | None

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that senders are given."""
        return [web.post("/hooks/actblue/contributions", self.contributions)]

    async def contributions(self, request: web.Request) -> web.Response:
        """Take gifts; 2xx only once they are on the disk, 200 also when known."""
        if not _may(self.actblue, request.headers.get("Authorization", "")):
            headers = {"WWW-Authenticate": 'Basic realm="hooks"'}
            return web.Response(status=401, text="Who are you?\n", headers=headers)
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="Too slow.\n")
        try:
            found = gifts(body, ring=self.ring, now=self.now())
        except errors.Invalid as error:
            return web.Response(status=400, text=f"{error}\n")
        try:
            for gift, said in found:
                await self.inbox.take(_event(gift, said))
        except errors.Unavailable:
            return web.Response(status=503, text="Try again.\n")
        return web.json_response({"gifts": len(found)})


def _may(wanted: Credentials | None, given: str) -> bool:
    """Tell whether *given* is the header of *wanted*, in constant time."""
    scheme, _, code = given.partition(" ")
    try:
        shown = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        return False
    if wanted is None or scheme.lower() != "basic":
        return False
    expected = f"{wanted.user}:{wanted.password}".encode()
    return hmac.compare_digest(shown, expected)


def _event(gift: Gift, said: Mapping[str, Any]) -> Event:
    return Event(
        id=event.gift_id(gift), at=gift.at, kind=Kind.DONATION, gift=gift, body=said
    )


# ── ActBlue's words to ours ─────────────────────────────────────────────────


def gifts(
    body: bytes, *, ring: Ring, now: datetime
) -> list[tuple[Gift, Mapping[str, Any]]]:
    """Read the approved gifts of a notification, and what was said of each.

    Raises Invalid when it is no contribution.
    """
    try:
        said = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
        said = _clean(said)
    except (ValueError, RecursionError) as error:
        raise errors.Invalid("the body is no JSON") from error
    contribution = _object(said, "contribution")
    if _text(contribution, "status", "approved").lower() != "approved":
        return []
    items = said.get("lineitems")
    if not isinstance(items, list) or not items:
        raise errors.Invalid("lineitems: wanted a list with a line item")
    if not _text(contribution, "orderNumber"):
        raise errors.Invalid("contribution.orderNumber: missing")
    context = {key: value for key, value in said.items() if key != "lineitems"}
    return [
        (
            _gift(said, contribution, item, ring=ring, now=now),
            {**context, "lineitem": item},
        )
        for item in items
    ]


def _gift(
    said: Mapping[str, Any],
    contribution: Mapping[str, Any],
    item: object,
    *,
    ring: Ring,
    now: datetime,
) -> Gift:
    if not isinstance(item, dict):
        raise errors.Invalid("lineitems: wanted objects")
    number = _text(item, "lineitemId")
    if not number:
        raise errors.Invalid("lineitems.lineitemId: missing")
    donor = said.get("donor")
    email = _text(donor, "email") if isinstance(donor, dict) else ""
    codes = contribution.get("refcodes")
    codes = codes if isinstance(codes, dict) and codes else contribution
    period = _text(contribution, "recurringPeriod", "once").lower()
    is_recurring = period not in {"once", ""}
    sequence = _text(item, "sequence", "0")
    return Gift(
        sender="actblue",
        external_id=number,
        at=_instant(_text(item, "paidAt") or _text(contribution, "createdAt"), now=now),
        amount=_money(item.get("amount")),
        recurring=is_recurring,
        renewal=is_recurring and sequence.isdecimal() and int(sequence) > 1,
        email=email or None,
        refcode=_text(codes, "refcode") or None,
        giver=donation.read_refcode2(ring, _text(codes, "refcode2")),
    )


def _object(said: object, key: str) -> Mapping[str, Any]:
    found = said.get(key) if isinstance(said, dict) else None
    if not isinstance(found, dict):
        raise errors.Invalid(f"{key}: wanted an object")
    return found


def _text(of: Mapping[str, Any], key: str, default: str = "") -> str:
    """Return a field as text: numbers come as numbers or as text."""
    value = of.get(key)
    if value is None or isinstance(value, (bool, dict, list)):
        return default
    return str(value).strip() or default


def _money(value: object) -> Decimal:
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return Decimal(str(value).strip())
        except InvalidOperation:
            pass
    raise errors.Invalid("lineitems.amount: wanted a decimal like 25.00")


def _instant(text: str, *, now: datetime) -> datetime:
    if not text:
        return now
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=_EASTERN)).astimezone(
            UTC
        )
    except (ValueError, OverflowError) as error:
        raise errors.Invalid(f"paidAt: {text[:40]!r} is no time") from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _clean(value: Any) -> Any:
    """Return what PostgreSQL's jsonb takes: clean text, and money as text."""
    match value:
        case str():
            return event.clean(value, longest=LONGEST)
        case Decimal():
            return str(value)
        case list():
            return [_clean(one) for one in value]
        case dict():
            return {
                event.clean(key, longest=LONGEST): _clean(one)
                for key, one in value.items()
            }
        case _:
            return value
