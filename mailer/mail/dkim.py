"""Sign a message as it goes on the wire: DKIM, RFC 6376 and 8463.

``relaxed/simple``: the body is hashed as it is, which costs one pass, and only the
few signed fields are made canonical.  Dots are stuffed later, by the session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mailer import errors
from mailer.core.signature import Key
from mailer.mail import header

# Named once more than they are there, so that none can be added to a signed message
# (RFC 6376 §8.15), not even one that we did not write.
OVERSIGNED = (
    b"from", b"reply-to", b"sender", b"to", b"cc", b"subject", b"date",
    b"message-id", b"mime-version", b"content-type", b"list-id",
    b"list-unsubscribe", b"list-unsubscribe-post", b"list-help", b"feedback-id",
)  # fmt: skip
# Only if there: relays may add them.
SIGNED = (*OVERSIGNED, b"content-transfer-encoding", b"precedence")

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_SPACES = re.compile(rb"[ \t]+")
_LINE = 72  # base64 characters of a line

NAME = b"dkim-signature"
Fields = list[tuple[bytes, bytes]]  # names in lower case, values as they are


def sign(data: bytes, keys: Sequence[Key], *, at: datetime) -> bytes:
    """Return *data* with a signature of each of *keys* before it.

    The same message and instant give the same bytes.  Raises Invalid when *data*
    has no end of its header.
    """
    if not keys:
        return data
    fields, start = _parted(data)
    names = _names(tuple([name for name, _ in fields]))
    covered = _covered(fields, names)
    digest = _digest(data, start)
    moment = int(at.timestamp())
    signed: list[bytes] = []
    for key in keys:
        begun = _begun(key, names, digest, moment)
        code = base64.b64encode(_raw(key, covered + _relaxed(NAME, begun)))
        lines = [code[at : at + _LINE] for at in range(0, len(code), _LINE)]
        signed += (b"DKIM-Signature:", begun, b"\r\n ".join(lines), b"\r\n")
    return b"".join((*signed, data))


def check(data: bytes, keys: Iterable[Key]) -> None:
    """Verify the signature of each of *keys*.  Raises Invalid when one is no good."""
    fields, start = _parted(data)
    written = [value for name, value in fields if name == NAME]
    for key in keys:
        place = f"d={key.domain}; s={key.selector};".encode("ascii")
        found = next((one for one in written if place in one), b"")
        begun, _, code = found.rpartition(b" b=")
        names = re.sub(rb"[ \r\n]", b"", _tag(begun, b"h")).split(b":")
        good = _tag(begun, b"bh") == _digest(data, start)
        clear = _covered(fields, names) + _relaxed(NAME, begun + b" b=")
        if not (good and _verifies(key, clear, code)):
            message = f"the signature of {key.host} does not verify"
            raise errors.Invalid(message)


def _parted(data: bytes) -> tuple[Fields, int]:
    """Return the header's fields, and where the body begins."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        message = "a message without an empty line after its header: cannot be signed"
        raise errors.Invalid(message)
    parts = [field.partition(b":") for field in _FIELD_END.split(data[:end])]
    fields = [(name.rstrip(b" \t").lower(), value) for name, _, value in parts]
    return fields, end + 4


def _digest(data: bytes, start: int) -> bytes:
    """Return the hash of a body in simple form: one CRLF at its end (§3.4.3)."""
    end = len(data)
    while data.endswith(b"\r\n", start, end):
        end -= 2
    body = hashlib.sha256(memoryview(data)[start:end])
    body.update(b"\r\n")
    return base64.b64encode(body.digest())


@lru_cache(maxsize=64)
def _names(there: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return what ``h=`` lists."""
    listed: list[bytes] = []
    for name in SIGNED:
        listed += [name] * (there.count(name) + (name in OVERSIGNED))
    return tuple(listed)


def _covered(fields: Fields, names: Iterable[bytes]) -> bytes:
    """Return the fields that *names* list, in relaxed form; the lowest first."""
    left: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        left.setdefault(name, []).append(value)
    return b"".join(
        [_relaxed(name, left[name].pop()) + b"\r\n" for name in names if left.get(name)]
    )


def _relaxed(name: bytes, value: bytes) -> bytes:
    """Return a field in relaxed form: unfolded, with single spaces (§3.4.2)."""
    if b"\r\n" in value:
        value = value.replace(b"\r\n", b"")
    if b"  " in value or b"\t" in value:
        value = _SPACES.sub(b" ", value)
    return name + b":" + value.strip(b" \t")


def _begun(key: Key, names: tuple[bytes, ...], digest: bytes, moment: int) -> bytes:
    """Write the value of the field, up to the signature itself."""
    end = ""
    if key.lifetime is not None:
        end = f" x={moment + int(key.lifetime.total_seconds())};"
    return b"".join((
        f" v=1; a={key.algorithm}; c=relaxed/simple; q=dns/txt;\r\n"
        f" d={key.domain}; s={key.selector}; t={moment};{end}\r\n h=".encode("ascii"),
        _folded(names),
        b";\r\n bh=", digest, b";\r\n b=",
    ))  # fmt: skip


@lru_cache(maxsize=64)
def _folded(names: tuple[bytes, ...]) -> bytes:
    """Join the names of ``h=``, on lines of their own where they must."""
    lines = [b"  "]
    for name in names:
        if len(lines[-1]) + len(name) >= header.SOFT:
            lines.append(b" ")
        lines[-1] += name + b":"
    return b"\r\n".join(lines)[2:-1]


def _raw(key: Key, clear: bytes) -> bytes:
    """Sign; RFC 8463 §3: Ed25519 signs the hash."""
    if isinstance(key.private, rsa.RSAPrivateKey):
        return key.private.sign(clear, padding.PKCS1v15(), hashes.SHA256())
    return key.private.sign(hashlib.sha256(clear).digest())


def _verifies(key: Key, clear: bytes, code: bytes) -> bool:
    public = key.private.public_key()
    try:
        signature = base64.b64decode(code)
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, clear, padding.PKCS1v15(), hashes.SHA256())
        else:
            public.verify(signature, hashlib.sha256(clear).digest())
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _tag(field: bytes, name: bytes) -> bytes:
    match = re.search(rb"[; ]" + name + rb"=([^;]*)", field)
    return match[1] if match else b""
