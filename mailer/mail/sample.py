"""Fictional people to try a template on: one who has everything, one who has little."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

# Names that every context has, and names that a person may lack.
ALWAYS = frozenset({
    "email", "gift_count", "gift_sum", "recurring", "ask_amounts", "organization",
    "committee", "postal_address", "disclaimer", "tax_line", "website", "blast_name",
    "topic", "deadline", "unsubscribe_url", "preferences_url", "view_url", "pixel_url",
})  # fmt: skip
SOMETIMES = frozenset({
    "first_name", "last_name", "street", "city", "state", "zip", "country", "language",
    "time_zone", "highest_gift", "latest_gift", "latest_gift_at",
})  # fmt: skip

SHARED: Mapping[str, object] = MappingProxyType(
    {
        "organization": "Example for Congress",
        "committee": "Example for Congress Committee",
        "postal_address": "PO Box 100, Springfield, WI 53000",
        "disclaimer": "Paid for by Example for Congress Committee",
        "tax_line": "Contributions are not tax deductible.",
        "website": "https://www.example.org",
        "blast_name": "sample",
        "topic": "fundraising",
        "deadline": datetime(2027, 1, 1, 4, 59, 59, tzinfo=UTC),
        "unsubscribe_url": "https://example.org/#unsubscribe",
        "preferences_url": "https://example.org/#preferences",
        "view_url": "https://example.org/#view",
    }
)

# Longer words than most: what fits them fits anybody.
DONOR: Mapping[str, object] = MappingProxyType(
    {
        "first_name": "Alexandrina",
        "last_name": "Ólafsdóttir-Example",
        "email": "alexandrina.olafsdottir@example.org",
        "street": "1200 Martin Luther King Jr. Boulevard",
        "city": "Winston-Salem",
        "state": "NC",
        "zip": "27101",
        "country": "US",
        "language": "en",
        "time_zone": "America/New_York",
        "gift_count": 7,
        "gift_sum": Decimal("1325.50"),
        "highest_gift": Decimal(500),
        "latest_gift": Decimal("27.50"),
        "latest_gift_at": datetime(2026, 9, 30, 23, 41, tzinfo=UTC),
        "recurring": False,
        "ask_amounts": [Decimal(a) for a in (500, 750, 1000, 1500, 2500)],
    }
)
STRANGER: Mapping[str, object] = MappingProxyType(
    {
        "email": "bo@example.org",
        "gift_count": 0,
        "gift_sum": Decimal(0),
        "recurring": False,
        "ask_amounts": [Decimal(a) for a in (3, 10, 25, 50, 100)],
    }
)
