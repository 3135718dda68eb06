from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mailer.core import signature
from mailer.core.signature import Algorithm, signing
from tests import signers


def test_the_keys_of_the_nearest_domain_sign() -> None:
    own, news, other = map(
        signers.key, ["example.org", "news.example.org", "example.com"]
    )
    keys = [own, news, other]
    assert signing(keys, "example.org") == (own,)
    assert signing(keys, "News.Example.ORG") == (news,)
    assert signing(keys, "a.news.example.org") == (news,)
    assert signing(keys, "mail.example.org") == (own,)
    assert signing(keys, "notexample.org") == ()
    assert signing(keys, "org") == ()


def test_rsa_signs_first() -> None:
    short = signers.key(selector="e", algorithm=Algorithm.ED25519)
    keys = [short, signers.key(), signers.key(selector="next")]
    assert [key.selector for key in signing(keys, "example.org")] == [
        "s2026",
        "next",
        "e",
    ]


def test_a_key_says_what_to_publish() -> None:
    key = signers.key(selector="e", algorithm=Algorithm.ED25519)
    assert key.host == "e._domainkey.example.org"
    assert key.record == f"v=DKIM1; k=ed25519; p={key.public}"
    assert len(key.public) == 44
    assert signers.key().record.startswith("v=DKIM1; k=rsa; p=MIIBIjAN")


def test_a_key_shows_its_public_half_only() -> None:
    assert "private" not in repr(signers.key())


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_key_is_read_as_it_was_written(algorithm: Algorithm) -> None:
    key = signers.private(algorithm)
    again = signature.private(signature.pem(key))
    assert signature.published(again) == signature.published(key)


def test_what_cannot_sign_is_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    locked = signers.private().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(ValueError, match="neither RSA nor Ed25519"):
        signature.private(curve)
    with pytest.raises(ValueError, match="passphrase"):
        signature.private(locked)
    with pytest.raises(ValueError, match="no private key in PEM form"):
        signature.private(b"-----BEGIN PRIVATE KEY-----\nAAAA")


@pytest.mark.parametrize(
    ("domain", "selector", "days"),
    [
        ("Example.org", "s", None),
        ("example..org", "s", None),
        ("example.org", "a b", None),
        ("example.org;", "s", None),
        ("", "s", None),
        ("example.org", "s", 0.5),
    ],
)
def test_what_cannot_stand_in_a_signature_is_refused(
    domain: str, selector: str, days: float | None
) -> None:
    lifetime = timedelta(days=days) if days else None
    with pytest.raises(ValueError, match="write"):
        signers.key(domain, selector, lifetime=lifetime)


def test_a_short_rsa_key_is_refused() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(ValueError, match="1024 bits: make one of 2048"):
        signature.Key(name="a", domain="example.org", selector="a", private=short)
