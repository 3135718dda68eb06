import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mailer import errors, settings
from mailer.core.provider import Kind
from mailer.settings import workspace
from tests import certificates

WHO = 'certificate = "who.pem"\n'
KEY = 'key = "who.key"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with a certificate in who.pem, its key in who.key."""
    root = tmp_path / "w"
    workspace.make(root)
    certificates.make(root / "who.pem", "mailer.test")
    shutil.copy2(root / "who.pem", root / "who.key")
    return root


def load(root: Path, text: str, *, kind: str = "relay") -> settings.Settings:
    path = root / "config/settings.toml"
    shipped = settings.shipped(Path("config/settings.toml")).read_text("utf-8")
    head, table, tail = shipped.partition("[source.relay]\n")
    tail = tail[tail.index("\n#") :]
    path.write_text(f'{head}{table}kind = "{kind}"\n{text}{tail}', "utf-8")
    return settings.load(root, environment={})


def problems(root: Path, text: str, *, kind: str = "relay") -> list[str]:
    with pytest.raises(errors.Invalid) as caught:
        load(root, text, kind=kind)
    found = caught.value.problems
    assert all(one.file == "config/settings.toml" and one.line for one in found)
    return [f"{one.key}: {one.message}" for one in found]


# ── Certificates ────────────────────────────────────────────────────────────


def test_certificate_and_key_lie_in_the_workspace(root: Path) -> None:
    (found,) = load(root, WHO + KEY).sources
    assert found.certificate == str(root / "who.pem")
    assert found.key == str(root / "who.key")


def test_one_file_may_hold_both(root: Path) -> None:
    (found,) = load(root, WHO).sources
    assert (found.certificate, found.key) == (str(root / "who.pem"), None)


def test_machines_may_keep_their_files_in_different_places(
    root: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(root, tmp_path / "other")
    first, second = load(root, WHO + KEY), load(other, WHO + KEY)
    assert first.sources != second.sources
    assert first.fingerprint == second.fingerprint


def test_a_key_that_others_may_read_is_refused(root: Path) -> None:
    (root / "who.key").chmod(0o640)
    assert problems(root, WHO + KEY) == [
        "source.relay.key: who.key: others may read it: "
        f"run `chmod 600 {root / 'who.key'}`"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KEY, "key: a key without a certificate"),
        (WHO + 'tls = "none"\n', 'certificate: nobody sees it without TLS: write tls'),
        ('certificate = "no.pem"\n', "certificate: no.pem: no such file: copy it here"),
        ('certificate = "no.pem"\n' + KEY, "certificate: no.pem: no such file"),
        (WHO + 'key = "no.key"\n', "key: no.key: no such file: copy it here"),
        ('address = "mail.test"\n', ' address "mail.test": write an IP address of'),
        ('address = "0.0.0.0"\n', ' address "0.0.0.0": write an IP address of'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_cure(root: Path, text: str, said: str) -> None:
    (found,) = problems(root, text)
    assert said in found


def test_a_key_of_another_certificate_is_refused(root: Path) -> None:
    certificates.make(root / "who.key", "mailer.test")
    assert problems(root, WHO + KEY) == [
        "source.relay.key: who.key: not that certificate's key"
    ]


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
    root: Path,
) -> None:
    key = serialization.load_pem_private_key((root / "who.key").read_bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hush"),
    )
    (root / "who.key").write_bytes(pem)
    (found,) = problems(root, WHO + KEY)
    assert "source.relay.key: who.pem: needs a PEM certificate and its key" in found


def test_what_is_no_certificate_is_refused(root: Path) -> None:
    (root / "who.pem").write_text("hello\n", "utf-8")
    (found,) = problems(root, WHO)
    assert "source.relay.certificate: who.pem: needs a PEM certificate" in found


def test_every_mistake_is_told_at_once(root: Path) -> None:
    found = problems(root, 'certificate = "no.pem"\ntls = "none"\n')
    assert len(found) == 2


# ── Direct ──────────────────────────────────────────────────────────────────

HELO = 'helo = "mail.example.org"\n'


def test_a_direct_source_needs_its_name_and_no_more(root: Path) -> None:
    (found,) = load(root, HELO, kind="direct").sources
    assert (found.kind, found.helo, found.port) == (Kind.DIRECT, "mail.example.org", 25)


@pytest.mark.parametrize("helo", ["mail", "192.0.2.1", "2001:db8::1", ""])
def test_a_direct_source_says_its_full_name(root: Path, helo: str) -> None:
    text = f'helo = "{helo}"\n' if helo else ""
    (found,) = problems(root, text, kind="direct")
    said = f'"{helo}"' if helo else "missing"
    assert found == (
        f"source.relay.helo: {said}: a direct source says its full name, the one that "
        'the PTR of its address has: write helo = "mail.example.org"'
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('host = "relay.example.org"\n', "host"),
        ('user = "mailer"\n', "user"),
        (WHO, "certificate"),
    ],
)
def test_what_only_a_relay_has_is_refused(root: Path, text: str, key: str) -> None:
    (found,) = problems(root, HELO + text, kind="direct")
    assert found.startswith(f"source.relay.{key}: ")
    assert "leave it out" in found


@pytest.mark.parametrize("network", ["10.0.0.1/8", "here", "10.0.0.0/33"])
def test_a_network_that_is_none_is_refused(root: Path, network: str) -> None:
    with pytest.raises(errors.Invalid, match=r'write a network, "10\.1\.0\.0/16"'):
        load(root, f'{HELO}[dns]\ninside = ["{network}"]\n', kind="direct")


@pytest.mark.parametrize("name", ["b c", "", "ü"])
def test_a_source_whose_password_could_have_no_variable_is_refused(
    root: Path, name: str
) -> None:
    (said,) = problems(root, f'[source."{name}"]\n')

    assert said == (
        f'source.{name}.name: "{name}" has no variable for its password: use letters, '
        'digits, "-" and "_", as in [source.relay-2]'
    )
