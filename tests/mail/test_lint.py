from pathlib import Path

import pytest

from mailer import errors
from mailer.mail import template
from tests.mail import given

LAW = (
    "<mj-text>{{ disclaimer }} {{ postal_address }} "
    '<a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>'
)


def said(root: Path, body: str, **options: object) -> list[str]:
    folder = given.folder(root, body, **options)  # type: ignore[arg-type]
    return [
        f"{p.severity}: {p}" for p in template.check(folder, layouts=root / "layouts")
    ]


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        (
            "<mj-text>Hi</mj-text>\n<mj-text>{{ frist_name }}</mj-text>",
            "error: letter/body.mjml:2: frist_name is unknown; did you mean "
            "first_name?; attributes want default()",
        ),
        (
            "<mj-text>\n\n{{ first_name }}</mj-text>",
            "warning: letter/body.mjml:3: not everybody has first_name: write "
            "{{ first_name | default('…') }}, or who lacks it gets nothing",
        ),
        (
            '\n<mj-image src="https://example.org/a.png" />',
            "error: letter/body.mjml:2: an image without alt: say what it shows, "
            'or alt="" if nothing',
        ),
        (
            '<mj-image alt="" width="{{ gift_count }}px" src="https://e.test/" />',
            "error: letter/body.mjml:1: width of <mj-image> is read by MJML once for "
            "all people and must be written out",
        ),
        (
            '<mj-text colour="red">x</mj-text>',
            "error: letter/body.mjml:1: <mj-text> has no colour: MJML drops it; "
            "did you mean color?",
        ),
        (
            "\n<mj-buton>x</mj-buton>",
            "error: letter/body.mjml:2: MJML has no <mj-buton>; did you mean "
            "mj-button?",
        ),
        (
            "<mj-text><mj-button>x</mj-button></mj-text>",
            "error: letter/body.mjml:1: <mj-button> in <mj-text>: MJML drops it; "
            "it belongs in <mj-column> or <mj-hero>",
        ),
        (
            "\n  Hello",
            "error: letter/body.mjml:2: text in <mj-column> ends up outside its "
            "table: put it in <mj-text>",
        ),
        (
            "<mj-text>\n<p>Hi</mj-text>",
            "error: letter/body.mjml:2: <p> is not closed",
        ),
        (
            '<mj-include path="a.mjml" />',
            "error: letter/body.mjml:1: MJML has no <mj-include>: write "
            '{% include "layouts/…" %}',
        ),
        (
            '<mj-text {% if recurring %}color="red"{% endif %}>x</mj-text>',
            "error: letter/body.mjml:1: Jinja can stand in an attribute's value, "
            "not between attributes",
        ),
        (
            '<mj-text>\n<a href="http://example.org/">x</a></mj-text>',
            "error: letter/body.mjml:2: http://example.org/: write https: a plain "
            "http page can be changed on its way",
        ),
        (
            '<mj-button href="example.org/give">x</mj-button>',
            "error: letter/body.mjml:1: example.org/give: write the whole address: "
            "https://…",
        ),
        (
            '<mj-button href="{{ blog }}">x</mj-button>',
            "error: letter/body.mjml:1: a person's value as an address: write "
            "{{ blog | safe_url }}",
        ),
        (
            '<mj-button href="https://{{ city }}.example.org/">x</mj-button>',
            "error: letter/body.mjml:1: https://{{ city }}.example.org/: a value may "
            "stand in a link's path or query, not in its host",
        ),
        (
            '<mj-button href="https://example.org/{% if recurring %}a{% endif %}">x'
            "</mj-button>",
            "error: letter/body.mjml:1: https://example.org/{% if recurring %}a"
            "{% endif %}: a link can't hold a condition: write a link for each case",
        ),
        (
            "{% set a = ask_amounts[0] %}\n"
            '<mj-button href="https://example.org/?a={{ a }}">x</mj-button>',
            "error: letter/body.mjml:2: a is set here: a link wants the value itself",
        ),
        (
            "<mj-text>{{ email | shout }}</mj-text>",
            "error: letter/body.mjml:1: there is no filter shout: there are",
        ),
        (
            "<mj-text>\n{% if recurring %}x</mj-text>",
            "error: letter/body.mjml:2: Unexpected end of template",
        ),
        (
            "<mj-text>{% for a in ask_amounts %}{{ a.b }}{% endfor %}</mj-text>",
            "error: letter/body.mjml:1: .b: values have no attributes",
        ),
        (
            "<mj-text>{{ email | money }}</mj-text>",
            "error: letter: can't be rendered: money wants a number, not str, for the "
            "sample donor",
        ),
    ],
)
def test_a_fault_is_found_and_its_place_is_named(
    inside: str, problem: str, tmp_path: Path
) -> None:
    found = said(tmp_path, given.mjml(inside + LAW))

    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_what_the_law_wants_is_missed(tmp_path: Path) -> None:
    body = given.mjml("<mj-text>{{ ask_amounts | first | money }}</mj-text>")

    assert said(tmp_path, body) == [
        "error: letter: HTML part: no link to unsubscribe: write {{ unsubscribe_url }}",
        "error: letter: HTML part: no disclaimer (“Paid for by …”): "
        "write {{ disclaimer }}",
        "error: letter: HTML part: no postal address: write {{ postal_address }}",
        "error: letter: HTML part: it asks for money and has no tax line: "
        "write {{ tax_line }}",
    ]


