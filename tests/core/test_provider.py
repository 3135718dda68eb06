from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from mailer import settings
from mailer.core import provider
from mailer.core.provider import Lane, Provider, Rate, Source

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


def test_domains_hint_at_their_provider() -> None:
    hints = provider.hints(SHIPPED.provider.values())
    assert (hints["gmail.com"], hints["aol.com"]) == ("google", "yahoo")
    assert "yahoo.co.jp" not in hints


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


@pytest.mark.parametrize(
    ("host", "hint", "name"),
    [
        ("aspmx.l.google.com", "other", "google"),
        ("google.com", "other", "other"),
        ("mx.evilgoogle.com", "other", "other"),
        ("mx1-vadesecure.net", "other", "earthlink"),
        ("mx.own.test", "other", "own"),
        ("own.test", "other", "own"),
        ("mxown.test", "other", "other"),
        ("mx.elsewhere.test", "google", "other"),  # it has moved away
        ("mx.elsewhere.test", "hinted", "hinted"),  # not known by its MX
    ],
)
def test_the_mx_tells_who_receives(host: str, hint: str, name: str) -> None:
    known = (
        Provider(name="google", mx=(".google.com", ".googlemail.com")),
        Provider(name="earthlink", mx=("-vadesecure.net",)),
        Provider(name="own", mx=("own.test",)),
        Provider(name="hinted", domains=("hinted.test",)),
    )
    assert provider.receiving(host, providers=known, hint=hint) == name
