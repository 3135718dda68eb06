import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from mailer import errors
from mailer.mail import lines, source, tokens


def wrapped(text: str, given: tokens.Tokens | None = None) -> str:
    problems: list[errors.Problem] = []
    result = lines.wrapped(text, given or tokens.Tokens(prefix="jx"), problems)
    assert not problems
    return result


def test_comments_go_and_those_of_outlook_stay() -> None:
    kept = (
        "<!DOCTYPE html><!--[if mso]><b><![endif]-->"
        "<!--[if !mso]><!-->x<!--<![endif]-->"
    )

    assert wrapped("<!-- ask the lawyer -->" + kept) == kept


def test_what_is_not_ascii_becomes_references_outside_jinja() -> None:
    given = tokens.Tokens(prefix="jx")
    word = given.add(
        source.Piece(
            kind=source.Kind.EXPRESSION, text="x | default('ü')", file="", line=1
        )
    )

    result = wrapped(f'<p title="ü">ü {word}</p>', given)

    assert result == '<p title="&#252;">&#252; jx0z</p>'
    assert given.restore(result).endswith("{{ x | default('ü') }}</p>")


def test_an_address_is_never_broken() -> None:
    url = "https://example.org/?" + "&amp;".join(f"key{n}=value" for n in range(40))

    assert f'href="{url}"' in wrapped(f'<td><a class="x" href="{url}">{"a " * 90}</a>')


def test_no_line_begins_with_a_dot() -> None:
    text = "<style>\n.a{color:red}\n.b{color:blue}</style><p>at\n.org is\n .net</p>"

    found = wrapped(text)

    assert "\n." not in found
    assert " ".join(found.split()) == " ".join(text.split())


def test_an_endless_word_is_a_problem() -> None:
    problems: list[errors.Problem] = []

    lines.wrapped("<p>" + "x" * 1000, tokens.Tokens(prefix="jx"), problems)

    assert [p.message[:33] for p in problems] == [
        "a word of more than 900 characters"[:33]
    ]


WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="<>&\xa0"),
    min_size=1,
    max_size=60,
)
TAGS = st.sampled_from(
    [
        '<p class="a b" style="color: red">', "</p>", "<br>", "<b>", "</b>",
        '<td style="font-family: Arial, sans-serif; color: #123456">', "</td>",
        '<img src="https://example.org/a.png" alt="a b">', "<div>", "</div>",
    ]
)  # fmt: skip


@given(st.lists(WORDS | TAGS, max_size=80))
def test_wrapping_changes_nothing_that_is_shown(parts: list[str]) -> None:
    text = " ".join(parts)

    result = wrapped(text)

    assert result.isascii()
    assert max(map(len, result.split("\n"))) <= lines.LONGEST
    assert shown(result) == shown(text)


def shown(text: str) -> str:
    body = LexborHTMLParser(text).body
    assert body is not None
    return re.sub(r"[ \t\r\n\f]+", " ", html.unescape(body.html or "")).strip()


@pytest.mark.parametrize("style", ["a{b:c}", "@media print{#x{a:b}}"])
def test_a_style_keeps_its_meaning_and_is_no_jinja(style: str) -> None:
    result = wrapped(f"<style>{style}</style>")

    assert not re.search(r"\{[{%#]", result)
    assert result.replace("{ ", "{") == f"<style>{style}</style>"
