"""What is sealed together is what RFC 5297 says, and what the library gives."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core import siv

KEYS = st.sampled_from([32, 48, 64]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)


def test_the_vector_of_the_rfc_comes_out() -> None:
    # RFC 5297 Appendix A.1 has associated data of 24 octets and a plaintext of 14;
    # the library, which is checked against it, stands in for the part that is longer
    # than what a sheet takes.
    key = bytes.fromhex(
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
    )
    plain = bytes.fromhex("112233445566778899aabbccddee")
    sheet = siv.Sheet(key, associated=[b"click"], plain=[plain], at=0, size=1)

    assert sheet.seal(0) == AESSIV(key).encrypt(plain, [b"click"])


@settings(deadline=None)
@given(
    key=KEYS,
    associated=st.lists(st.binary(min_size=1, max_size=16), min_size=1, max_size=9),
    plain=st.binary(min_size=5, max_size=15),
    number=st.integers(0, 2**24 - 1),
    data=st.data(),
)
def test_many_at_once_are_what_the_library_seals_one_by_one(
    key: bytes,
    associated: list[bytes],
    plain: bytes,
    number: int,
    data: st.DataObject,
) -> None:
    at = data.draw(st.integers(0, len(plain) - 3))
    blank = plain[:at] + bytes(3) + plain[at + 3 :]
    own = plain[:at] + number.to_bytes(3, "big") + plain[at + 3 :]
    sheet = siv.Sheet(
        key,
        associated=associated,
        plain=[blank] * len(associated),
        at=at,
        size=3,
        before=b"<",
        after=b">",
    )

    assert sheet.seal(number) == b"".join(
        b"<" + AESSIV(key).encrypt(own, [one]) + b">" for one in associated
    )


@pytest.mark.parametrize("plain", [[b"x" * 16], [b"xx", b"x"]])
def test_what_is_no_sheet_is_refused(plain: list[bytes]) -> None:
    with pytest.raises(ValueError, match="one length below a block"):
        siv.Sheet(bytes(32), associated=[b"a"] * len(plain), plain=plain, at=0, size=1)


def test_a_long_name_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 16"):
        siv.Sheet(bytes(32), associated=[b"a" * 17], plain=[b"x"], at=0, size=1)


def test_a_number_that_does_not_fit_is_refused() -> None:
    sheet = siv.Sheet(bytes(32), associated=[b"a"], plain=[b"xx"], at=0, size=1)

    for number in (-1, 256):
        with pytest.raises(OverflowError):
            sheet.seal(number)
