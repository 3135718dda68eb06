"""Law 6: a token opens for its own purpose only, and has one spelling."""

import base64
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors
from mailer.core import tracking
from mailer.core.tracking import Label, Purpose, Ring, Token, Visit

RING = Ring(keys={1: bytes(range(64)), 2: bytes(range(1, 65))}, current=1)
LATER = Ring(keys=RING.keys, current=2)

TOKENS = st.builds(
    Token,
    blast=st.integers(0, 2**32 - 1),
    subscriber=st.integers(0, 2**40 - 1),
    link=st.integers(0, 2**16 - 1),
    values=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=4).map(
        tuple
    ),
)
PURPOSES = st.sampled_from(Purpose)
ONE = Token(blast=7, subscriber=123456789012, link=3)


@settings(deadline=None)
@given(TOKENS, PURPOSES)
def test_a_token_says_what_was_sealed(token: Token, purpose: Purpose) -> None:
    text = tracking.seal(RING, purpose, token)

    assert tracking.unseal(LATER, purpose, text) == token
    assert tracking.seal(RING, purpose, token) == text


@settings(deadline=None)
@given(
    st.sampled_from([RING, LATER, Ring(keys={9: bytes(range(32))}, current=9)]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**40 - 1),
    st.lists(
        st.tuples(
            PURPOSES.filter(lambda one: one not in {Purpose.REFCODE, Purpose.BOUNCE}),
            st.integers(0, 2**16 - 1),
        ),
        max_size=12,
    ),
)
def test_tokens_that_are_sealed_together_are_those_sealed_alone(
    ring: Ring, blast: int, subscriber: int, places: list[tuple[Purpose, int]]
) -> None:
    sheet = tracking.Sealer(ring, blast=blast).sheet(places)

    assert sheet.seal(subscriber) == [
        tracking.seal(ring, purpose, Token(blast=blast, subscriber=subscriber, link=at))
        for purpose, at in places
    ]


def test_a_sheet_of_tokens_takes_no_number_that_does_not_fit() -> None:
    sheet = tracking.Sealer(RING, blast=7).sheet([(Purpose.OPEN, 0)])

    for number in (-1, 2**40):
        with pytest.raises(errors.Invalid, match="not in 40 bits"):
            sheet.seal(number)


@settings(deadline=None)
@given(TOKENS, PURPOSES, PURPOSES)
def test_a_token_opens_for_no_other_purpose(
    token: Token, purpose: Purpose, other: Purpose
) -> None:
    text = tracking.seal(RING, purpose, token)
    if purpose is other:
        return

    with pytest.raises(errors.Invalid):
        tracking.unseal(RING, other, text)


