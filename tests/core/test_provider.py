from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from mailer import settings
from mailer.core import provider
from mailer.core.provider import Lane, Limits, Provider, Rate, Source

SHIPPED = settings.read(settings.shipped(settings.PROVIDERS), settings.Providers)


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("300/min", 5), ("6000/h", 6000 / 3600), ("2/s", 2), ("86400/d", 1),
     (" 0.5 / sec ", 0.5)],
)  # fmt: skip
def test_a_rate_is_a_word_with_its_unit(text: str, per_second: float) -> None:
    assert Rate.parse(text) == Rate(per_second)
    assert not Rate.parse(text).is_unlimited


@pytest.mark.parametrize("text", ["100 per min", "100", "/min", "-1/s", "1/week", ""])
def test_what_is_no_rate_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        Rate.parse(text)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="would send nothing"):
        Rate.parse("0/min")


def test_unlimited_is_a_rate() -> None:
    assert Rate.parse("unlimited").is_unlimited


@pytest.mark.parametrize(("rate", "burst"), [("300/min", 10), ("1/min", 1), ("1/s", 2)])
def test_a_burst_is_two_seconds_and_never_nothing(rate: str, burst: float) -> None:
    assert Rate.parse(rate).burst == burst


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("500ms", 0.5),
     ("1w", 604800), ("1.5h", 5400)],
)  # fmt: skip
def test_a_duration_is_a_word_with_its_unit(text: str, seconds: float) -> None:
    assert provider.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["2 hours", "h", "-1s", "15", ""])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        provider.duration(text)


def test_what_the_source_says_wins_over_the_provider() -> None:
    yahoo = Provider(name="yahoo", connections=5, messages=20, rate=Rate(2))
    plain = Source(name="relay", pool="main")
    fast = Source(name="own", connections=50, messages=1000, rate=Rate(100))
    assert provider.lane(yahoo, plain) == Lane(
        provider="yahoo", source="relay", pool="main", connections=5, messages=20,
        rate=Rate(2),
    )  # fmt: skip
    assert provider.lane(yahoo, fast) == Lane(
        provider="yahoo", source="own", pool="default", connections=50, messages=1000,
        rate=Rate(100),
    )  # fmt: skip


def test_a_password_is_never_shown() -> None:
    assert "hush" not in repr(Source(name="relay", password="hush"))


def test_no_shipped_domain_or_mx_belongs_to_two_providers() -> None:
    every = SHIPPED.provider.values()
    names = Counter(name for one in every for name in (*one.domains, *one.mx))
    assert [name for name, count in names.items() if count > 1] == []


def test_shipped_providers_can_be_sent_to() -> None:
    assert provider.OTHER in SHIPPED.provider
    for one in SHIPPED.provider.values():
        assert one.connections > 0
        assert one.messages > 0
        assert one.rate.per_second <= one.ceiling.per_second
        assert one.retry == tuple(sorted(one.retry)) != ()
        assert all(name == name.lower() for name in (*one.domains, *one.mx))


def test_each_number_says_where_it_is_from() -> None:
    text = settings.shipped(settings.PROVIDERS).read_text("utf-8")
    numbers = re.findall(
        r"^(?:connections|messages|rate|ceiling|retry) = .*$", text, re.MULTILINE
    )
    assert len(numbers) == 5 * len(SHIPPED.provider)
    assert [line for line in numbers if not re.search(r"  # \w{4,}", line)] == []


# ── Key by key ──────────────────────────────────────────────────────────────

YAHOO = Provider(name="yahoo", connections=5, rate=Rate(2), ceiling=Rate(10))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source(name="x"), (5, 20, Rate(2), Rate(10))),
        (Source(name="x", rate=Rate(1)), (5, 20, Rate(1), Rate(1))),
        (Source(name="x", rate=Rate(1), ceiling=Rate(3)), (5, 20, Rate(1), Rate(3))),
        (Source(name="x", messages=7, provider={"yahoo": Limits(connections=1)}),
         (1, 7, Rate(2), Rate(10))),
        (Source(name="x", connections=9, provider={"yahoo": Limits(connections=1)}),
         (1, 20, Rate(2), Rate(10))),
        (Source(name="x", rate=Rate(1), provider={"yahoo": Limits(rate=Rate(4))}),
         (5, 20, Rate(4), Rate(4))),
        (Source(name="x", provider={"yahoo": Limits(rate=Rate(4))}),
         (5, 20, Rate(4), Rate(10))),
        (Source(name="x", provider={"yahoo": Limits(ceiling=Rate(4))}),
         (5, 20, Rate(2), Rate(4))),
        (Source(name="x", provider={"google": Limits(connections=1)}),
         (5, 20, Rate(2), Rate(10))),
    ],
)  # fmt: skip
def test_a_source_lays_its_limits_over_those_of_a_provider(
    source: Source, expected: tuple[int, int, Rate, Rate]
) -> None:
    held = provider.limited(YAHOO, source)
    assert (held.connections, held.messages, held.rate, held.ceiling) == expected
    assert provider.lane(YAHOO, source).rate == expected[2]


def test_what_a_source_says_of_one_provider_has_its_own_waits() -> None:
    waits = (timedelta(minutes=1),)
    source = Source(name="x", provider={"yahoo": Limits(retry=waits)})
    assert provider.limited(YAHOO, source).retry == waits


@pytest.mark.parametrize(
    "limits", [{"connections": 0}, {"messages": -1}, {"retry": ()}]
)
def test_limits_of_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="write"):
        Limits(**limits)


@pytest.mark.parametrize(
    ("text", "written"),
    [("300/min", "300/min"), ("2/s", "120/min"), ("100/h", "1.67/min"),
     ("30/h", "30/h"), ("3/d", "3/d"), ("unlimited", "unlimited"), ("1/d", "1/d")],
)  # fmt: skip
def test_a_rate_is_written_as_it_is_read(text: str, written: str) -> None:
    assert str(Rate.parse(text)) == written
    assert str(Rate.parse(written)) == written


def test_a_rate_of_next_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="less than one a day"):
        Rate.parse("0.5/d")
