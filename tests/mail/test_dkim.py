"""dkimpy, which shares no line with us, reads what we sign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dkim as dkimpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.core.signature import Algorithm, Key
from mailer.mail import dkim, envelope, header, mime
from tests import signers

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
KEY = signers.key()
ED25519 = signers.key(selector="e2026", algorithm=Algorithm.ED25519)
LETTERHEAD = mime.Letterhead(
    sender=header.Mailbox(name="Example for Congress", address="team@example.org"),
    reply_to=header.Mailbox(address="reply@example.org"),
    list_id=("Example for Congress appeals", "appeals.example.org"),
    feedback_id="b1:v1:appeals:0123456789",
    is_bulk=True,
)
MESSAGE = mime.Message(
    id="<b1.2.abcdef@example.org>",
    date=NOON,
    to=header.Mailbox(name="Ada", address="ada@example.com"),
    subject="Before midnight",
    html="<p>Dear Ada,</p>\n.\n<p>12 hours are left.</p>\n\n",
    text="Dear Ada,\n.\n..\n12 hours are left.\n\n\n",
    unsubscribe="https://t.example.org/u/TOKEN",
)
DATA = mime.build(LETTERHEAD, MESSAGE)


def is_verified(data: bytes, keys: Sequence[Key], index: int = 0) -> bool:
    records = {f"{key.host}.".encode(): key.record.encode() for key in keys}
    try:
        return bool(
            dkimpy.DKIM(data).verify(
                idx=index, dnsfunc=lambda name, timeout=0: records.get(name)
            )
        )
    except (dkimpy.DKIMException, ValueError):
        return False


def listed(data: bytes) -> list[str]:
    """Return what ``h=`` of the first signature names."""
    match = re.search(rb"[; ]h=([^;]*)", data)
    assert match is not None
    return "".join(match[1].decode().split()).split(":")


def test_another_program_verifies_what_we_sign() -> None:
    signed = dkim.sign(DATA, [KEY], at=NOON)
    assert signed.endswith(DATA)
    assert is_verified(signed, [KEY])
    dkim.check(signed, [KEY])


def test_every_key_signs_and_each_signature_stands_alone() -> None:
    keys = [KEY, ED25519, signers.key(selector="next", number=2)]
    signed = dkim.sign(DATA, keys, at=NOON)
    assert signed.count(b"DKIM-Signature:") == 3
    assert [is_verified(signed, [key], i) for i, key in enumerate(keys)] == [True] * 3
    dkim.check(signed, keys)


CR = 0x0D  # dkimpy takes any white space for the CR that ends a field
TEXT = st.text(max_size=200) | st.sampled_from(
    ["", "\r\n.\r\n", "a\rb", "\n\n", " \t ", "=?utf-8?q?x?=", "é" * 300, "x" * 3000]
)


@settings(deadline=None, max_examples=60)
@given(subject=TEXT, name=TEXT, html=TEXT, text=TEXT)
def test_whatever_is_merged_the_signature_verifies(
    subject: str, name: str, html: str, text: str
) -> None:
    to = header.Mailbox(name=name, address="ada@example.com")
    message = MESSAGE._replace(subject=subject, to=to, html=html, text=text)
    signed = dkim.sign(mime.build(LETTERHEAD, message), [ED25519, KEY], at=NOON)
    assert is_verified(signed, [ED25519])
    assert is_verified(signed, [KEY], 1)
    dkim.check(signed, [ED25519, KEY])


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b"a", b"a\r\n\r\n", b" "])
def test_a_body_is_signed_however_it_ends(body: bytes) -> None:
    data = DATA[: DATA.index(b"\r\n\r\n") + 4] + body
    assert is_verified(dkim.sign(data, [KEY], at=NOON), [KEY])


def test_fields_are_signed_however_they_are_written() -> None:
    data = (
        b"FROM:a@example.org\r\nSubject:\t \r\nto:  b@example.org ,\r\n\t c@d.test\r\n"
        b"List-Id: one\r\nList-Id: two\r\n\r\nhello"
    )
    signed = dkim.sign(data, [KEY], at=NOON)
    assert is_verified(signed, [KEY])
    assert listed(signed).count("list-id") == 3


@settings(deadline=None, max_examples=100)
@given(place=st.integers(min_value=0))
def test_any_changed_byte_breaks_the_signature(place: int) -> None:
    signed = bytearray(dkim.sign(DATA, [KEY], at=NOON))
    code = range(signed.index(b" b=") + 3, len(signed) - len(DATA))
    body = signed.index(b"\r\n\r\n")
    places = [
        at
        for at in range(len(signed) - 2)  # how many empty lines end it is not signed
        if at not in code and (at > body or signed[at] != CR)
    ]
    signed[places[place % len(places)]] ^= 1
    assert not is_verified(bytes(signed), [KEY])


@pytest.mark.parametrize("name", [name.decode() for name in dkim.OVERSIGNED])
def test_no_field_that_people_see_can_be_added(name: str) -> None:
    signed = dkim.sign(DATA, [KEY], at=NOON)
    assert not is_verified(f"{name}: other\r\n".encode() + signed, [KEY])
    at = signed.index(b"\r\nDate:") + 2
    assert not is_verified(signed[:at] + f"{name}: x\r\n".encode() + signed[at:], [KEY])


def test_what_relays_add_breaks_nothing() -> None:
    signed = dkim.sign(DATA, [KEY], at=NOON)
    added = b"Received: from mail.example.org\r\nX-Spam: no\r\nPrecedence: list\r\n"
    assert is_verified(added + signed, [KEY])


def test_both_unsubscribe_fields_are_signed() -> None:
    """RFC 8058 §4: else nobody may follow them."""
    names = listed(dkim.sign(DATA, [KEY], at=NOON))
    assert names.count("list-unsubscribe") == 2
    assert names.count("list-unsubscribe-post") == 2
    assert names.count("from") == 2
    assert names.count("precedence") == 1


def test_the_whole_body_is_signed() -> None:
    signed = dkim.sign(DATA, [KEY], at=NOON)
    assert b" l=" not in signed
    assert not is_verified(signed + b"more\r\n", [KEY])


def test_dots_are_stuffed_after_signing() -> None:
    signed = dkim.sign(DATA, [KEY], at=NOON)
    sent = envelope.stuffed(signed)
    assert b"\r\n..\r\n" in sent
    assert sent.replace(b"\r\n..", b"\r\n.") == signed
    assert envelope.end(sent) == b".\r\n"
    assert not is_verified(sent, [KEY])


def test_a_second_try_has_the_same_bytes() -> None:
    keys = [KEY, ED25519]
    assert dkim.sign(DATA, keys, at=NOON) == dkim.sign(DATA, keys, at=NOON)


def test_a_signature_can_expire() -> None:
    key = signers.key(lifetime=timedelta(days=7))
    moment = int(NOON.timestamp())
    signed = dkim.sign(DATA, [key], at=NOON)
    assert f"; t={moment}; x={moment + 7 * 86400};".encode() in signed
    assert b" x=" not in dkim.sign(DATA, [KEY], at=NOON)


def test_lines_of_a_signature_are_short() -> None:
    signed = dkim.sign(DATA, [KEY, ED25519], at=NOON)
    lines = signed[: -len(DATA)].split(b"\r\n")
    assert max(map(len, lines)) <= header.SOFT


def test_without_a_key_nothing_is_added() -> None:
    assert dkim.sign(DATA, [], at=NOON) == DATA


def test_a_message_without_a_body_is_refused() -> None:
    with pytest.raises(errors.Invalid, match="cannot be signed"):
        dkim.sign(b"From: a@example.org\r\n", [KEY], at=NOON)


@pytest.mark.parametrize("change", [b"Before", b"12 hours", b"bh=", b" b="])
def test_a_signature_that_is_no_good_is_found(change: bytes) -> None:
    signed = dkim.sign(DATA, [KEY], at=NOON)
    with pytest.raises(errors.Invalid, match=r"s2026\._domainkey\.example\.org"):
        dkim.check(signed.replace(change, b"!" + change), [KEY])
    with pytest.raises(errors.Invalid, match="does not verify"):
        dkim.check(signed, [ED25519])
