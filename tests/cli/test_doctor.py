import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli
from mailer.settings import workspace
from tests import nameserver, sources
from tests.nameserver import Zone, txt

ZONE: Zone = {
    "example.org TXT": [txt("v=spf1 ip4:192.0.2.0/24 ~all")],
    "_dmarc.example.org TXT": [txt("v=DMARC1; p=none; rua=mailto:d@example.org")],
    "example.org MX": ["10 mx.example.org."],
    "mx.example.org A": ["192.0.2.9"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "team")
    return tmp_path / "team"


def run(root: Path, zone: Zone, *arguments: str) -> Result:
    with nameserver.serving(zone) as server:
        path = root / "config/settings.toml"
        text = path.read_text("utf-8")
        path.write_text(f'{text}\n[dns]\nservers = ["{server}"]\n', "utf-8")
        return CliRunner().invoke(cli.commands, ["-C", str(root), "doctor", *arguments])


def test_a_warning_is_no_failure(root: Path) -> None:
    found = run(root, ZONE)
    assert found.exit_code == 0
    first, *others = found.output.splitlines()
    assert first.startswith("warn  signature example.org: nothing signs here")
    assert others == [
        "ok    spf example.org: 0 of 10 lookups",
        "ok    dmarc example.org: p=none by _dmarc.example.org",
        "ok    mx example.org: mx.example.org",
    ]


def test_what_is_wrong_fails(root: Path) -> None:
    found = run(root, {**ZONE, "example.org TXT": []}, "--json")
    assert found.exit_code == 1
    levels = {one["name"]: one["level"] for one in json.loads(found.output)}
    assert levels == {
        "signature example.org": "warn",
        "spf example.org": "NO",
        "dmarc example.org": "ok",
        "mx example.org": "ok",
    }


def test_another_domain_can_be_looked_at(root: Path) -> None:
    found = run(root, ZONE, "--domain", "news.example.org")
    assert found.exit_code == 1
    assert "ok    dmarc news.example.org: p=none by _dmarc.example.org" in found.output
    assert "NO    mx news.example.org: no MX" in found.output


def test_a_source_that_sends_directly_is_looked_at(root: Path) -> None:
    sources.write(root, '[source.own]\nkind = "direct"\nhelo = "mail.example.org"\n')
    zone = {
        **ZONE,
        "mail.example.org A": ["198.51.100.7"],
        "7.100.51.198.in-addr.arpa PTR": ["host7.example.net."],
    }

    found = run(root, zone)

    assert found.exit_code == 1
    lines = found.output.splitlines()
    assert (
        "NO    spf example.org: does not allow 198.51.100.7 of source own: "
        "add ip4:198.51.100.7"
    ) in lines
    assert (
        "NO    ptr own: 198.51.100.7 is host7.example.net in reverse: have its owner "
        "set the PTR to mail.example.org"
    ) in lines


@pytest.mark.parametrize("text", ["", "a b", "..", "x@y.org", "nonsense", "a" * 300])
@pytest.mark.parametrize(
    "command", [["doctor"], ["keys", "dkim", "--selector", "s2026"]]
)
def test_what_is_no_domain_gets_no_advice(
    root: Path, command: list[str], text: str
) -> None:
    words = ["-C", str(root), *command, "--domain", text]

    said = CliRunner().invoke(cli.commands, words)

    assert said.exit_code == 2
    assert "Invalid value for '--domain'" in said.output
    assert "is no domain: write one like example.org" in said.output
