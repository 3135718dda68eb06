"""What `mailer doctor` says of a zone, over real DNS on loopback."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core.provider import Kind, Source
from mailer.core.record import Level
from mailer.pipeline import examining
from mailer.settings import workspace
from mailer.settings.dns import Dns
from mailer.settings.returns import Returns
from tests import nameserver, signers
from tests.nameserver import Zone, txt

KEY, OTHER = signers.key(), signers.key(number=2)
DIRECT = Source(name="mta", kind=Kind.DIRECT, helo="mta.example.org")


def zone() -> Zone:
    """Return what a domain publishes that does everything right."""
    return {
        f"{KEY.host} TXT": [txt(KEY.record)],
        "example.org TXT": [txt("other"), txt("v=spf1 ip4:192.0.2.0/24 ~all")],
        "_dmarc.example.org TXT": [txt("v=DMARC1; p=none; rua=mailto:d@example.org")],
        "example.org MX": ["10 mx.example.org."],
        "mx.example.org A": ["192.0.2.9"],
        "mta.example.org A": ["192.0.2.1"],
        "1.2.0.192.in-addr.arpa PTR": ["mta.example.org."],
    }


@pytest.fixture
def chosen(tmp_path: Path) -> settings.Settings:
    workspace.make(tmp_path / "w")
    loaded = settings.load(tmp_path / "w", environment={})
    return replace(loaded, signers=(KEY,))


async def examined(
    chosen: settings.Settings,
    published: Zone,
    *,
    refused: str = "",
    domains: Sequence[str] = (),
) -> dict[str, tuple[str, str]]:
    with nameserver.serving(published, refused=refused) as server:
        found = await examining.examine(
            replace(chosen, dns=Dns(servers=(server,))), domains=domains
        )
    return {one.name: (one.level.value, one.text) for one in found}


async def test_a_domain_that_does_everything_right_is_ok(
    chosen: settings.Settings,
) -> None:
    found = await examined(replace(chosen, sources=(DIRECT,)), zone())
    assert found == {
        f"dkim {KEY.host}": ("ok", "published as it signs here"),
        "signature example.org": ("ok", "by s2026 (rsa-sha256)"),
        "spf example.org": ("ok", "0 of 10 lookups"),
        "dmarc example.org": ("ok", "p=none by _dmarc.example.org"),
        "mx example.org": ("ok", "mx.example.org"),
        "ptr mta": ("ok", "192.0.2.1 is mta.example.org, there and back"),
    }


async def test_a_domain_that_publishes_nothing_is_told_what_to_publish(
    chosen: settings.Settings,
) -> None:
    found = await examined(chosen, {})
    assert {name: level for name, (level, _) in found.items()} == {
        f"dkim {KEY.host}": "NO",
        "signature example.org": "ok",
        "spf example.org": "NO",
        "dmarc example.org": "NO",
        "mx example.org": "NO",
    }
    assert KEY.record in found[f"dkim {KEY.host}"][1]
    assert "v=spf1" in found["spf example.org"][1]
    assert "v=DMARC1; p=none; rua=" in found["dmarc example.org"][1]


@pytest.mark.parametrize(
    ("name", "records", "level", "said"),
    [
        ("dkim", [f"v=DKIM1; p={OTHER.public}"], "NO", "another key is published"),
        ("dkim", [KEY.record.replace("k=rsa", "k=ed25519")], "NO", "another key"),
        ("dkim", ["v=DKIM1; p="], "NO", "revoked"),
        ("dkim", [KEY.record, OTHER.record], "NO", "2 records"),
        ("dkim", [f"{KEY.record}; h=sha1"], "NO", "h= of the record forbids sha256"),
        ("dkim", [f"{KEY.record}; s=other"], "NO", "s= of the record"),
        ("dkim", [f"{KEY.record}; t=y"], "warn", "testing"),
        ("dkim", ["hello"], "NO", "not published"),
        ("spf", ["v=spf1 +all"], "NO", "allows everybody"),
        ("spf", ["v=spf1 ip4:192.0.2.1"], "warn", "~all or -all"),
        ("spf", ["v=spf1 a ~all", "v=spf1 mx ~all"], "NO", "2 SPF records"),
        ("spf", ["v=spf1 ipv4:192.0.2.1 ~all"], "NO", '"ipv4:192.0.2.1" is no SPF'),
        ("spf", ["v=spf1 include:no.example.org ~all"], "NO", "which has no SPF"),
        ("spf", ["v=spf1 include:example.org ~all"], "NO", "more than 10 lookups"),
        ("spf", ["v=spf1 a mx redirect=_s.example.org"], "ok", "3 of 10 lookups"),
        ("dmarc", ["v=DMARC1; p=maybe"], "NO", "p=maybe: write none"),
        ("dmarc", ["v=DMARC1; p=reject"], "warn", "without rua="),
        ("dmarc", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "NO", "2 records"),
    ],
)
async def test_what_is_wrong_is_said(
    chosen: settings.Settings, name: str, records: list[str], level: str, said: str
) -> None:
    places = {"dkim": KEY.host, "spf": "example.org", "dmarc": "_dmarc.example.org"}
    published = {
        **zone(),
        "_s.example.org TXT": [txt("v=spf1 ip4:192.0.2.0/24 -all")],
        f"{places[name]} TXT": [txt(one) for one in records],
    }
    found = (await examined(chosen, published))[
        f"{name} {places[name].removeprefix('_dmarc.')}"
    ]
    assert found[0] == level
    assert said in found[1]


@pytest.mark.parametrize(
    ("records", "level", "said"),
    [
        ({"example.org MX": ["0 ."]}, "NO", "takes no mail"),
        ({"mx.example.org A": []}, "NO", "mx.example.org has no address"),
        ({"example.org MX": []}, "NO", "no MX"),
        ({"example.org MX": [], "example.org A": ["192.0.2.8"]}, "warn", "no MX"),
    ],
)
async def test_bounces_find_their_way_back(
    chosen: settings.Settings, records: Zone, level: str, said: str
) -> None:
    found = await examined(chosen, {**zone(), **records})
    assert found["mx example.org"][0] == level
    assert said in found["mx example.org"][1]


async def test_the_domain_of_return_paths_is_looked_at_too(
    chosen: settings.Settings,
) -> None:
    def returns(domain: str) -> settings.Settings:
        return replace(chosen, returns=Returns(domain=domain))

    published = zone() | {
        "bounce.example.org TXT": [txt("v=spf1 ip4:192.0.2.0/24 ~all")],
        "bounce.example.org MX": ["10 mx.example.org."],
    }

    right = await examined(returns("bounce.example.org"), published)
    wrong = await examined(returns("bounce.elsewhere.test"), published)

    assert right["spf bounce.example.org"] == ("ok", "0 of 10 lookups")
    assert right["mx bounce.example.org"] == ("ok", "mx.example.org")
    assert right["aligned bounce.example.org"][0] == "ok"
    assert wrong["aligned bounce.elsewhere.test"][0] == "warn"
    assert wrong["spf bounce.elsewhere.test"][0] == "NO"
    assert wrong["mx bounce.elsewhere.test"][0] == "NO"


async def test_a_subdomain_is_held_to_its_parents_record(
    chosen: settings.Settings,
) -> None:
    strict = "v=DMARC1; p=none; sp=reject; adkim=s; rua=mailto:d@example.org"
    published = {**zone(), "_dmarc.example.org TXT": [txt(strict)]}
    found = await examined(chosen, published, domains=["News.example.org"])
    assert found["dmarc example.org"][0] == "ok"
    level, text = found["dmarc news.example.org"]
    assert level == "NO"
    assert text.startswith("p=reject by _dmarc.example.org says adkim=s")


async def test_mail_that_nothing_signs_is_warned_of(chosen: settings.Settings) -> None:
    found = await examined(replace(chosen, signers=()), zone())
    assert found["signature example.org"][0] == "warn"


@pytest.mark.parametrize(
    ("records", "name", "said"),
    [
        ({"mta.example.org A": ["203.0.113.1"]}, "spf example.org", "add ip4:203"),
        ({"1.2.0.192.in-addr.arpa PTR": []}, "ptr mta", "is nobody in reverse"),
        ({"mta.example.org A": []}, "ptr mta", "has no address"),
    ],
)
async def test_what_sends_directly_is_known_by_name_and_allowed(
    chosen: settings.Settings, records: Zone, name: str, said: str
) -> None:
    with nameserver.serving({**zone(), **records}) as server:
        found = await examining.examine(
            replace(chosen, sources=(DIRECT,), dns=Dns(servers=(server,)))
        )
    wrong = [one for one in found if one.name == name and one.level is Level.NO]
    assert [said in one.text for one in wrong] == [True]


async def test_a_name_that_is_broken_is_said_beside_the_others(
    chosen: settings.Settings,
) -> None:
    found = await examined(chosen, zone(), refused="_dmarc.example.org")
    assert found["dmarc example.org"][0] == "NO"
    assert "SERVFAIL" in found["dmarc example.org"][1]
    assert found["spf example.org"][0] == "ok"


async def test_dns_that_does_not_answer_is_said_in_one_line(
    chosen: settings.Settings,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(errors.Unavailable, match="did not answer") as caught:
            await examining.examine(replace(chosen, dns=Dns(servers=(server,))))
    assert "\n" not in str(caught.value)
