"""Templates that somebody with bad intentions, or bad luck, could write."""

import time
from decimal import Decimal
from pathlib import Path

import pytest

from mailer import errors
from mailer.mail import (
    compiler,
    confine,
    links,
    sample,
    sandbox,
    source,
    template,
)
from tests.mail import given

# What Jinja's own tests, CVEs and articles use to get out (facts: security 4.1).
ESCAPES = [
    "''.__class__.__mro__[1].__subclasses__()",
    "first_name.__class__",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "joiner.__init__.__globals__",
    "lipsum.__globals__['os'].environ",
    "namespace.__init__.__globals__",
    "'{0.__class__}'.format(1)",
    "('{0.__class__}' | attr('format'))(1)",
    "'{0.__class__.__init__.__globals__}'.format_map({'0': 1})",
    "[].append(1)",
    "first_name['__class__']",
    "ask_amounts['__len__']",
    "first_name | attr('__class__')",
    "[1] | map(attribute='__class__') | list",
    "first_name | safe",
    "first_name | xmlattr",
    "('%s' | format(first_name))",
    "config.items()",
    "get_flashed_messages.__globals__",
    "url_for.__globals__",
    "request.application.__globals__",
    "dict(a=1)",
    "range(10)",
    "_private",
    "(x for x in ().__class__)",
    "ask_amounts.sort(key=first_name)",
    "loop.__class__",
    "deadline.strftime('%Y')",
    "email.encode('utf-8')",
]

BOMBS = {
    "power": "{{ 9**(9**9) }}",
    "repeat": "{{ 'a' * 10000000000 }}",
    "repeat list": "{{ [1] * 10000000000 }}",
    "format": "{{ '%1000000000d' % 1 }}",
    "center": "{{ 'a' | center(1000000000) }}",
    "range": "{% for a in range(99999999) %}{{ a }}{% endfor %}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "digits": "{{ " + "9" * 5000 + " }}",
    "macro": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "round": "{{ 1 | round(100000000) }}",
    "date": "{{ deadline | date('%1000000000Y') }}",
    "replace": "{{ 'aaaaaaaaaa'" + " | replace('a', 'aaaaaaaaaa')" * 12 + " }}",
    "products": "{{ 999999999 " + "* 999999999 " * 500 + "}}",
    "recursive": "{% for a in ask_amounts recursive %}{{ loop(a) }}{% endfor %}",
    "loops": "".join(f"{{% for a{n} in ask_amounts %}}\n" for n in range(14))
    + "x"
    + "{% endfor %}" * 14,
    "doubling": "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a ~ a %}\n" * 40 + "{{ a }}",
    "linked loops": "".join(f"{{% for a{n} in ask_amounts %}}" for n in range(9))
    + '<a href="https://example.org/">x</a>'
    + "{% endfor %}" * 9,
}


@pytest.mark.parametrize("payload", ESCAPES)
def test_an_escape_is_refused_before_it_runs(payload: str, tmp_path: Path) -> None:
    folder = given.folder(
        tmp_path, given.mjml(f"<mj-text>{{{{ {payload} }}}}</mj-text>")
    )

    job = compiler.Build(
        folder=source.Folder(own=folder, layouts=tmp_path / "layouts"),
        rules=links.Rules(),
    )
    compiler.build(job)  # refused unrendered: no child is needed

    assert job.compiled is None
    assert {p.file for p in job.problems} == {"letter/body.mjml"}


@pytest.mark.parametrize("payload", ESCAPES)
def test_an_escape_raises_in_the_environment_too(payload: str) -> None:
    context = {**sample.SHARED, **sample.DONOR}

    with pytest.raises(Exception):  # noqa: B017, PT011 - each in its own way
        sandbox.TEXT.from_string("{{ " + payload + " }}").render(context)


@pytest.mark.parametrize("name", sorted(BOMBS.keys() - {"loops", "doubling"}))
def test_a_bomb_goes_off_in_the_child_or_not_at_all(name: str, tmp_path: Path) -> None:
    folder = given.folder(tmp_path, given.mjml(f"<mj-text>{BOMBS[name]}</mj-text>"))
    began = time.monotonic()

    with pytest.raises(errors.Invalid):
        template.compile(folder, layouts=tmp_path / "layouts")

    # Refused as it is read or first tried; a busy machine adds its own.
    assert time.monotonic() - began < confine.WALL


@pytest.mark.parametrize(
    ("name", "end"), [("loops", "processor time"), ("doubling", "MemoryError")]
)
def test_the_kernel_ends_what_nobody_foresaw(
    name: str, end: str, tmp_path: Path
) -> None:
    folder = given.folder(tmp_path, given.mjml(f"<mj-text>{BOMBS[name]}</mj-text>"))

    with pytest.raises(errors.Invalid, match=end):
        template.compile(folder, layouts=tmp_path / "layouts")


def test_nothing_of_the_environment_is_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_PLANTED", "planted-secret-4821")
    folder = given.folder(tmp_path, given.mjml("<mj-text>{{ nobody.knows }}</mj-text>"))

    problems = template.check(folder, layouts=tmp_path / "layouts")

    assert problems
    assert "planted-secret-4821" not in "".join(map(str, problems))
    assert "MAILER_PLANTED" not in confine.ENVIRONMENT


