from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.core.delivery import Reply
from mailer.mail.reply import ProtocolError, Reader

STREAM = (
    b"220 mx.test ESMTP\r\n"
    b"250-mx.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
    b"550-5.1.1 The email account that you tried to reach\r\n"
    b"550-5.1.1 does not exist. Go to\n"
    b"550 5.1.1 https://support.example.org/ - gsmtp\r\n"
    b"354\r\n"
    b"250 \r\n"
)
REPLIES = [
    Reply(code=220, text="mx.test ESMTP"),
    Reply(code=250, text="mx.test PIPELINING SIZE 1000"),
    Reply(
        code=550,
        text="5.1.1 The email account that you tried to reach does not exist. Go to "
        "https://support.example.org/ - gsmtp",
    ),
    Reply(code=354, text=""),
    Reply(code=250, text=""),
]


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, len(STREAM))))
def test_replies_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader, edges = Reader(), [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert [one for piece in pieces for one in reader.feed(piece)] == REPLIES


def test_a_reply_may_come_byte_by_byte() -> None:
    reader = Reader()
    assert [one for byte in STREAM for one in reader.feed(bytes([byte]))] == REPLIES


def test_what_is_stored_and_shown_holds_no_control_characters() -> None:
    (reply,) = Reader().feed(b"550 5.1.1 a\0b\x1b[31m \xff\xc3\xa9\r\n")
    assert reply.text == "5.1.1 a b [31m \ufffdé"


@pytest.mark.parametrize(
    "data",
    [b"hello\r\n", b"25 x\r\n", b"2500 x\r\n", b"150 x\r\n", b"\r\n", b"250_x\r\n",
     b"250-a\r\n550 b\r\n", b"250 " + b"x" * 5000 + b"\r\n", b"x" * 5000,
     b"250-x\r\n" * 200],
)  # fmt: skip
def test_what_is_no_reply_is_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Reader().feed(data))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200)))
def test_any_bytes_give_replies_or_a_protocol_error(pieces: list[bytes]) -> None:
    reader = Reader()
    try:
        replies = [one for piece in pieces for one in reader.feed(piece)]
    except ProtocolError:
        return
    assert all(200 <= one.code < 600 for one in replies)
