from pathlib import Path

import pytest

from mailer.mail import links, template
from tests.mail import given

RULES = links.Rules(own_domains=("example.org",), refcode="em_7_2")
CODES = "refcode=em_7_2&refcode2={refcode2}"


@pytest.mark.parametrize(
    ("url", "completed"),
    [
        ("https://example.org", f"https://example.org?{CODES}"),
        ("https://example.org/", f"https://example.org/?{CODES}"),
        ("https://EXAMPLE.org/a", f"https://EXAMPLE.org/a?{CODES}"),
        ("https://www.example.org/a", f"https://www.example.org/a?{CODES}"),
        ("https://example.org:8443/a", f"https://example.org:8443/a?{CODES}"),
        ("https://example.org/a?b=c", f"https://example.org/a?b=c&{CODES}"),
        ("https://example.org/a?", f"https://example.org/a?{CODES}"),
        ("https://example.org/a?b&", f"https://example.org/a?b&{CODES}"),
        ("https://example.org/a?flag", f"https://example.org/a?flag&{CODES}"),
        ("https://example.org/a?x=%3d%7e+", f"https://example.org/a?x=%3d%7e+&{CODES}"),
        ("https://example.org/a?x=1;y=2", f"https://example.org/a?x=1;y=2&{CODES}"),
        ("https://example.org/a#top", f"https://example.org/a?{CODES}#top"),
        ("https://example.org/a?b=c#top", f"https://example.org/a?b=c&{CODES}#top"),
        ("https://example.org/#/a?b", f"https://example.org/?{CODES}#/a?b"),
        ("https://example.org/a?amount={v0}", f"https://example.org/a?amount={{v0}}&{CODES}"),
        ("https://example.org/{v0}", f"https://example.org/{{v0}}?{CODES}"),
        (
            "https://secure.actblue.com/donate/x?amount=25",
            f"https://secure.actblue.com/donate/x?amount=25&{CODES}",
        ),
        ("https://actblue.com/x", f"https://actblue.com/x?{CODES}"),
        # The author's own wins, each key by itself.
        (
            "https://example.org/a?refcode=mine",
            "https://example.org/a?refcode=mine&refcode2={refcode2}",
        ),
        (
            "https://example.org/a?refcode2=mine",
            "https://example.org/a?refcode2=mine&refcode=em_7_2",
        ),
        (
            "https://example.org/a?xrefcode=1",
            f"https://example.org/a?xrefcode=1&{CODES}",
        ),
        # Not ours, or signed: not a byte is changed.
        ("https://example.com/a", "https://example.com/a"),
        ("https://notexample.org/a", "https://notexample.org/a"),
        ("https://example.org.test/a", "https://example.org.test/a"),
        ("https://notactblue.com/a", "https://notactblue.com/a"),
        ("https://example.org/a?sig=1", "https://example.org/a?sig=1"),
        ("https://example.org/a?b=1&signature=x", "https://example.org/a?b=1&signature=x"),
        ("https://example.org/?X-Amz-Signature=x", "https://example.org/?X-Amz-Signature=x"),
        ("https://example.org/?hmac=x#a", "https://example.org/?hmac=x#a"),
    ],
)  # fmt: skip
def test_refcodes_are_appended_and_nothing_else_changes(
    url: str, completed: str
) -> None:
    assert links.with_refcode(url, RULES) == completed
    assert links.with_refcode(completed, RULES) == completed


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/a?b=c&d=%20#e",
        "HTTPS://example.org/",
        "https://xn--bcher-kva.example/",
        "https://example.org:8443/a",
        "https://example.org/a;b=c/(d)/~e/@f",
        "https://example.org/?a[]=1",
    ],
)
def test_an_address_that_leads_somewhere_safe_is_right(url: str) -> None:
    assert links.fault(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "/give",
        "//example.org/",
        "http://example.org/",
        "ftp://example.org/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:example.org",
        "https:///a",
        "https://",
        "https://user@example.org/",
        "https://good.example:pw@evil.example/",
        "https://example.org\\@evil.example/",
        "https://example.org/a b",
        "https://example.org/a\tb",
        "https://example.org/a\r\nSet-Cookie:x",
        "https://example.org/\x00",
        "https://bücher.example/",
        "https://example.org/ü",
        "https://example.org/{x}",
        "https://example.org/<b>",
        'https://example.org/"x',
        "https://example.org/100%",
        "https://example.org/%zz",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://-example.org/",
        "https://exa_mple.org/",
        "https://example..org/",
        "https://example.org:port/",
    ],
)
def test_an_address_that_could_be_forged_or_breaks_is_refused(url: str) -> None:
    assert links.fault(url)


def test_only_what_leads_out_is_tracked(tmp_path: Path) -> None:
    letter = template.compile(
        given.folder(
            tmp_path,
            given.mjml(
                "<mj-text>"
                '<a href="mailto:help@example.org">a</a> <a href="tel:+1555">b</a> '
                '<a href="#top">c</a> <a href="{{ unsubscribe_url }}">d</a> '
                '<a href="{{ website }}">e</a> <a href="https://example.com/">f</a>'
                "</mj-text>"
            ),
        ),
        layouts=tmp_path / "layouts",
    )

    assert letter.links == (template.Link(index=0, url="https://example.com/"),)
    for kept in ("mailto:help@example.org", "tel:+1555", "#top", "{{ website }}"):
        assert f'href="{kept}"' in letter.html


def test_a_text_part_of_the_authors_shares_the_links(tmp_path: Path) -> None:
    letter = template.compile(
        given.folder(
            tmp_path,
            given.mjml('<mj-button href="https://example.org/give">Give</mj-button>'),
            files={
                "letter/body.txt": "Give: https://example.org/give.\n"
                "{% for a in ask_amounts %}\n"
                "{{ a | money }}: https://example.org/give?amount={{ a }}"
                "{% endfor %}\n"
            },
        ),
        layouts=tmp_path / "layouts",
        own_domains=("example.org",),
        refcode="em_7_2",
    )

    assert letter.text.startswith("Give: {{ link_0 }}.\n")
    assert letter.links[0].url == f"https://example.org/give?{CODES}"
    assert letter.links[1] == template.Link(
        index=1,
        url=f"https://example.org/give?amount={{v0}}&{CODES}",
        values=("ask_amounts[0]",),
    )