@pytest.mark.parametrize("purpose", Purpose)
def test_no_flipped_bit_is_accepted(purpose: Purpose) -> None:
    text = tracking.seal(RING, purpose, ONE)
    raw = tracking._read(purpose, text)

    for position, bit in itertools.product(range(len(raw)), range(8)):
        flipped = bytearray(raw)
        flipped[position] ^= 1 << bit
        with pytest.raises(errors.Invalid):
            tracking.unseal(RING, purpose, tracking._write(purpose, bytes(flipped)))


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_has_one_spelling(purpose: Purpose) -> None:
    text = tracking.seal(RING, purpose, ONE)
    alphabet = (
        "abcdefghijklmnopqrstuvwxyz234567"
        if purpose in {Purpose.REFCODE, Purpose.BOUNCE}
        else "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )

    opened = []
    for last in alphabet:
        try:
            tracking.unseal(RING, purpose, text[:-1] + last)
        except errors.Invalid:
            continue
        opened.append(text[:-1] + last)

    assert opened == [text]


def test_junk_around_a_token_is_refused() -> None:
    text = tracking.seal(RING, Purpose.CLICK, ONE)
    spoilt = [
        *("!!" + text, text + "=", text + "\n", text[:-1], text + "A", "é" + text, ""),
        *(text[:5] + "+" + text[6:], text + "A" * 10_000, text + text),
    ]

    for wrong in spoilt:
        with pytest.raises(errors.Invalid):
            tracking.unseal(RING, Purpose.CLICK, wrong)


@settings(deadline=None)
@given(st.text(max_size=80), PURPOSES)
def test_any_text_is_a_token_or_invalid(text: str, purpose: Purpose) -> None:
    with pytest.raises(errors.Invalid):
        tracking.unseal(RING, purpose, text)


@settings(deadline=None)
@given(st.binary(min_size=27, max_size=60))
def test_random_bytes_never_open(raw: bytes) -> None:
    text = base64.urlsafe_b64encode(b"\1" + raw).decode().rstrip("=")

    with pytest.raises(errors.Invalid):
        tracking.unseal(RING, Purpose.CLICK, text)


def test_a_token_is_short_and_fit_for_its_place() -> None:
    click = tracking.seal(RING, Purpose.CLICK, ONE)
    refcode = tracking.refcode2(RING, ONE)

    assert len(click) == 38
    assert refcode.startswith("3_")
    assert refcode.removeprefix("3_").isalnum()
    assert refcode.isascii()
    assert tracking.unseal(RING, Purpose.REFCODE, refcode.removeprefix("3_")) == ONE


def test_an_unknown_key_is_refused() -> None:
    text = tracking.seal(LATER, Purpose.OPEN, ONE)

    with pytest.raises(errors.Invalid, match="unknown key"):
        tracking.unseal(Ring(keys={1: RING.keys[1]}, current=1), Purpose.OPEN, text)


@pytest.mark.parametrize(
    "token",
    [
        Token(blast=2**32, subscriber=1),
        Token(blast=-1, subscriber=1),
        Token(blast=1, subscriber=2**40),
        Token(blast=1, subscriber=-1),
        Token(blast=1, subscriber=1, link=2**16),
        Token(blast=1, subscriber=1, values=("x" * 3000,)),
    ],
)
def test_what_does_not_fit_is_refused(token: Token) -> None:
    with pytest.raises(errors.Invalid):
        tracking.seal(RING, Purpose.CLICK, token)


@pytest.mark.parametrize(
    ("keys", "current"),
    [({}, 1), ({1: b"short"}, 1), ({1: bytes(64)}, 2), ({256: bytes(64)}, 256)],
)
def test_a_ring_with_a_wrong_key_is_refused(
    keys: dict[int, bytes], current: int
) -> None:
    with pytest.raises(errors.Invalid, match="tracking keys"):
        Ring(keys=keys, current=current)


def test_a_ring_does_not_print_its_keys() -> None:
    assert "x00" not in repr(RING)


@pytest.mark.parametrize(
    ("url", "values", "expected"),
    [
        ("https://x.test/%7e?u=http%3A%2F%2Fy%2f&a=..%2F{", (), None),
        (
            "https://x.test/?d={v0}",
            ("a&b c/é",),
            "https://x.test/?d=a%26b%20c%2F%C3%A9",
        ),
        ("https://x.test/{v1}/{v0}", ("a", "b"), "https://x.test/b/a"),
        ("https://x.test/{v3}", ("a",), "https://x.test/"),
        ("https://x.test/{name}?{v}", ("a",), None),
    ],
)
def test_a_destination_keeps_every_other_byte(
    url: str, values: tuple[str, ...], expected: str | None
) -> None:
    token = Token(blast=1, subscriber=2, values=values)

    assert tracking.destination(RING, url, token) == (expected or url)


def test_a_destination_names_the_giver() -> None:
    url = tracking.destination(RING, "https://x.test/d?refcode2={refcode2}#a", ONE)

    assert url == f"https://x.test/d?refcode2={tracking.refcode2(RING, ONE)}#a"


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.org", True),
        ("http://example.org:8080/a?b=c#d", True),
        ("https://xn--bcher-kva.test/%C3%A9?x=[1]&y={v0}", True),
        ("https://secure.actblue.test/donate/x?amount=25&express_lane=true", True),
        ("javascript:alert(1)", False),
        ("//evil.test/", False),
        ("/\\evil.test", False),
        ("https:/\\evil.test", False),
        ("https://good.test@evil.test/", False),
        ("https://example.org/\r\nSet-Cookie: a=b", False),
        ("https://example.org/a b", False),
        ("https://bücher.test/", False),
        ("https:///path", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://example.org:99999/", False),
        ("ftp://example.org/", False),
        ("", False),
    ],
)
def test_only_plain_web_addresses_are_redirected_to(url: str, safe: bool) -> None:
    assert tracking.may_lead_to(url) is safe


CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
GMAIL = (
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 "
    "(via ggpht.com GoogleImageProxy)"
)
PREFETCH = tracking._GMAIL_PREFETCH
OUTLOOK = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; "
    "Microsoft Outlook 16.0.5134; ms-office; MSOffice 16)"
)
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
HEADLESS = CHROME.replace("Chrome/", "HeadlessChrome/")


@pytest.mark.parametrize(
    ("visit", "expected"),
    [
        # people, who must never become machines
        (Visit(agent=CHROME), (Label.HUMAN, ())),
        (Visit(agent=SAFARI), (Label.HUMAN, ())),
        (Visit(agent=OUTLOOK), (Label.HUMAN, ())),
        (Visit(agent=GMAIL), (Label.HUMAN, ("google_proxy",))),
        (Visit(agent=YAHOO), (Label.HUMAN, ("yahoo_proxy",))),
        (Visit(agent=CHROME + " Cubot/7"), (Label.HUMAN, ())),
        (Visit(agent="Mozilla/5.0 (X11; notwget)"), (Label.HUMAN, ())),
        (Visit(agent="Mozilla/5.0 (Linux; U; JavaFX)"), (Label.HUMAN, ())),
        # Apple's Mail Privacy Protection loads everything: nobody knows
        (Visit(agent="Mozilla/5.0"), (Label.UNKNOWN, ("apple_mpp",))),
        # machines
        (Visit(agent=PREFETCH), (Label.MACHINE, ("gmail_prefetch",))),
        (Visit(agent=""), (Label.MACHINE, ("no_agent",))),
        (Visit(agent="  "), (Label.MACHINE, ("no_agent",))),
        (Visit(agent="BarracudaCentral"), (Label.MACHINE, ("scanner_barracuda",))),
        (Visit(agent="curl/8.5.0"), (Label.MACHINE, ("scanner_curl",))),
        (Visit(agent="Wget/1.21"), (Label.MACHINE, ("scanner_wget",))),
        (
            Visit(agent="python-requests/2.32"),
            (Label.MACHINE, ("scanner_python_requests",)),
        ),
        (
            Visit(agent="Go-http-client/1.1"),
            (Label.MACHINE, ("scanner_go_http_client",)),
        ),
        (Visit(agent=HEADLESS), (Label.MACHINE, ("scanner_headlesschrome",))),
        (
            Visit(agent="Mozilla/5.0 Mimecast-TTP"),
            (Label.MACHINE, ("scanner_mimecast",)),
        ),
        (Visit(method="HEAD", agent=CHROME), (Label.MACHINE, ("method",))),
        (
            Visit(agent=CHROME, ahead="prefetch;prerender"),
            (Label.MACHINE, ("prefetch",)),
        ),
        (
            Visit(method="HEAD", ahead="preview"),
            (Label.MACHINE, ("method", "prefetch", "no_agent")),
        ),
    ],
)
def test_a_visit_is_labelled(
    visit: Visit, expected: tuple[Label, tuple[str, ...]]
) -> None:
    assert tracking.label(visit) == expected


# What forgers write so that a redirect of ours leads to them.
EVIL = [
    "//evil.test", "///evil.test", "/\\evil.test", "\\\\evil.test", "https:evil.test",
    "https:/evil.test", "https:\\\\evil.test", "https://good.test@evil.test/",
    "https://good.test:pw@evil.test", "https://good.test\\@evil.test",
    "https://good.test\\.evil.test", "https://evil.test\t/", "https://evil.test\n/",
    "https://evil.test\r\nSet-Cookie: a=b", "https://e vil.test", "javascript:alert(1)",
    "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "data:text/html,x", "vbscript:x",
    "file:///etc/passwd", "ftp://evil.test", "mailto:a@b.test", "about:blank",
    "https://", "https:///path", "http:///evil.test", "https://?u=evil", "https://#x",
    "https://evil.test:0/", "https://evil.test:99999/", "https://evil.test:x/",
    "https://[::1", "https://exämple.test/", "https://good.test/\x00",
    "https://good.test/\x7f", "https://good.test/<script>", "https://good.test/\"",
    "https://good.test/`", "https://good.test/^", "https://good.test/|", "",
    " https://good.test/", "https://good.test/ ",
]  # fmt: skip


@pytest.mark.parametrize("url", EVIL)
def test_no_redirect_leads_to_a_forger(url: str) -> None:
    assert not tracking.may_lead_to(url)
