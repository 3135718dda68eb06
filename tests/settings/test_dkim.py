import stat
from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core.signature import Algorithm
from mailer.settings import dkim, dns, workspace
from tests import signers

TABLE = '\n[dkim.first]\ndomain = "example.org"\nselector = "s"\nkey = "s.pem"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "w")
    signers.write(tmp_path / "w/s.pem")
    return tmp_path / "w"


def load(root: Path, text: str = TABLE) -> settings.Settings:
    path = root / "config/settings.toml"
    shipped = settings.shipped(Path("config/settings.toml")).read_text("utf-8")
    path.write_text(shipped + text, "utf-8")
    return settings.load(root, environment={})


def test_a_key_is_loaded_with_its_algorithm(root: Path) -> None:
    signers.write(root / "e.pem", Algorithm.ED25519)
    second = (
        '[dkim.e]\ndomain="example.org"\nselector="e"\nkey="e.pem"\nlifetime="7d"\n'
    )
    one, two = load(root, TABLE + second).signers
    assert (one.name, one.host) == ("first", "s._domainkey.example.org")
    assert (one.algorithm, two.algorithm) == (Algorithm.RSA, Algorithm.ED25519)
    assert one.lifetime is None
    assert two.lifetime is not None
    assert two.lifetime.days == 7


def test_keys_belong_to_what_must_be_equal_everywhere(root: Path) -> None:
    bare, first = load(root, "").fingerprint, load(root).fingerprint
    assert first != bare
    assert load(root).fingerprint == first
    signers.write(root / "s.pem", Algorithm.ED25519)
    assert load(root).fingerprint not in {first, bare}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused(root: Path, mode: int) -> None:
    signers.write(root / "s.pem", mode=mode)
    with pytest.raises(errors.Invalid) as caught:
        load(root)
    (problem,) = caught.value.problems
    assert problem.file == "config/settings.toml"
    assert problem.line is not None
    assert problem.key == "dkim.first.key"
    assert problem.message == (
        f"s.pem: others may read it: run `chmod 600 {root / 's.pem'}`"
    )


def test_a_key_that_is_not_there_says_how_to_make_one(root: Path) -> None:
    (root / "s.pem").unlink()
    with pytest.raises(
        errors.Invalid, match=r"`mailer keys dkim --domain example\.org --selector s`"
    ):
        load(root)


def test_every_wrong_key_is_told_at_once(root: Path) -> None:
    (root / "folder").mkdir()
    (root / "bad.pem").write_text("nothing")
    (root / "bad.pem").chmod(0o600)
    more = "".join(
        TABLE.replace("first", name).replace('"s"', f'"{name}"').replace("s.pem", path)
        for name, path in [("a", "folder"), ("b", "bad.pem"), ("c", "s.pem")]
    )
    with pytest.raises(errors.Invalid) as caught:
        load(root, TABLE + more + TABLE.replace("first", "again"))
    assert [problem.key for problem in caught.value.problems] == [
        "dkim.a.key",
        "dkim.b.key",
        "dkim.again.key",
    ]
    assert "is there twice" in caught.value.problems[-1].message


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ('"example.org"', '"Example org"', "write a name in lower case"),
        ('selector = "s"', 'selector = "s;"', "write a name in lower case"),
        ('selector = "s"', "", "selector: missing"),
        ('selector = "s"', 'selector = "s"\nbits = 5', "unknown key"),
        ('selector = "s"', 'selector = "s"\nlifetime = "1h"', "write 1d or more"),
    ],
)
def test_a_wrong_table_is_refused(
    root: Path, before: str, after: str, wanted: str
) -> None:
    with pytest.raises(errors.Invalid, match=wanted):
        load(root, TABLE.replace(before, after))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_new_key_is_for_its_owner_alone(root: Path, algorithm: Algorithm) -> None:
    path, key = dkim.make(
        root, domain="Example.org", selector="s2027", algorithm=algorithm
    )
    assert stat.S_IMODE((root / path).stat().st_mode) == 0o600
    found = load(root, TABLE.replace('"s"', '"s2027"').replace("s.pem", str(path)))
    assert found.signers[0].public == key.public
    with pytest.raises(errors.Conflict, match="is there already"):
        dkim.make(root, domain="example.org", selector="s2027", algorithm=algorithm)


def test_a_key_is_made_for_domains_only(root: Path) -> None:
    with pytest.raises(errors.Invalid, match="write a name"):
        dkim.make(root, domain="a b", selector="../s", algorithm=Algorithm.ED25519)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_resolvers_are_addresses(
    root: Path, text: str, address: tuple[str, int]
) -> None:
    assert load(root, f'[dns]\nservers = ["{text}"]\n').dns.servers == (text,)
    assert dns.server(text) == address


@pytest.mark.parametrize(
    "text", ["dns.example.org", "192.0.2.53:0", "192.0.2.53:x", ""]
)
def test_what_is_no_resolver_is_refused(root: Path, text: str) -> None:
    with pytest.raises(errors.Invalid, match=r"write the address of|a port is from"):
        load(root, f'[dns]\nservers = ["{text}"]\n')
