"""Certificates of the simulated providers: made up on the spot, good for a play."""

from __future__ import annotations

import ssl
import tempfile
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SELF_SIGNED = "self-signed"
EXPIRED = "expired"
LIFE = timedelta(days=30)


def context(certificate: str, *, now: datetime) -> ssl.SSLContext:
    """Return what a server encrypts with: a made certificate, or that of a PEM file.

    OSError when there is no such file, ssl.SSLError when it holds no key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate not in {SELF_SIGNED, EXPIRED}:
        made.load_cert_chain(certificate)
        return made
    begins = now - LIFE * 2 if certificate == EXPIRED else now - timedelta(hours=1)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # 0600; ssl reads files
        file.write(pem(begins=begins, ends=begins + LIFE))
        file.flush()
        made.load_cert_chain(file.name)
    return made


def write(path: Path, *, begins: datetime, ends: datetime) -> None:
    """Write a certificate and its key to *path*."""
    path.touch(mode=0o600)
    path.write_bytes(pem(begins=begins, ends=ends))


def pem(*, begins: datetime, ends: datetime) -> bytes:
    """Return a certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM) + secret
