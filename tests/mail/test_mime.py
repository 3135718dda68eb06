from __future__ import annotations

import re
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.mail import header, mime

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
URL = "https://t.example.org/u/AbC_123-" + "x" * 200
LETTERHEAD = mime.Letterhead(
    sender=header.Mailbox(name="Example for Congress", address="team@example.org"),
    reply_to=header.Mailbox(address="hello@example.org"),
    list_id=("Example News", "news.example.org"),
    feedback_id="12:em_12_1:fundraising:example",
)
HOSTILE = [
    "plain",
    "",
    " led and trailed ",
    "a\r\nBcc: evil@example.org",
    "=?utf-8?q?x=0d=0aBcc:_e@example.org?=",
    "nul\0 and \x1b[31m and \x85 and \u2028",
    "Żółć 🎉 " * 30,
    "word " * 60,
    "x" * 1200,
    'quote " back \\ slash <a@b.test>, (comment); group:',
    "two  spaces   kept",
    "\ud800",
]
ANY = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(),
    st.text(alphabet='ab =?é\r\n\0"\\<>,:;.\u2028🎉'),
)


def written(
    *,
    name: str = "",
    subject: str = "Hi",
    html: str = "<p>Hi</p>",
    text: str = "Hi",
    id: str = "<b12.34.0123456789abcdef@example.org>",
) -> bytes:
    return mime.build(
        LETTERHEAD,
        mime.Message(
            id=id,
            date=NOON,
            to=header.Mailbox(name=name, address="ada@example.net"),
            subject=subject,
            html=html,
            text=text,
            unsubscribe=URL,
            unsubscribe_mailto="mailto:unsubscribe@example.org?subject=b12",
        ),
    )


def read(data: bytes) -> EmailMessage:
    message = BytesParser(policy=policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


def part(data: bytes, kind: str) -> str:
    body = read(data).get_body((kind,))
    assert body is not None
    found = body.get_payload(decode=True)
    assert isinstance(found, bytes)
    return found.decode("utf-8").replace("\r\n", "\n")


def newlines(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n")


NAMES = [
    "Date", "Message-ID", "From", "Reply-To", "List-Id", "Feedback-ID", "To",
    "Subject", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version",
    "Content-Type",
]  # fmt: skip


def check_wire(data: bytes) -> None:
    lines = data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    assert b"\0" not in data
    assert data.isascii()


@settings(deadline=None, max_examples=150)
@given(subject=ANY, name=ANY)
@example(subject="=?utf-8?q?x=0d=0aBcc:_e@x?=", name="=?utf-8?q?x=0d=0aBcc:_e@x?=")
def test_hostile_headers_are_read_back_as_text_and_add_none(
    subject: str, name: str
) -> None:
    data = written(subject=subject, name=name)
    message = read(data)
    check_wire(data)
    assert message.keys() == NAMES
    assert message["Subject"] == header.clean(subject)
    assert message["To"].addresses[0].addr_spec == "ada@example.net"
    # Python 3.11 keeps the space between encoded words, against RFC 2047 §6.2.
    shown = "".join(message["To"].addresses[0].display_name.split())
    assert shown == "".join(header.clean(name).split())
    assert not message.defects


@settings(deadline=None, max_examples=150)
@given(text=ANY, html=ANY)
@example(text=".\r\n..\n.\r", html="<p>.</p>\n.\n")
@example(text="From here =\t\n=20 \n", html="<p>日本</p>" * 400)
def test_bodies_are_read_back_as_they_were_meant(text: str, html: str) -> None:
    data = written(text=text, html=html)
    check_wire(data)
    assert part(data, "plain") == newlines(text)
    ascii_html = html.encode("ascii", "xmlcharrefreplace").decode("ascii")
    assert part(data, "html").split() == newlines(ascii_html).split()


@pytest.mark.parametrize("subject", HOSTILE)
def test_encoded_words_are_short_and_so_are_their_lines(subject: str) -> None:
    lines = header.unstructured("Subject", subject).decode("ascii").split("\r\n")
    for word in re.findall(r"=\?\S+?\?=", " ".join(lines)):
        assert len(word) <= 75
    assert all(len(line) <= 78 for line in lines)


def test_a_long_subject_of_ascii_is_folded_at_spaces_and_not_encoded() -> None:
    subject = "Hours left " * 12 + "to give"
    lines = header.unstructured("Subject", subject).decode("ascii")
    assert max(map(len, lines.split("\r\n"))) <= 78
    assert lines.replace("\r\n", "") == f"Subject: {subject}"


@pytest.mark.parametrize("host", ["", "news example.org", "news\r\n.example.org"])
def test_a_list_id_is_a_host_name(host: str) -> None:
    with pytest.raises(errors.Invalid, match="List-Id"):
        header.list_id("Example News", host)


def test_a_letterhead_is_written_in_its_order() -> None:
    letterhead = mime.Letterhead(
        sender=header.Mailbox(address="a@example.org"),
        list_id=("", "news.example.org"),
        is_bulk=True,
        extra=[("X-Team", "digital")],
    )
    assert letterhead.fields == (
        b"From: a@example.org\r\n",
        b"List-Id: <news.example.org>\r\n",
        b"Precedence: bulk\r\n",
        b"X-Team: digital\r\n",
    )


def test_the_same_message_is_the_same_bytes_on_each_try() -> None:
    assert written() == written()


def test_one_click_fields_stand_exactly_as_providers_compare_them() -> None:
    head = written().split(b"\r\n\r\n")[0] + b"\r\n"
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head
    assert (
        f"\r\nList-Unsubscribe: <{URL}>,\r\n"
        " <mailto:unsubscribe@example.org?subject=b12>\r\n"
    ).encode() in head
    assert b"\r\nList-Id: Example News <news.example.org>\r\n" in head


@pytest.mark.parametrize("length", [40, 78, 120, 300, 900])
def test_a_uri_is_never_folded_or_encoded(length: int) -> None:
    uri = "https://t.example.org/u/".ljust(length, "q")
    assert f"<{uri}>".encode() in b"".join(header.list_unsubscribe(uri, None))


def test_no_one_click_is_promised_without_https() -> None:
    bare, address = "http://t.example.org/u/x", "mailto:u@example.org"
    assert b"Post" not in b"".join(header.list_unsubscribe(bare, None))
    assert b"Post" not in b"".join(header.list_unsubscribe(None, address))
    assert header.list_unsubscribe(None, None) == ()


@pytest.mark.parametrize(
    "uri",
    [
        "https://x/<y>",
        "https://x/\r\nBcc: y",
        "https://x/ y",
        "https://x/é",
        "x",
        "q" * 999,
    ],
)
def test_a_uri_that_cannot_stand_in_a_header_is_refused(uri: str) -> None:
    with pytest.raises(errors.Invalid):
        header.list_unsubscribe(uri, None)


@pytest.mark.parametrize(
    "name",
    ["Subject", "list-id", "Content-Type", "DKIM-Signature", "Bcc", "Return-Path",
     "Sender", "Received", "X Y", "X:Y", "", "X\r\nBcc", "Ü"],
)  # fmt: skip
def test_a_custom_header_is_never_one_of_ours(name: str) -> None:
    with pytest.raises(errors.Invalid):
        header.custom(name, "x")


def test_a_custom_header_may_hold_any_text() -> None:
    assert header.custom("X-Team", "Süden\r\nBcc: x") == (
        b"X-Team: =?utf-8?q?S=C3=BCden_Bcc=3A_x?=\r\n"
    )


@pytest.mark.parametrize(
    "address",
    ["a@b.test>\r\nRCPT TO:<c@d.test", "a@b.test,c@d.test", "a b@c.test", "a@", "@b",
     "a\0@b.test", "a@b.test\n", "<a@b.test>", "a@" + "b" * 260],
)  # fmt: skip
def test_an_address_that_could_say_more_than_itself_is_refused(address: str) -> None:
    with pytest.raises(errors.Invalid):
        header.Mailbox(address=address)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Example <a@b.test>", "Example", "a@b.test"),
        ('"Doe, Jo \\"J\\"" <a@b.test>', 'Doe, Jo "J"', "a@b.test"),
        ("a@b.test", "", "a@b.test"),
        ("<a@b.test>", "", "a@b.test"),
    ],
)
def test_a_mailbox_is_read_as_people_write_it(
    text: str, name: str, address: str
) -> None:
    assert header.Mailbox.parse(text) == header.Mailbox(name=name, address=address)


