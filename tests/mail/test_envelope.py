import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.core.bounce import Answered
from mailer.mail import envelope
from mailer.mail.envelope import Wish

DATA = b"Subject: Hi\r\n\r\nHi\r\n"
DSN = {"dsn": ""}


def said(wish: Wish, offered: dict[str, str], to: str = "ada@example.com") -> list[str]:
    found = envelope.commands("team@example.org", to, DATA, offered=offered, wish=wish)
    assert not isinstance(found, Answered)
    return [command.decode() for _stage, command in found][:2]


def test_only_failures_are_asked_for_and_they_bring_the_id_back() -> None:
    assert said(Wish(id="b1.2.f00@example.org"), DSN, "ada+news=x@example.com") == [
        "MAIL FROM:<team@example.org> RET=HDRS ENVID=b1.2.f00@example.org\r\n",
        "RCPT TO:<ada+news=x@example.com> NOTIFY=FAILURE"
        " ORCPT=rfc822;ada+2Bnews+3Dx@example.com\r\n",
    ]


@pytest.mark.parametrize(
    ("wish", "offered"),
    [
        (Wish(id="b1.2@example.org", seconds=60), {}),
        (Wish(), {"deliverby": ""}),
        (Wish(seconds=59.9), {"deliverby": "60"}),  # it cannot promise that
        (Wish(seconds=0.9), {"deliverby": ""}),  # RFC 2852 §4: R needs at least 1
    ],
)
def test_what_is_not_offered_is_not_asked_for(
    wish: Wish, offered: dict[str, str]
) -> None:
    assert said(wish, offered) == [
        "MAIL FROM:<team@example.org>\r\n",
        "RCPT TO:<ada@example.com>\r\n",
    ]


@pytest.mark.parametrize(
    ("seconds", "least", "asked"),
    [(86400.5, "", 86400), (60, "60", 60), (1e12, "0", 999_999_999)],
)
def test_a_relay_is_asked_to_return_what_would_come_too_late(
    seconds: float, least: str, asked: int
) -> None:
    mail, _rcpt = said(Wish(seconds=seconds), {"deliverby": least})
    assert mail == f"MAIL FROM:<team@example.org> BY={asked};R\r\n"


def test_an_id_that_is_too_long_is_left_out() -> None:
    mail, _rcpt = said(Wish(id="x" * 101), DSN)
    assert mail == "MAIL FROM:<team@example.org> RET=HDRS\r\n"


def test_an_address_that_is_not_ascii_is_not_repeated() -> None:
    _mail, rcpt = said(Wish(), {**DSN, "smtputf8": ""}, "zoë@example.com")
    assert rcpt == "RCPT TO:<zoë@example.com> NOTIFY=FAILURE\r\n"


@given(st.text(min_size=1, max_size=100))
def test_any_id_is_one_word_that_reads_back(text: str) -> None:
    mail, _rcpt = said(Wish(id=text), DSN)
    match = re.fullmatch(
        r"MAIL FROM:<team@example\.org> RET=HDRS ENVID=([!-~]+)\r\n", mail
    )
    assert match
    raw = re.sub(rb"\+([0-9A-F]{2})", _byte, match[1].encode())
    assert raw.decode() == text


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())
