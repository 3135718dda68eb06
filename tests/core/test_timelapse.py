from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from mailer.core import forecast, timelapse
from mailer.core.flow import Lane, Mailbox, Plan
from mailer.core.provider import Kind, Limits, Provider, Rate, Source, Tls

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REAL = Source(
    name="relay",
    kind=Kind.DIRECT,
    pool="large",
    host="smtp.example.org",
    port=587,
    tls=Tls.REQUIRED,
    user="ada",
    password="secret",
    helo="mail.example.org",
    address="192.0.2.25",
    certificate="a.pem",
    key="a.key",
    connections=7,
    messages=30,
    rate=Rate.parse("60/min"),
    ceiling=Rate.parse("90/min"),
    warmup=True,
    retry=(10 * MINUTE,),
    provider={"yahoo": Limits(rate=Rate.parse("30/min"), retry=(20 * MINUTE,))},
)
# Every key of a source is either a limit of its lanes, or has no place in a rehearsal.
KEPT = {
    "name", "pool", "helo", "connections", "messages", "rate", "ceiling", "retry",
    "provider",
}  # fmt: skip


def test_what_stands_for_a_source_reaches_this_machine_only() -> None:
    found = timelapse.source(REAL, port=4025, speed=10)

    assert ip_address(found.host).is_loopback
    assert (found.kind, found.port, found.tls) == (Kind.RELAY, 4025, Tls.NONE)
    plain = Source(name="", host=found.host, port=4025, tls=Tls.NONE)
    for one in fields(Source):
        if one.name not in KEPT | {"host", "port", "tls"}:
            assert getattr(found, one.name) == getattr(plain, one.name), one.name


def test_its_lanes_are_those_of_the_real_one_and_only_waits_are_shorter() -> None:
    found = timelapse.source(REAL, port=4025, speed=10)

    for name in KEPT - {"retry", "provider"}:
        assert getattr(found, name) == getattr(REAL, name), name
    assert found.retry == (MINUTE,)
    assert found.provider["yahoo"] == Limits(
        rate=Rate.parse("30/min"), retry=(2 * MINUTE,)
    )


def test_at_full_speed_nothing_limits_and_nobody_waits() -> None:
    found = timelapse.source(REAL, port=4025, speed=None)

    assert (
        found.rate
        == found.ceiling
        == found.provider["yahoo"].rate
        == Rate.parse("unlimited")
    )
    assert found.retry == found.provider["yahoo"].retry == (timelapse.QUICK,)


def test_a_provider_starts_where_its_lanes_stand() -> None:
    known = [
        Provider(name="google", rate=Rate(5), ceiling=Rate(30), retry=(MINUTE,)),
        Provider(name="yahoo", rate=Rate(2), ceiling=Rate(10)),
    ]

    google, yahoo = timelapse.providers(known, paces={"google": (12, 14)}, speed=2)

    assert (google.rate, google.ceiling, google.retry) == (
        Rate(12), Rate(14), (MINUTE / 2,),
    )  # fmt: skip
    assert (yahoo.rate, yahoo.ceiling) == (Rate(2), Rate(10))


@pytest.mark.parametrize(
    ("per_minute", "people", "speed"),
    [
        (600, 600_000, 20),  # 10/s: this machine does 200/s
        (60, 600, 10),  # ten minutes in one
        (60, 90, 1),  # a minute and a half: as it is
        (60_000, 600_000, 1),  # faster than this machine already
    ],
)
def test_the_speed_is_what_this_machine_can_do_and_worth_it(
    per_minute: float, people: int, speed: float
) -> None:
    lane = Lane(rate=per_minute / 60, is_learned=True)
    found = forecast.foresee(
        Plan(starts_at=NOON),
        [Mailbox(provider="google", people=people, lanes=[lane])],
        speed=forecast.Speed(worst=1, best=1),
        now=NOON,
    )

    assert timelapse.fitting(found) == speed


def test_a_blast_lives_as_much_shorter_but_long_enough_to_begin() -> None:
    assert timelapse.life(60 * MINUTE, 10) == 6 * MINUTE
    assert timelapse.life(MINUTE, 1000) == timelapse.SHORTEST
    assert timelapse.life(MINUTE, None) > timedelta(hours=1)
