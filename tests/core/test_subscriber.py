import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.core import subscriber
from mailer.core.subscriber import Address, normalise

WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # full-width forms
LONG_LOCAL = "a" * 64
LONG_HOST = f"{'b' * 63}.{'c' * 63}.{'d' * 57}.org"  # 189

READ = {
    # plain
    "ada@example.org": ("ada@example.org", "ada@example.org", "example.org"),
    " Ada@Example.ORG\t": ("Ada@example.org", "ada@example.org", "example.org"),
    "\ufeffada@example.org\xa0": ("ada@example.org", "ada@example.org", "example.org"),
    # tags and dots belong to the address
    "a.da+News@example.org": (
        "a.da+News@example.org", "a.da+news@example.org", "example.org",
    ),
    # every character of RFC 5322 atext
    "o'hara!#$%&*+/=?^_`{|}~-@example.org": (
        "o'hara!#$%&*+/=?^_`{|}~-@example.org",
        "o'hara!#$%&*+/=?^_`{|}~-@example.org",
        "example.org",
    ),
    # RFC 2142: these mailboxes have no case
    "Info@example.org": ("info@example.org", "info@example.org", "example.org"),
    # IDN: U-label, A-label, upper case and full-width dots are one domain
    "ada@bücher.example": (
        "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example",
        "xn--bcher-kva.example",
    ),
    "ada@BÜCHER" + ".".translate(WIDE) + "example": (
        "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example",
        "xn--bcher-kva.example",
    ),
    "ada@XN--BCHER-KVA.example": (
        "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example",
        "xn--bcher-kva.example",
    ),
    # full-width letters of an input method
    "ada@example.org".translate(WIDE): (
        "ada@example.org", "ada@example.org", "example.org",
    ),
    # as long as it may be
    f"{LONG_LOCAL}@{LONG_HOST}": (
        f"{LONG_LOCAL}@{LONG_HOST}", f"{LONG_LOCAL}@{LONG_HOST}", LONG_HOST,
    ),
    # the reserved names that tests and samples use
    "ada@yahoo.test": ("ada@yahoo.test", "ada@yahoo.test", "yahoo.test"),
}  # fmt: skip

REFUSED = [
    "",
    "ada",
    "@example.org",
    "ada@",
    "ada@example",
    "ada@@example.org",
    "ada@example..org",
    "ada@-example.org",
    "ada@exa_mple.org",
    ".ada@example.org",
    "ada.@example.org",
    "a..da@example.org",
    "a da@example.org",
    "ada@example.org, bo@example.org",
    "Ada <ada@example.org>",
    "<ada@example.org>",
    '"ada"@example.org',
    '"a b"@example.org',
    "ada@[192.0.2.1]",
    "ada@[IPv6:2001:db8::1]",
    "ada@192.0.2.1",
    "ada@example.org\r\nBcc: eve@example.org",
    "ada@example.org\n",
    "\rada@example.org",
    "a\nda@example.org",
    "ada\0@example.org",
    "ada\u2028@example.org",
    "ada@exa\u202emple.org",
    "a@b.c>\r\nRCPT TO:<evil@x.y",
    "ada@localhost",
    "ada@printer.local",
    "ada@hidden.onion",
    "ada@4.3.2.1.in-addr.arpa",
    f"{LONG_LOCAL}a@example.org",
    f"{LONG_LOCAL}@b{LONG_HOST}",
    f"ada@{'b' * 64}.org",
    "ada@" + "a." * 500 + "org",
    "a" * 100_000 + "@example.org",
    "ada@xn--.org",
    "ada@ab--cd.org",
    "ada@℀.org",
]


@pytest.mark.parametrize("raw", READ, ids=ascii)
def test_an_address_is_read(raw: str) -> None:
    email, address, domain = READ[raw]

    assert normalise(raw) == Address(email=email, address=address, domain=domain)


@pytest.mark.parametrize(
    "raw", REFUSED, ids=lambda raw: f"{len(raw)} {ascii(raw)[:40]}"
)
def test_an_address_is_refused(raw: str) -> None:
    with pytest.raises(errors.Invalid):
        normalise(raw)


def test_a_local_part_beyond_ascii_is_kept_and_said() -> None:
    found = normalise("Žofie@example.org")

    assert found.email == "Žofie@example.org"
    assert found.address == "žofie@example.org"
    assert found.needs_smtputf8
    assert not normalise("ada@bücher.example").needs_smtputf8


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [*"aZ09.-_+'@ \t\r\n\0\"<>()[]:;,\\", "--", "xn--", "@", "example.org"]
        ),
        st.sampled_from(
            [".org", ".test", ".local", "info", "İ", "ß", "é", *"e.@".translate(WIDE)]
        ),
        st.characters(),
    ),
    max_size=40,
).map("".join)
ADDRESSES = st.one_of(
    PIECES,
    st.emails(),
    st.tuples(PIECES, PIECES).map("@".join),
    st.tuples(
        st.text("abcXYZ019.+-_'!", min_size=1, max_size=70),
        st.lists(st.text("abcXYZ019-", min_size=1, max_size=66), min_size=1).map(
            ".".join
        ),
    ).map("@".join),
)


@settings(max_examples=400, deadline=None)
@given(ADDRESSES)
def test_our_quick_check_agrees_with_email_validator(raw: str) -> None:
    try:
        expected = subscriber.thorough(raw.strip(" \t\xa0\u200b\ufeff"))
    except errors.Invalid:
        with pytest.raises(errors.Invalid):
            subscriber.parts(raw)
    else:
        assert subscriber.parts(raw) == expected


@settings(max_examples=400, deadline=None)
@given(ADDRESSES)
def test_normalising_is_idempotent(raw: str) -> None:
    try:
        found = normalise(raw)
    except errors.Invalid:
        return

    assert normalise(found.email) == found
    assert found.address == found.address.lower()
    assert normalise(found.address).address == found.address
