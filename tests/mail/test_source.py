from pathlib import Path

import pytest

from mailer import errors
from mailer.mail import loops, source
from tests.mail import given


def expanded(root: Path, body: str, **files: str) -> str:
    own = given.folder(
        root, body, files={f"layouts/{k}.mjml": v for k, v in files.items()}
    )
    folder = source.Folder(own=own, layouts=root / "layouts")
    return "".join(p.source for p in folder.expand("body.mjml"))


def test_a_layout_is_filled_with_the_blocks_of_a_template(tmp_path: Path) -> None:
    base = "<{% block a %}one{% endblock %}|{% block b %}two{% endblock a %}>"
    body = (
        '{% extends "layouts/base.mjml" %}\n{# why #}'
        "{% block b %}mine, {{ super() }}{% endblock %}"
    )

    assert expanded(tmp_path, body, base=base) == "<one|mine, two>"


def test_layouts_may_stand_on_layouts(tmp_path: Path) -> None:
    assert (
        expanded(
            tmp_path,
            '{% extends "layouts/b.mjml" %}{% block x %}3{{ super() }}{% endblock %}',
            b='{% extends "layouts/a.mjml" %}{% block x %}2{{ super() }}{% endblock %}',
            a='{% block x %}1{% endblock %}{% include "layouts/c.mjml" %}',
            c="!",
        )
        == "321!"
    )


def test_a_piece_of_an_include_knows_its_own_line(tmp_path: Path) -> None:
    own = given.folder(
        tmp_path,
        '{% include "layouts/a.mjml" %}',
        files={"layouts/a.mjml": "\n\n{{ x }}"},
    )
    folder = source.Folder(own=own, layouts=tmp_path / "layouts")

    piece = folder.expand("body.mjml")[-1]

    assert (piece.file, piece.line, piece.text) == ("layouts/a.mjml", 3, "x")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{% extends "layouts/no.mjml" %}', "layouts/no.mjml: there is no such file"),
        ("{% extends layout %}", 'letter/body.mjml:1: write {% extends "layouts/'),
        ('{% include "a" ignore missing %}', 'letter/body.mjml:1: write {% include "'),
        ("a\n{% block x %}", "letter/body.mjml:2: this block has no endblock"),
        ("{% endblock %}", "letter/body.mjml:1: endblock without its block"),
        ("{% block %}{% endblock %}", "letter/body.mjml:1: write {% block name %}"),
        ("\n{% macro a() %}", "letter/body.mjml:2: {% macro %} is not offered"),
        ("{% import 'a' as b %}", "letter/body.mjml:1: {% import %} is not offered"),
        ("{{ super() }}", "letter/body.mjml:1: no layout has this block"),
        ("\n{{ x", "letter/body.mjml:2: "),
        ("{% raw %}x{% endraw %}", "letter/body.mjml:1: raw is not offered"),
        ("{{ 'a }}", "letter/body.mjml:1: "),
    ],
)
def test_a_source_that_cant_be_joined_says_where(
    body: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(errors.Invalid) as caught:
        expanded(tmp_path, body)

    assert str(caught.value).startswith(problem)


def test_text_that_a_layout_would_drop_is_refused(tmp_path: Path) -> None:
    body = '{% extends "layouts/a.mjml" %}\nHello'

    with pytest.raises(errors.Invalid, match="the layout drops it"):
        expanded(tmp_path, body, a="x")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    own = given.folder(tmp_path, "x")
    (own / "body.mjml").write_bytes(b"Gr\xfc\xdfe")

    with pytest.raises(errors.Invalid, match="byte 2 is not UTF-8"):
        source.Folder(own=own, layouts=tmp_path / "layouts").expand("body.mjml")


def written(text: str) -> str:
    pieces = loops.written_out(source.pieces(text, file="x"))
    return "".join(p.source for p in pieces)


def test_a_loop_without_links_stays_a_loop() -> None:
    loop = "{% for a in ask_amounts %}{{ a }}{% endfor %}"

    assert written(loop) == loop


def test_a_loop_with_links_is_written_out_item_by_item() -> None:
    text = written(
        "{% for a in ask_amounts %}<a href='x{{ a }}'>{{ x | d('a') }}"
        "{{ loop.index }}{{ loop.last }}</a>{% endfor %}"
    )

    assert text.startswith(
        "{% if ask_amounts | length > 0 %}<a href='x{{ ask_amounts[0] }}'>"
        "{{ x | d('a') }}{{ 1 }}{{ (ask_amounts | length == 1) }}</a>{% endif %}"
        "{% if ask_amounts | length > 1 %}<a href='x{{ ask_amounts[1] }}'>"
    )
    assert text.endswith(
        "{% if ask_amounts | length > 8 and more_than_8_items %}{% endif %}"
    )


def test_loops_with_links_may_stand_in_each_other() -> None:
    text = written(
        "{% for a in x %}{% for b in a %}"
        "<a href='{{ a }}{{ b }}'>"
        "{% endfor %}{% endfor %}"
    )

    assert "<a href='{{ x[7] }}{{ (x[7])[0] }}'>" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{% for a in x if a %}<a href=''>{% endfor %}", "is plain"),
        ("{% for a, b in x %}<a href=''>{% endfor %}", "is plain"),
        ("{% for a in x %}<a href=''>{% else %}{% endfor %}", "no else"),
        ("{% for a in x %}<a href=''>{{ loop.revindex }}{% endfor %}", "loop.revindex"),
        ("{% for a in x %}<a href=''>{% set a = 1 %}{% endfor %}", "name already"),
        ("{% for a in x %}<a href=''>", "no endfor"),
    ],
)
def test_a_loop_with_links_that_cant_be_written_out_is_refused(
    text: str, problem: str
) -> None:
    with pytest.raises(errors.Invalid, match=problem):
        written(text)
