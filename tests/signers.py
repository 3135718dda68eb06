"""Keys that sign for tests, made once: RSA takes its time."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path

from mailer.core import signature
from mailer.core.signature import Algorithm


@cache
def private(algorithm: Algorithm = Algorithm.RSA, number: int = 1) -> signature.Private:
    """Return the same key whenever the same number is asked for."""
    return signature.new(algorithm, bits=2048)


def key(
    domain: str = "example.org",
    selector: str = "s2026",
    *,
    algorithm: Algorithm = Algorithm.RSA,
    number: int = 1,
    lifetime: timedelta | None = None,
) -> signature.Key:
    """Return a key of *domain*."""
    return signature.Key(
        name=selector,
        domain=domain,
        selector=selector,
        lifetime=lifetime,
        private=private(algorithm, number),
    )


def write(
    path: Path, algorithm: Algorithm = Algorithm.RSA, *, mode: int = 0o600
) -> None:
    """Write a key file."""
    path.write_bytes(signature.pem(private(algorithm)))
    path.chmod(mode)