@pytest.mark.parametrize(
    "tag", ["mj-hero", "mj-wrapper", "mj-section", "mj-column", "mj-group", "mj-raw"]
)
def test_deep_mjml_is_refused_and_kills_nobody(tag: str, tmp_path: Path) -> None:
    body = "<mjml><mj-body>" + f"<{tag}>" * 10_000 + f"</{tag}>" * 10_000
    folder = given.folder(tmp_path, body + "</mj-body></mjml>")

    problems = template.check(folder, layouts=tmp_path / "layouts")

    assert any("deep" in p.message for p in problems)


def test_deep_html_is_refused_and_kills_nobody(tmp_path: Path) -> None:
    body = "<html><body>" + "<div>" * 10_000 + "</div>" * 10_000 + "</body></html>"
    folder = given.folder(tmp_path, body, name="body.html")

    problems = template.check(folder, layouts=tmp_path / "layouts")

    assert any("deep" in p.message for p in problems)


def test_a_document_of_megabytes_is_refused(tmp_path: Path) -> None:
    folder = given.folder(
        tmp_path, given.mjml("<mj-text>" + "a" * 600_000 + "</mj-text>")
    )

    with pytest.raises(errors.Invalid, match="more than 512 KB"):
        template.compile(folder, layouts=tmp_path / "layouts")


def test_includes_that_include_each_other_are_refused(tmp_path: Path) -> None:
    folder = given.folder(
        tmp_path,
        given.mjml('{% include "layouts/a.mjml" %}'),
        files={
            "layouts/a.mjml": '\n{% include "layouts/b.mjml" %}',
            "layouts/b.mjml": '{% include "layouts/a.mjml" %}',
        },
    )

    with pytest.raises(
        errors.Invalid, match=r"layouts/b\.mjml:1: goes round in a circle"
    ):
        template.compile(folder, layouts=tmp_path / "layouts")


def test_includes_that_double_are_refused(tmp_path: Path) -> None:
    files = {
        f"layouts/{n}.mjml": f'{{% include "layouts/{n + 1}.mjml" %}}\n' * 4
        for n in range(18)
    }
    files["layouts/18.mjml"] = "<mj-text>" + "laugh " * 20 + "</mj-text>"
    folder = given.folder(
        tmp_path, given.mjml('{% include "layouts/0.mjml" %}'), files=files
    )

    with pytest.raises(errors.Invalid, match="more than 512 KB"):
        template.compile(folder, layouts=tmp_path / "layouts")


@pytest.mark.parametrize(
    "name", ["../secret.txt", "layouts/../../secret.txt", "/etc/passwd", "link.mjml"]
)
def test_no_file_outside_the_folders_is_read(name: str, tmp_path: Path) -> None:
    folder = given.folder(tmp_path, given.mjml(f'{{% include "{name}" %}}'))
    (tmp_path / "secret.txt").write_text("<mj-text>secret</mj-text>")
    (folder / "link.mjml").symlink_to(tmp_path / "secret.txt")

    with pytest.raises(errors.Invalid, match="leads out"):
        template.compile(folder, layouts=tmp_path / "layouts")


def test_a_stylesheet_far_away_is_not_fetched(tmp_path: Path) -> None:
    # Nobody listens on port 1: were it fetched, inlining would fail.
    folder = given.folder(
        tmp_path,
        '<html><head><link rel="stylesheet" href="http://127.0.0.1:1/a.css"></head>'
        "<body><p>Hello</p></body></html>",
        name="body.html",
    )

    assert "Hello" in template.compile(folder, layouts=tmp_path / "layouts").text


def test_braces_written_as_references_are_text_to_jinja(tmp_path: Path) -> None:
    folder = given.folder(
        tmp_path,
        given.mjml(
            "<mj-text>&#123;&#123; 7 * 7 }} &#123;% if %} &#123;# x #}</mj-text>",
        ),
    )

    letter = template.Renderer(
        template.compile(folder, layouts=tmp_path / "layouts")
    ).render({})

    assert letter.text == "{{ 7 * 7 }} {% if %} {# x #}\n"


def test_a_value_that_looks_like_jinja_is_only_shown(tmp_path: Path) -> None:
    folder = given.folder(tmp_path, given.mjml("<mj-text>{{ first_name }}</mj-text>"))
    letter = template.compile(folder, layouts=tmp_path / "layouts")

    rendered = template.Renderer(letter).render({"first_name": "{{ 7 * 7 }}"})

    assert rendered.text == "{{ 7 * 7 }}\n"
    assert "{{ 7 * 7 }}" in rendered.html


@pytest.mark.parametrize(
    ("value", "href"),
    [
        ("javascript:alert(1)", "#"),
        ("JaVaScRiPt:alert(1)", "#"),
        ("data:text/html,x", "#"),
        ("//evil.example", "#"),
        ("https://example.org@evil.example/", "#"),
        ('https://example.org/"onclick="x', "#"),
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("mailto:help@example.org", "mailto:help@example.org"),
    ],
)
def test_a_persons_address_is_safe_or_leads_nowhere(value: str, href: str) -> None:
    page = sandbox.HTML.from_string('<a href="{{ blog | safe_url }}">')

    assert page.render(blog=value) == f'<a href="{href}">'


def test_multiplying_money_still_works(tmp_path: Path) -> None:
    folder = given.folder(
        tmp_path, given.mjml("<mj-text>{{ (latest_gift * 2) | money }}</mj-text>")
    )
    letter = template.compile(folder, layouts=tmp_path / "layouts")

    rendered = template.Renderer(letter).render({"latest_gift": Decimal("12.25")})

    assert rendered.text == "$24.50\n"
