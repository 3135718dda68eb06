import html
from decimal import Decimal
from pathlib import Path

import pytest

from mailer import errors
from mailer.mail import template
from tests.mail import given

CONTEXT = given.ORGANIZATION | given.ADDRESSES | {"first_name": "Ada"}


def compiled(root: Path, body: str, **options: object) -> template.Compiled:
    folder = given.folder(root, body)
    return template.compile(folder, layouts=root / "layouts", **options)  # type: ignore[arg-type]


def test_a_simple_template_is_rendered_for_a_person(tmp_path: Path) -> None:
    letter = compiled(
        tmp_path,
        given.mjml(
            "<mj-text>Dear {{ first_name | default('Friend') }} &amp; all</mj-text>"
        ),
        subject="{{ first_name }}, hello",
    )

    rendered = template.Renderer(letter).render(CONTEXT)

    assert rendered.subject == "Ada, hello"
    assert "Dear Ada &amp; all" in " ".join(rendered.html.split())
    assert rendered.text == "Dear Ada & all\n"
    assert letter.names == {"first_name", "pixel_url"}


def test_links_are_numbered_and_keep_their_bytes(tmp_path: Path) -> None:
    letter = compiled(
        tmp_path,
        given.mjml(
            '<mj-button href="https://example.org/give?a=%7e&amp;flag&amp;amount='
            '{{ latest_gift }}#top">Give</mj-button>'
        ),
        own_domains=("example.org",),
        refcode="em_7_2",
        first_link=3,
    )

    assert letter.links == (
        template.Link(
            index=3,
            url="https://example.org/give?a=%7e&flag&amount={v0}"
            "&refcode=em_7_2&refcode2={refcode2}#top",
            values=("latest_gift",),
        ),
    )
    renderer = template.Renderer(letter)
    assert renderer.values({"latest_gift": Decimal("25.00")}) == {3: ("25.00",)}
    rendered = renderer.render(CONTEXT | {"link_3": "https://t.example.org/c/X"})
    assert 'href="https://t.example.org/c/X"' in " ".join(rendered.html.split())
    assert rendered.text == "Give (https://t.example.org/c/X)\n"


def test_every_button_of_a_ladder_is_a_link_of_its_own(tmp_path: Path) -> None:
    letter = compiled(
        tmp_path,
        given.mjml(
            "{% for amount in ask_amounts %}"
            '<mj-button href="https://example.org/?amount={{ amount }}">'
            "Give {{ amount | money }}</mj-button>{% endfor %}"
        ),
    )
    renderer = template.Renderer(letter)
    context = CONTEXT | {"ask_amounts": [Decimal(10), Decimal("12.50")]}

    values = renderer.values(context)
    rendered = renderer.render(
        context | {f"link_{n}": f"https://t.test/{n}" for n in values}
    )

    assert values == {0: ("10",), 1: ("12.50",)}
    assert (
        rendered.text
        == "Give $10 (https://t.test/0)\n\nGive $12.50 (https://t.test/1)\n"
    )


def test_a_person_without_the_value_cannot_be_rendered_and_it_is_named(
    tmp_path: Path,
) -> None:
    letter = compiled(tmp_path, given.mjml("<mj-text>{{ city }}</mj-text>"))

    with pytest.raises(errors.Invalid, match="'city' is undefined"):
        template.Renderer(letter).render(CONTEXT)


def test_merged_values_are_escaped_in_html_and_plain_in_text(tmp_path: Path) -> None:
    letter = compiled(tmp_path, given.mjml("<mj-text>Hi {{ first_name }}</mj-text>"))

    rendered = template.Renderer(letter).render(CONTEXT | {"first_name": "<b>&"})

    assert "Hi &lt;b&gt;&amp;" in " ".join(rendered.html.split())
    assert rendered.text == "Hi <b>&\n"


def test_the_compiled_form_survives_json(tmp_path: Path) -> None:
    letter = compiled(
        tmp_path,
        given.mjml('<mj-text><a href="https://example.org/">x</a></mj-text>'),
    )

    assert template.Compiled.from_document(letter.document()) == letter


def test_the_html_is_ascii_in_short_lines(tmp_path: Path) -> None:
    words = "größer als — je 😀 " * 200
    letter = compiled(tmp_path, given.mjml(f"<mj-text>{words}</mj-text>"))

    assert letter.html.isascii()
    assert max(map(len, letter.html.split("\n"))) < 500
    assert words.split()[-1] in html.unescape(letter.html)
