import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli
from mailer.settings import workspace
from tests import nameserver
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
