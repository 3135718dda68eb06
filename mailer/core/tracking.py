"""Tokens of links, pixels and unsubscribes, and whether a person or a machine came.

A token is ``key id || AES-SIV(key, AD = purpose; blast, subscriber, link, values)``
(RFC 5297): deterministic, so that a retried message carries the same one, and bound
to its purpose, so that a forwarded link hands over no more than itself.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from mailer import errors
from mailer.core import siv

MAX_VALUES = 2048  # bytes; a request line ends at 8190 in aiohttp and many proxies
KEY_SIZES = (32, 48, 64)  # bytes; AES-SIV takes twice an AES key

_HEAD = struct.Struct(">IBIH")  # blast u32, subscriber u40 in two parts, link u16
_LENGTH = struct.Struct(">H")
_TAG = 16
_SHORTEST = 1 + _TAG + _HEAD.size
_LONGEST = _SHORTEST + MAX_VALUES

_SHORTEST_TEXT = _SHORTEST * 8 // 6
_CHARACTERS = -(-_SHORTEST * 8 // 6)  # of base64, without its padding
_LONGEST_TEXT = _LONGEST * 8 // 5 + 1

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")  # "!" is skipped, then missed


class Purpose(StrEnum):
    """What a token may do, and nothing else."""

    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"
    VIEW = "view"
    CONFIRM = "confirm"  # an address is the person's own
    REFCODE = "refcode"  # tells who gave; letters and digits only
    BOUNCE = "bounce"  # tells whose message came back; letters and digits only


# Base32: what is printed on a form, or is the local part of an address.
_LETTERS_AND_DIGITS = frozenset({Purpose.REFCODE, Purpose.BOUNCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """The keys by their id; new tokens are sealed with the current one.

    A key is never taken out while a mail that it sealed may be opened.
    """

    keys: Mapping[int, bytes] = field(repr=False)
    current: int

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise errors.Invalid(f"tracking keys: there is no key {self.current}")
        for number, key in self.keys.items():
            if not 0 <= number <= 255 or len(key) not in KEY_SIZES:
                message = (
                    f"tracking keys: key {number}: wanted an id of 0-255 and "
                    f"{KEY_SIZES} bytes, got {len(key)}"
                )
                raise errors.Invalid(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """For whom a link is, and what it carries for them."""

    blast: int
    subscriber: int
    link: int = 0
    values: tuple[str, ...] = ()


@lru_cache(maxsize=64)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(key)


_ASSOCIATED = {purpose: [purpose.value.encode()] for purpose in Purpose}


def seal(ring: Ring, purpose: Purpose, token: Token) -> str:
    """Write *token* so that only *purpose* can open it; the same always alike.

    Raises Invalid when a number is out of range or the values are too long.
    """
    sealer = Sealer(ring, blast=token.blast)
    person = sealer.person(token.subscriber)
    return sealer.seal(purpose, person, token.link, token.values)


class Sealer:
    """Seals the tokens of one blast: what they share is worked out once."""

    def __init__(self, ring: Ring, *, blast: int) -> None:
        self._blast = _number(blast, 4, name="blast")
        self._id = bytes((ring.current,))
        self._key = ring.keys[ring.current]
        self._encrypt = _cipher(self._key).encrypt

    def sheet(self, places: Sequence[tuple[Purpose, int]]) -> Sheet:
        """Return what seals the same *places*, purpose and link, for one after one."""
        return Sheet(self._key, id=self._id, blast=self._blast, places=places)

    def person(self, subscriber: int) -> bytes:
        """Return what all tokens of one person begin with.  Invalid: out of range."""
        return self._blast + _number(subscriber, 5, name="subscriber")

    def seal(
        self,
        purpose: Purpose,
        person: bytes,
        link: int = 0,
        values: tuple[str, ...] = (),
    ) -> str:
        """Write a token, as the function `seal` does.  Raises Invalid as it does."""
        plain = person + _number(link, 2, name="link")
        if values:
            plain += _pack(values)
        sealed = self._id + self._encrypt(plain, _ASSOCIATED[purpose])
        return _write(purpose, sealed)


class Sheet:
    """Seals all tokens without values that one person gets, at once.

    What it writes is what `seal` writes.
    """

    def __init__(
        self,
        key: bytes,
        *,
        id: bytes,
        blast: bytes,
        places: Sequence[tuple[Purpose, int]],
    ) -> None:
        # Base64 takes three octets at a time; what they are filled up with is cut off.
        filled = bytes(-_SHORTEST % 3)
        self._wide = (_SHORTEST + len(filled)) // 3 * 4
        self._seal = siv.Sheet(
            key,
            associated=[purpose.value.encode() for purpose, _ in places],
            plain=[blast + bytes(5) + _number(at, 2, name="link") for _, at in places],
            at=len(blast),
            size=5,
            before=id,
            after=filled,
        ).seal

    def seal(self, subscriber: int) -> list[str]:
        """Write the tokens of a person, in order.  Invalid: out of range."""
        try:
            raw = self._seal(subscriber)
        except OverflowError as error:
            message = f"token: subscriber {subscriber}: not in 40 bits"
            raise errors.Invalid(message) from error
        coded = binascii.b2a_base64(raw, newline=False).translate(_TO_URL)
        text, wide = coded.decode("ascii"), self._wide
        return [text[at : at + _CHARACTERS] for at in range(0, len(text), wide)]


def _number(value: int, size: int, *, name: str) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError as error:
        message = f"token: {name} {value}: not in {8 * size} bits"
        raise errors.Invalid(message) from error


def unseal(ring: Ring, purpose: Purpose, text: str) -> Token:
    """Open a token that `seal` wrote for *purpose*.  Raises Invalid on any other."""
    raw = _read(purpose, text)
    key = ring.keys.get(raw[0])
    if key is None:
        raise errors.Invalid("token: unknown key")
    try:
        plain = _cipher(key).decrypt(raw[1:], _ASSOCIATED[purpose])
    except InvalidTag as error:
        raise errors.Invalid("token: not one of ours") from error
    blast, high, low, link = _HEAD.unpack_from(plain)
    values = _unpack(plain) if len(plain) > _HEAD.size else ()
    return Token(blast=blast, subscriber=high << 32 | low, link=link, values=values)


def _pack(values: tuple[str, ...]) -> bytes:
    parts = [value.encode("utf-8", "replace") for value in values]
    size = sum(len(part) + _LENGTH.size for part in parts)
    if size > MAX_VALUES:
        message = f"token: values of {size} bytes: at most {MAX_VALUES} fit in a link"
        raise errors.Invalid(message)
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _unpack(plain: bytes) -> tuple[str, ...]:
    values = []
    at = _HEAD.size
    while at < len(plain):
        (length,) = _LENGTH.unpack_from(plain, at)
        at += _LENGTH.size
        values.append(plain[at : at + length].decode())
        at += length
    return tuple(values)


def _write(purpose: Purpose, raw: bytes) -> str:
    if purpose in _LETTERS_AND_DIGITS:
        return base64.b32encode(raw).decode().rstrip("=").lower()
    coded = binascii.b2a_base64(raw, newline=False).translate(_TO_URL, b"=")
    return coded.decode("ascii")


def _read(purpose: Purpose, text: str) -> bytes:
    """Decode the one spelling of a token.

    Python's decoders skip foreign characters and forgive the bits that are left
    over: what does not give the same text again was no token.
    """
    if not _SHORTEST_TEXT <= len(text) <= _LONGEST_TEXT:
        raise errors.Invalid("token: not one of ours")
    try:
        if purpose in _LETTERS_AND_DIGITS:
            raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
        else:
            coded = text.encode("ascii").translate(_FROM_URL)
            raw = binascii.a2b_base64(coded + b"=" * (-len(coded) % 4))
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are some
        raise errors.Invalid("token: not one of ours") from error
    if not _SHORTEST <= len(raw) <= _LONGEST or _write(purpose, raw) != text:
        raise errors.Invalid("token: not one of ours")
    return raw


# ── Where links lead ────────────────────────────────────────────────────────

_PLACEHOLDER = re.compile(r"\{(?:v(\d+)|refcode2)\}")
_UNSAFE = re.compile(r"[^\x21-\x7e]|[\\\"<>^`|]")


def destination(ring: Ring, url: str, token: Token) -> str:
    """Fill the placeholders of a link for one person; all other bytes stay.

    ``{v0}`` is the token's first value, percent-encoded; ``{refcode2}`` names the
    person and the link to a donation form.
    """
    if "{" not in url:
        return url

    def fill(match: re.Match[str]) -> str:
        if match[1] is None:
            return refcode2(ring, token)
        index = int(match[1])
        found = token.values[index] if index < len(token.values) else ""
        return quote(found, safe="")

    return _PLACEHOLDER.sub(fill, url)


def refcode2(ring: Ring, token: Token) -> str:
    """Return what a donation form shall send back with a gift of this person."""
    person = Token(blast=token.blast, subscriber=token.subscriber, link=token.link)
    return f"{token.link}_{seal(ring, Purpose.REFCODE, person)}"


def may_lead_to(url: str) -> bool:
    """Tell whether a redirect to *url* is safe to write into a header.

    http or https with a host, no user, no backslash or control character, ASCII.
    """
    if _UNSAFE.search(_PLACEHOLDER.sub("x", url)):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"https", "http"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and port != 0
    )


# ── Person or machine ───────────────────────────────────────────────────────

RULES = 2  # the version of these rules, stored with each event so that it can be redone

# Gmail fetches images ahead under this agent, with its stray last token
# (Bird, "Gmail prefetching images").
_GMAIL_PREFETCH = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
# Each begins a word: "notwget" is no wget.  No bare "bot", "java" or "security",
# which catch people.
_SCANNER = re.compile(
    r"(?<![a-z0-9])(barracuda|proofpoint|mimecast|safelinks|urldefense|ironport|sophos"
    r"|fireeye|forcepoint|headlesschrome|phantomjs|python-requests|curl/|wget"
    r"|go-http-client)",
    re.IGNORECASE,
)
_AHEAD = re.compile(r"prefetch|preview|prerender", re.IGNORECASE)


class Label(StrEnum):
    """Who it was, as far as can be told."""

    HUMAN = "human"
    MACHINE = "machine"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a request told about who made it."""

    method: str = "GET"
    agent: str = ""
    ahead: str = ""  # Sec-Purpose, Purpose, X-Purpose and X-Moz, joined


@lru_cache(maxsize=4096)  # few browsers make most visits
def label(visit: Visit) -> tuple[Label, tuple[str, ...]]:
    """Judge a visit, and say which rules spoke.  Never a reason to refuse it."""
    agent = visit.agent
    machine = []
    if visit.method in {"HEAD", "OPTIONS"}:
        machine.append("method")  # RFC 9110: gateways probe with safe methods
    if visit.ahead and _AHEAD.search(visit.ahead):
        machine.append("prefetch")
    if not agent.strip():
        machine.append("no_agent")
    elif agent == _GMAIL_PREFETCH:
        machine.append("gmail_prefetch")
    elif found := _SCANNER.search(agent):
        machine.append("scanner_" + found[1].lower().rstrip("/").replace("-", "_"))
    if machine:
        return Label.MACHINE, tuple(machine)
    if agent == "Mozilla/5.0":
        return Label.UNKNOWN, ("apple_mpp",)
    if "GoogleImageProxy" in agent or "ggpht.com" in agent:
        return Label.HUMAN, ("google_proxy",)
    if "YahooMailProxy" in agent:
        return Label.HUMAN, ("yahoo_proxy",)
    return Label.HUMAN, ()
