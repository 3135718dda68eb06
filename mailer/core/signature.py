"""Keys that sign mail, what is published of them, and which sign for a From.

RFC 6376 (DKIM), 8301 (sizes of RSA keys), 8463 (Ed25519).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

# RFC 8301 §3.2: 2048 bits wanted, and nobody has to verify more than 4096.
RSA_BITS = range(2048, 4097)
SHORTEST = timedelta(days=1)  # what is retried for hours must still verify
_LABELS = re.compile(r"(?!.{254})[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_-]+)*")


class Algorithm(StrEnum):
    """How a key signs: the tag ``a=`` of its signatures."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A private key, the domain that it signs for, and where its other half is."""

    name: str
    domain: str
    selector: str
    lifetime: timedelta | None = None  # of a signature: x=, RFC 6376 §3.5
    private: Private = field(repr=False)
    algorithm: Algorithm = field(init=False)
    public: str = field(init=False)  # base64, as DNS has it

    def __post_init__(self) -> None:
        for one in (self.domain, self.selector):
            labels(one)
        if self.lifetime is not None and self.lifetime < SHORTEST:
            message = (
                f"lifetime {self.lifetime}: write 1d or more: messages are retried"
            )
            raise ValueError(message)
        algorithm = Algorithm.ED25519
        if isinstance(self.private, rsa.RSAPrivateKey):
            algorithm = Algorithm.RSA
            if self.private.key_size not in RSA_BITS:
                message = (
                    f"an RSA key of {self.private.key_size} bits: make one of 2048"
                )
                raise ValueError(message)
        object.__setattr__(self, "algorithm", algorithm)
        object.__setattr__(self, "public", published(self.private))

    @property
    def host(self) -> str:
        """Return the name in DNS where the other half is."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """Return the text of the TXT record to publish there."""
        kind = self.algorithm.partition("-")[0]
        return f"v=DKIM1; k={kind}; p={self.public}"


def labels(text: str) -> str:
    """Return a domain or selector as it was given, if it is one.  Else ValueError."""
    if _LABELS.fullmatch(text) is None or ".." in text:
        message = f'"{text}": write a name in lower case, such as "example.org"'
        raise ValueError(message)
    return text


def published(private: Private) -> str:
    """Return the public half of a key, as ``p=`` has it."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        data = public.public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    else:
        data = public.public_bytes_raw()  # RFC 8463 §4: without any wrapping
    return base64.b64encode(data).decode("ascii")


def private(data: bytes) -> Private:
    """Read a PEM file.  ValueError when it holds no key that can sign."""
    try:
        found = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        message = "the key has a passphrase: take it off, and keep the file safe"
        raise ValueError(message) from None
    except (ValueError, UnsupportedAlgorithm):
        message = "no private key in PEM form"
        raise ValueError(message) from None
    if not isinstance(found, (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)):
        message = "neither RSA nor Ed25519: DKIM knows no others"
        raise ValueError(message)  # noqa: TRY004 -- of the file, not of an argument
    return found


def new(algorithm: Algorithm, *, bits: int) -> Private:
    """Make a key; *bits* are RSA's."""
    match algorithm:
        case Algorithm.RSA:
            return rsa.generate_private_key(public_exponent=65537, key_size=bits)
        case Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            assert_never(algorithm)


def pem(key: Private) -> bytes:
    """Write a key as `private` reads it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signing(keys: Sequence[Key], domain: str) -> tuple[Key, ...]:
    """Return the keys that sign mail from *domain*: its own, else its parents'.

    All keys of the nearest domain sign, RSA first.
    """
    name = domain.lower()
    while "." in name:
        found = [key for key in keys if key.domain == name]
        if found:
            return tuple(sorted(found, key=lambda key: key.algorithm != Algorithm.RSA))
        name = name.partition(".")[2]
    return ()