@pytest.mark.parametrize(
    "given", ["a:b:c", "a:b:c:tiny", "a:b:c:" + "x" * 16, "a b:b:c:sender"]
)
def test_a_feedback_id_has_four_fields_and_a_sender_of_5_to_15(given: str) -> None:
    with pytest.raises(errors.Invalid):
        header.feedback_id(given)


@pytest.mark.parametrize(
    "given", ["b@c", "<b>", "<b@c d>", "<" + "b" * 80 + "@c>", "<b@c>\n"]
)
def test_a_message_id_is_short_and_plain(given: str) -> None:
    with pytest.raises(errors.Invalid):
        header.message_id(given)


def test_long_lines_of_html_break_between_attributes() -> None:
    html = '<td style="color: red" ' * 100
    assert part(written(html=html), "html").replace("\n", " ") == html
    assert b"7bit\r\n\r\n<td" in written(html=html)


def test_a_long_line_is_not_broken_where_spaces_are_seen() -> None:
    html = "<pre>" + "word " * 300 + "</pre>"
    assert part(written(html=html), "html") == html


def test_the_boundary_is_of_the_message_alone_and_the_same_on_each_try() -> None:
    def boundary(**fields: str) -> bytes:
        found = re.search(rb'boundary="(=_[0-9a-f]{24})"', written(**fields))
        assert found is not None
        return found[1]

    assert boundary() == boundary(html="<p>another</p>")
    assert boundary() != boundary(id="<b1.2.0123456789ab@example.org>")


def test_a_mailbox_that_needs_smtputf8_is_written_as_utf8() -> None:
    who = header.Mailbox(address="ünï@example.net")
    assert header.mailbox("To", who) == "To: ünï@example.net\r\n".encode()
