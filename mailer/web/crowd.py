"""Made-up visitors: what the people and machines behind a message do with it.

For demos and rehearsals.  The shares are in the range of published ones: a fifth of
people open, Apple's proxy opens for many who do not, few click, of these some give.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

APPLE_PROXY = "Mozilla/5.0"
GOOGLE_PROXY = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 "
    "(via ggpht.com GoogleImageProxy)"
)
YAHOO_PROXY = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
SCANNER = "Mozilla/5.0 (compatible; BarracudaCentral/1.0)"
BROWSERS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
)

PREFETCHED = {"apple": 0.7, "google": 0.2}  # share opened by Apple's proxy
PREFETCHED_ELSEWHERE = 0.25
SCANNED = 0.2  # share of small domains behind a scanner that follows links
OPENED, CLICKED, GAVE, LEFT = 0.2, 0.07, 0.45, 0.003
# What the variants truly do: to opens, and to giving.  Openness is not generosity.
OPENNESS: Mapping[int, float] = {1: 1.0, 2: 1.1, 3: 0.95}
GENEROSITY: Mapping[int, float] = {1: 1.0, 2: 1.7, 3: 0.7}
GIFTS = (Decimal(5), Decimal(10), Decimal(25), Decimal(50), Decimal(100), Decimal(250))
WEIGHTS = (18, 24, 30, 17, 9, 2)


class Deed(StrEnum):
    """What a visitor does."""

    OPEN = "open"
    CLICK = "click"
    GIVE = "give"  # a click, and then a gift
    SCAN = "scan"  # a machine's click
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One thing that somebody does with one message."""

    deed: Deed
    agent: str
    amount: Decimal | None = None


def visits(*, recipient: str, provider: str, variant: int) -> Sequence[Visit]:
    """Return what becomes of a message; the same for the same message, always."""
    digest = hashlib.blake2b(recipient.encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big") + variant
    chance = random.Random(seed)  # noqa: S311 - a play, no secret
    done: list[Visit] = []
    if chance.random() < PREFETCHED.get(provider, PREFETCHED_ELSEWHERE):
        done.append(Visit(deed=Deed.OPEN, agent=APPLE_PROXY))
    if provider == "other" and chance.random() < SCANNED:
        done.append(Visit(deed=Deed.SCAN, agent=SCANNER))
    if chance.random() >= OPENED * OPENNESS.get(variant, 1.0):
        return done
    browser = chance.choice(BROWSERS)
    proxies = {"google": GOOGLE_PROXY, "yahoo": YAHOO_PROXY}
    done.append(Visit(deed=Deed.OPEN, agent=proxies.get(provider, browser)))
    if chance.random() < LEFT / OPENED:
        done.append(Visit(deed=Deed.UNSUBSCRIBE, agent=browser))
    elif chance.random() < CLICKED:
        if chance.random() < GAVE * GENEROSITY.get(variant, 1.0):
            amount = chance.choices(GIFTS, WEIGHTS)[0]
            done.append(Visit(deed=Deed.GIVE, agent=browser, amount=amount))
        else:
            done.append(Visit(deed=Deed.CLICK, agent=browser))
    return done
