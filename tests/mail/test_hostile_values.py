"""Ten thousand hostile values: what is written is read back as it was meant.

The readers share no line with us: the standard library's parser, dkimpy, and a
pattern of what an SMTP command may look like.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.mail import dkim, envelope, header, mime
from tests.mail import test_dkim as signed
from tests.mail import test_mime as mimes

FEW, MANY = 200, 10_000
LONG = 1200  # seconds
# Addresses that are nearly right, or say more than themselves.
LOCAL = st.text("ab.+-_'\"\\ @<>,;:()\r\n\t\0é\u202e=?", min_size=0, max_size=12)
HOST = st.text("ab.-xn\r\n> é@:[]1", min_size=0, max_size=12)
ADDRESS = st.one_of(
    st.builds("{}@{}".format, LOCAL, HOST),
    st.builds("{}@b.test".format, st.text("ab.+-_'=", min_size=1, max_size=12)),
    st.builds("a@b.test{}".format, st.text("\r\n<>, RCPTO:@c", max_size=20)),
    mimes.ANY,
)
RCPT = re.compile(rb"RCPT TO:<[^\x00-\x20<>\x7f]+@[^\x00-\x20<>@\x7f]+>\r\n")
OFFERED = {"smtputf8": "", "8bitmime": ""}


def check_headers(subject: str, name: str, sender: str) -> None:
    """Read back what merged values became: this text, and no field more."""
    data = mimes.written(subject=subject, name=name)
    message = mimes.read(data)
    mimes.check_wire(data)
    assert message.keys() == mimes.NAMES
    assert message["Subject"] == header.clean(subject)
    (to,) = message["To"].addresses
    assert to.addr_spec == "ada@example.net"
    assert "".join(to.display_name.split()) == "".join(header.clean(name).split())
    assert not message.defects
    line = header.custom("X-Team", sender)
    assert line.count(b"\r\n") == 1 + len(re.findall(rb"\r\n[ \t]", line))
    assert mimes.read(line + b"\r\n")["X-Team"] == header.clean(sender)


def check_address(address: str) -> bool:
    """Tell whether *address* is taken; then it says itself and nothing else."""
    try:
        who = header.Mailbox(address=address, name="Ada")
    except errors.Invalid:
        with pytest.raises(errors.Invalid):
            envelope.commands("t@example.org", address, b"x\r\n", offered=OFFERED)
        return False
    said = envelope.commands("t@example.org", address, b"x\r\n", offered=OFFERED)
    assert isinstance(said, list)
    command = said[1][1]
    assert RCPT.fullmatch(command)
    assert command == f"RCPT TO:<{address}>\r\n".encode()
    if address.isascii():
        message = mimes.read(header.mailbox("To", who) + b"\r\n")
        assert message.keys() == ["To"]
        (one,) = message["To"].addresses
        assert (one.addr_spec, one.display_name) == (address, "Ada")
    return True


headers = given(subject=mimes.ANY, name=mimes.ANY, sender=mimes.ANY)
addresses = given(address=ADDRESS)
few = settings(deadline=None, max_examples=FEW)
many = settings(
    deadline=None, max_examples=MANY, suppress_health_check=list(HealthCheck)
)


@few
@headers
def test_merged_values_stay_what_they_are(subject: str, name: str, sender: str) -> None:
    check_headers(subject, name, sender)


@few
@addresses
def test_an_address_says_itself_or_is_refused(address: str) -> None:
    check_address(address)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@many
@headers
def test_ten_thousand_merged_values_stay_what_they_are(
    subject: str, name: str, sender: str
) -> None:
    check_headers(subject, name, sender)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@many
@addresses
def test_ten_thousand_addresses_say_themselves_or_are_refused(address: str) -> None:
    check_address(address)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
@many
@given(subject=signed.TEXT, name=signed.TEXT, html=signed.TEXT, text=signed.TEXT)
def test_ten_thousand_signatures_verify(
    subject: str, name: str, html: str, text: str
) -> None:
    to = header.Mailbox(name=name, address="ada@example.com")
    message = signed.MESSAGE._replace(subject=subject, to=to, html=html, text=text)
    data = mime.build(signed.LETTERHEAD, message)
    assert signed.is_verified(
        dkim.sign(data, [signed.KEY], at=signed.NOON), [signed.KEY]
    )


@pytest.mark.soak
@pytest.mark.timeout(LONG)
def test_each_byte_that_is_changed_breaks_the_signature() -> None:
    whole = dkim.sign(signed.DATA, [signed.KEY], at=signed.NOON)
    code = range(whole.index(b" b=") + 3, len(whole) - len(signed.DATA))
    body = whole.index(b"\r\n\r\n")
    # dkimpy takes any white space for the CR that ends a field; how many empty
    # lines end it is not signed; and the signature itself is read leniently.
    places = [
        at
        for at in range(len(whole) - 2)
        if at not in code and (at > body or whole[at] != signed.CR)
    ]
    unbroken = []
    for at in places:
        changed = bytearray(whole)
        changed[at] ^= 1
        if signed.is_verified(bytes(changed), [signed.KEY]):
            unbroken.append((at, bytes(changed[max(0, at - 20) : at + 20])))
    assert unbroken == []