def test_an_authors_text_part_must_let_people_leave_too(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        given.mjml(LAW),
        files={"letter/body.txt": "Hello.\n{{ disclaimer }}\n{{ postal_address }}\n"},
    )

    assert found == [
        "error: letter: text part: no link to unsubscribe: write {{ unsubscribe_url }}"
    ]


def test_a_style_that_is_not_ascii_is_an_error_with_its_line(tmp_path: Path) -> None:
    head = "\n<mj-style>\n.größe { color: red }</mj-style>"

    assert said(tmp_path, given.mjml(LAW, head=head)) == [
        "error: letter/body.mjml:3: a style must be ASCII: 'ö' can't be written there"
    ]


def test_a_message_that_gmail_would_clip_is_an_error(tmp_path: Path) -> None:
    near = given.mjml(f"<mj-text>{'word ' * 17_800}</mj-text>" + LAW)
    far = given.mjml(f"<mj-text>{'word ' * 21_000}</mj-text>" + LAW)

    assert [line[:20] for line in said(tmp_path, near)] == ["warning: letter: 91 "]
    assert [line[:20] for line in said(tmp_path, far)] == ["error: letter: 107 KB"[:20]]


def test_meta_is_strict(tmp_path: Path) -> None:
    meta = 'subject = "Hi"\nsubjet = "x"\npreheader = 3\n'

    assert said(tmp_path, given.mjml(LAW), meta=meta) == [
        "error: letter/meta.toml:2: subjet: no such key: there are subject, preheader, "
        "describes, from",
        'error: letter/meta.toml:3: preheader: write text: preheader = "…"',
    ]


def test_a_long_subject_and_no_preheader_are_warnings(tmp_path: Path) -> None:
    meta = f'subject = "{"long " * 15}"\n'

    found = said(tmp_path, given.mjml(LAW), meta=meta)

    assert [line.split(":")[0] for line in found] == ["warning", "warning"]


def test_a_template_that_is_right_has_no_problems(tmp_path: Path) -> None:
    folder = given.folder(tmp_path, given.mjml(LAW))

    assert template.check(folder, layouts=tmp_path / "layouts") == []


def test_problems_come_with_errors_first(tmp_path: Path) -> None:
    folder = given.folder(
        tmp_path,
        given.mjml("<mj-text>{{ city }}</mj-text>\n<mj-text>{{ x }}</mj-text>" + LAW),
    )

    problems = template.check(folder, layouts=tmp_path / "layouts")

    assert [p.severity for p in problems] == [
        errors.Severity.ERROR,
        errors.Severity.WARNING,
    ]
