"""Sign a message as it goes on the wire: DKIM, RFC 6376 and 8463.

``relaxed/simple``: the body is hashed as it is, which costs one pass, and only the
few signed fields are made canonical.  Dots are stuffed later, by the session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

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


def sign(data: bytes, keys: Sequence[Key], *, at: datetime) -> bytes:
    """Return *data* with a signature of each of *keys* before it.

    The same message and instant give the same bytes.  Raises Invalid when *data*
    has no end of its header.
    """
    if not keys:
        return data
    fields, start = _parted(data)
    body = memoryview(data)[start : _end(data, start)], b"\r\n"
    return b"".join((*signatures(fields, body, keys, at=at), data))


def signatures(
    fields: Sequence[bytes],
    body: Iterable[bytes | memoryview],
    keys: Sequence[Key],
    *,
    at: datetime,
) -> list[bytes]:
    """Return the fields that sign a message, which go before its *fields*.

    *body* is in simple form: it ends with one CRLF (RFC 6376 §3.4.3).
    """
    if not keys:
        return []
    known = [_canonical(field) for field in fields]
    form = _form(tuple([name for name, _ in known]))
    covered = b"".join([known[place][1] for place in form.places])
    digest = _digest(body)
    moment = int(at.timestamp())
    signed: list[bytes] = []
    for key in keys:
        begun = _begun(key, form.listed, digest, moment)
        code = base64.b64encode(_raw(key, covered + _relaxed(NAME, begun)))
        lines = [code[at : at + _LINE] for at in range(0, len(code), _LINE)]
        signed.append(b"DKIM-Signature:%s%s\r\n" % (begun, b"\r\n ".join(lines)))
    return signed


def check(data: bytes, keys: Iterable[Key]) -> None:
    """Verify the signature of each of *keys*.  Raises Invalid when one is no good."""
    fields, start = _parted(data)
    body = memoryview(data)[start : _end(data, start)], b"\r\n"
    known = [_canonical(field) for field in fields]
    written = [
        field.partition(b":")[2].removesuffix(b"\r\n")
        for field, (name, _) in zip(fields, known, strict=True)
        if name == NAME
    ]
    for key in keys:
        place = f"d={key.domain}; s={key.selector};".encode("ascii")
        found = next((one for one in written if place in one), b"")
        begun, _, code = found.rpartition(b" b=")
        names = re.sub(rb"[ \r\n]", b"", _tag(begun, b"h")).split(b":")
        good = _tag(begun, b"bh") == _digest(body)
        clear = _covered(known, names) + _relaxed(NAME, begun + b" b=")
        if not (good and _verifies(key, clear, code)):
            message = f"the signature of {key.host} does not verify"
            raise errors.Invalid(message)


def _parted(data: bytes) -> tuple[list[bytes], int]:
    """Return the header's fields, with their ends, and where the body begins."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        message = "a message without an empty line after its header: cannot be signed"
        raise errors.Invalid(message)
    return [field + b"\r\n" for field in _FIELD_END.split(data[:end])], end + 4


def _end(data: bytes, start: int) -> int:
    """Return where a body ends but for its last CRLF (§3.4.3: there is one)."""
    end = len(data)
    while data.endswith(b"\r\n", start, end):
        end -= 2
    return end


def _digest(body: Iterable[bytes | memoryview]) -> bytes:
    """Return the hash of a body in simple form."""
    found = hashlib.sha256()
    for piece in body:
        found.update(piece)
    return base64.b64encode(found.digest())


@lru_cache(maxsize=1024)  # most fields are those of a letterhead
def _canonical(field: bytes) -> tuple[bytes, bytes]:
    """Return the name of a field, in lower case, and the whole in relaxed form."""
    name, _, value = field.partition(b":")
    name = name.rstrip(b" \t").lower()
    return name, _relaxed(name, value.removesuffix(b"\r\n")) + b"\r\n"


class Form(NamedTuple):
    """What of a header is signed."""

    listed: tuple[bytes, ...]  # in ``h=``
    places: tuple[int, ...]  # of the fields that are there, in that order


@lru_cache(maxsize=64)
def _form(there: tuple[bytes, ...]) -> Form:
    """Return what is signed of a header with these fields."""
    listed: list[bytes] = []
    for name in SIGNED:
        listed += [name] * (there.count(name) + (name in OVERSIGNED))
    return Form(tuple(listed), tuple(_places(there, listed)))


def _covered(known: Sequence[tuple[bytes, bytes]], names: Iterable[bytes]) -> bytes:
    """Return the fields that *names* list, in relaxed form."""
    there = [name for name, _ in known]
    return b"".join(known[place][1] for place in _places(there, names))


def _places(there: Sequence[bytes], names: Iterable[bytes]) -> Iterator[int]:
    """Yield which fields *names* mean; of those of one name the lowest first."""
    left: dict[bytes, list[int]] = {}
    for place, name in enumerate(there):
        left.setdefault(name, []).append(place)
    for name in names:
        if left.get(name):
            yield left[name].pop()


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
