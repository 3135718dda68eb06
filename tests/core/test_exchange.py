from __future__ import annotations

import pytest

from mailer import settings
from mailer.core import exchange
from mailer.core.exchange import Receiver, Why
from mailer.core.provider import Provider

SHIPPED = tuple(
    settings.read(
        settings.shipped(settings.PROVIDERS), settings.Providers
    ).provider.values()
)
KNOWN = (
    Provider(name="google", mx=(".google.com", ".googlemail.com")),
    Provider(name="earthlink", mx=("-vadesecure.net",)),
    Provider(name="own", mx=("own.test",)),
    Provider(name="region", mx=("us-smtp-*.cast.test",)),
    Provider(name="cast", mx=(".cast.test",)),
    Provider(name="hinted", domains=("hinted.test",)),
)


def received(*hosts: str, hint: str = "other") -> tuple[str, Why]:
    found = exchange.receiver(hosts, providers=KNOWN, hint=hint)
    return found.provider, found.why


def test_domains_hint_at_their_provider() -> None:
    hints = exchange.hints(SHIPPED)
    assert (hints["gmail.com"], hints["aol.com"]) == ("google", "yahoo")
    assert hints["tampabay.rr.com"] == "charter"
    assert "yahoo.co.jp" not in hints


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("aspmx.l.google.com", "google"),
        ("ASPMX.L.Google.com.", "google"),
        ("google.com", "other"),
        ("mx.evilgoogle.com", "other"),
        ("mx.google.com.evil.test", "other"),
        ("mx1-vadesecure.net", "earthlink"),
        ("mx.own.test", "own"),
        ("own.test", "own"),
        ("mxown.test", "other"),
        ("us-smtp-inbound-1.cast.test", "region"),  # the longest wins
        ("eu-smtp-inbound-1.cast.test", "cast"),
        ("us-smtp-1.cast.test.evil.test", "other"),
    ],
)
def test_the_end_of_a_host_tells_whose_it_is(host: str, name: str) -> None:
    assert received(host)[0] == name


@pytest.mark.parametrize(
    ("hosts", "hint", "provider", "why"),
    [
        (("a.google.com", "b.googlemail.com"), "other", "google", Why.MX),
        (("a.google.com",), "own", "google", Why.MX),  # the MX decides
        (("a.google.com", "mx.own.test"), "google", "other", Why.MIXED),
        (("a.google.com", "mx.elsewhere.test"), "google", "other", Why.MIXED),
        (("mx.elsewhere.test",), "google", "other", Why.NOBODY),  # it has moved away
        (("mx.elsewhere.test",), "hinted", "hinted", Why.NOBODY),  # not known by MX
        (("mx.elsewhere.test",), "other", "other", Why.NOBODY),
    ],
)
def test_all_hosts_of_a_domain_decide_together(
    hosts: tuple[str, ...], hint: str, provider: str, why: Why
) -> None:
    assert received(*hosts, hint=hint) == (provider, why)


def test_each_host_says_whose_it_is() -> None:
    hosts = ("a.google.com", "mx.elsewhere.test")
    assert exchange.receiver(hosts, providers=KNOWN) == Receiver(
        provider="other",
        why=Why.MIXED,
        claims={"a.google.com": "google", "mx.elsewhere.test": "other"},
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gmail-smtp-in.l.google.com", "google"),
        ("aspmx.l.google.com", "google"),
        ("smtp.google.com", "google"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx-aol.mail.gm0.yahoodns.net", "yahoo"),
        ("hotmail-com.olc.protection.outlook.com", "microsoft"),
        ("example-org.mail.protection.outlook.com", "microsoft365"),
        ("example-org.a-v1.mx.microsoft", "microsoft365"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx1a1.comcast.net", "comcast"),
        ("mx0.charter.net", "charter"),
        ("us-smtp-inbound-1.mimecast.com", "mimecast_us"),
        ("eu-smtp-inbound-2.mimecast.com", "mimecast_eu"),
        ("za-smtp-inbound-1.mimecast.co.za", "mimecast"),
        ("mx0a-00000001.pphosted.com", "proofpoint"),
        ("mx1.mail.yahoo.co.jp", "other"),
    ],
)
def test_hosts_of_the_large_are_known(host: str, name: str) -> None:
    assert exchange.receiver([host], providers=SHIPPED).provider == name


@pytest.mark.parametrize("text", ["gmail.com", "tampabay.rr.com", "xn--nxasmq6b.test"])
def test_a_domain_is_a_domain(text: str) -> None:
    assert exchange.wrong_domain(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "com",
        "Gmail.com",
        "@gmail.com",
        "*.rr.com",
        "gmail.com.",
        "a b.test",
        "é.fr",
    ],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    assert "write a domain" in (exchange.wrong_domain(text) or "")


@pytest.mark.parametrize(
    "text", [".google.com", "-vadesecure.net", "own.test", "us-smtp-*.cast.test"]
)
def test_an_end_of_hosts_is_one(text: str) -> None:
    assert exchange.wrong_suffix(text) is None


@pytest.mark.parametrize(
    "text",
    ["", ".", ".com", "com", "*", "*.com", ".Google.com", ".google.com.", "*.*.com"],
)
def test_what_would_claim_everybody_is_refused(text: str) -> None:
    assert "at least two" in (exchange.wrong_suffix(text) or "")


@pytest.mark.parametrize("text", ["", "Google", "go ogle", "-x", "x" * 64, "a/b"])
def test_a_provider_has_a_plain_name(text: str) -> None:
    assert exchange.wrong_name("gmx_mailcom") is None
    assert "small letters" in (exchange.wrong_name(text) or "")
