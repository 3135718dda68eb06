import json
import stat
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailer import cli, errors, settings
from mailer.settings import workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "team")
    return tmp_path / "team"


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli.commands,
        ["-C", str(root), "keys", "dkim", "--domain", "example.org", *arguments],
    )


def test_a_key_is_made_and_what_is_printed_can_be_pasted(root: Path) -> None:
    made = run(root, "--selector", "s2026")
    assert made.exit_code == 0
    before, _, table = made.output.partition("settings.toml:")
    path = root / tomllib.loads(table)["dkim"]["s2026"]["key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with (root / "config/settings.toml").open("a") as file:
        file.write(table)
    (key,) = settings.load(root, environment={}).signers

    (record,) = [line for line in before.splitlines() if "IN TXT" in line]
    host, *pieces = record.split('"')
    assert host.startswith("s2026._domainkey.example.org. IN TXT (")
    assert "".join(pieces[::2]) == key.record
    assert max(map(len, pieces)) <= 255


def test_a_second_algorithm_can_be_had_and_json(root: Path) -> None:
    made = json.loads(run(root, "--selector", "e", "--ed25519", "--json").output)
    assert made["file"] == ".mailer/keys/e.example.org.pem"
    assert made["host"] == "e._domainkey.example.org"
    assert made["record"].startswith("v=DKIM1; k=ed25519; p=")


def test_a_key_is_never_overwritten(root: Path) -> None:
    assert run(root, "--selector", "s", "--ed25519").exit_code == 0
    assert isinstance(run(root, "--selector", "s").exception, errors.Conflict)


def test_keys_are_made_in_a_workspace_only(tmp_path: Path) -> None:
    failed = run(tmp_path, "--selector", "s")
    assert isinstance(failed.exception, errors.NotFound)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "../../x", "a b", "s.", "a" * 64])
def test_what_is_no_selector_is_refused_by_its_option(root: Path, text: str) -> None:
    said = run(root, "--selector", text)

    assert said.exit_code == 2
    assert "Invalid value for '--selector'" in said.output
    assert 'is no selector: write a label like "s2026"' in said.output
