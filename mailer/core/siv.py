"""Seal many short messages of one shape at once: AES-SIV, RFC 5297.

A mail carries a token for each of its links, all of one person and one blast.  Where
the plaintext is shorter than a block, S2V ends in one block (§2.4), so that a token is
two blocks of AES: those of all tokens of a mail are encrypted together.  What comes
out is what the library's AES-SIV gives, octet for octet, for a fraction of its calls;
opening, which strangers ask for, is left to the library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16  # octets
# §2.6: the bits of the initial counter that are cleared
_COUNTER = ((1 << 128) - 1) ^ (1 << 63) ^ (1 << 31)


class Sheet:
    """Seals the same places again and again, with a number of its own each time.

    Place *i* has the associated data ``associated[i]`` and the plaintext
    ``plain[i]``, into which a number is written *at* the same octet in all of them.
    What is sealed stands between *before* and *after*.
    """

    def __init__(
        self,
        key: bytes,
        *,
        associated: Sequence[bytes],
        plain: Sequence[bytes],
        at: int,
        size: int,
        before: bytes = b"",
        after: bytes = b"",
    ) -> None:
        self._count = len(plain)
        self._size = len(plain[0]) if plain else 0
        if any(len(one) != self._size for one in plain) or self._size >= BLOCK:
            message = "plaintexts of one length below a block"
            raise ValueError(message)
        half = len(key) // 2
        self._authenticate = _encryptor(key[:half])
        self._encrypt = _encryptor(key[half:])
        begun = [_begun(self._authenticate, one) for one in associated]
        self._vector = _joined(
            [first ^ _padded(one) for first, one in zip(begun, plain, strict=True)]
        )
        self._plain = _joined([_left(one) for one in plain])
        # One number in the same octets of each block.
        self._spread = _joined([1 << 8 * (BLOCK - at - size)] * self._count)
        self._counter = _joined([_COUNTER] * self._count)
        self._limit = 1 << 8 * size
        self._before, self._after = before, after

    def seal(self, number: int) -> bytes:
        """Return vector and ciphertext of all places, one after the other.

        OverflowError: *number* is out of range.
        """
        if not 0 <= number < self._limit:
            message = f"{number} is out of range"
            raise OverflowError(message)
        length, size = BLOCK * self._count, self._size
        before, after = self._before, self._after
        own = number * self._spread
        vectors = self._authenticate((self._vector ^ own).to_bytes(length, "big"))
        counters = int.from_bytes(vectors, "big") & self._counter
        stream = self._encrypt(counters.to_bytes(length, "big"))
        mixed = int.from_bytes(stream, "big") ^ self._plain ^ own
        sealed = mixed.to_bytes(length, "big")
        parts: list[bytes] = []
        for at in range(0, length, BLOCK):
            parts += before, vectors[at : at + BLOCK], sealed[at : at + size], after
        return b"".join(parts)


def _encryptor(key: bytes) -> Callable[[bytes], bytes]:
    """Return what encrypts whole blocks, each for itself."""
    # ECB is AES itself: the modes that make it safe, CMAC and CTR, are written here.
    cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 -- see above
    return cipher.encryptor().update


def _begun(authenticate: Callable[[bytes], bytes], associated: bytes) -> int:
    """Return what the last block of S2V is mixed with, CMAC's own subkey included.

    S2V (§2.4) of one associated string: dbl(dbl(CMAC(0)) xor CMAC(associated)),
    which the padded plaintext joins; CMAC (RFC 4493 §2.4) of one whole block mixes
    in its first subkey.
    """
    zero = authenticate(bytes(BLOCK))
    first = _double(int.from_bytes(zero, "big"))
    started = _cmac(authenticate, first, bytes(BLOCK))
    vector = _double(started) ^ _cmac(authenticate, first, associated)
    return _double(vector) ^ first


def _cmac(authenticate: Callable[[bytes], bytes], first: int, text: bytes) -> int:
    """Return the CMAC of at most a block; *first* is its subkey."""
    if len(text) > BLOCK:
        message = f"associated data of {len(text)} octets: at most {BLOCK}"
        raise ValueError(message)
    whole = len(text) == BLOCK
    mixed = (_left(text) ^ first) if whole else (_padded(text) ^ _double(first))
    return int.from_bytes(authenticate(mixed.to_bytes(BLOCK, "big")), "big")


def _double(value: int) -> int:
    """Multiply by x in the field of RFC 5297 §2.3."""
    doubled = value << 1
    return doubled ^ ((1 << 128) | 0x87) if doubled >> 128 else doubled


def _joined(blocks: Sequence[int]) -> int:
    """Return *blocks* one after the other as one number."""
    return int.from_bytes(b"".join(one.to_bytes(BLOCK, "big") for one in blocks), "big")


def _left(text: bytes) -> int:
    """Return *text* at the left of a block of zeros."""
    return int.from_bytes(text.ljust(BLOCK, b"\0"), "big")


def _padded(text: bytes) -> int:
    """Return *text* with the bit that ends it (§2.4: ``pad``)."""
    return _left(text + b"\x80")
