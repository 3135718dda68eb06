"""What is known of a template's lines holds for whatever is merged into it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.mail import compiled, header, mime, renderer, sandbox, span
from mailer.mail.header import LINE

TEXTS = st.sampled_from([
    "", ".", "\n", "\n.", ".\n", "a", " ", "<p>Dear ", "</p>\n", "&#233;",
    "x" * 90, "y" * 450 + "\n", "z" * 997, "\n\n", "\nlast",
])  # fmt: skip
VALUES = [
    "", ".", ".com", "Jo", "O\u2019Brien", "a & b", "\n.", "a\nb", "\r", "\0", "n" * 79,
    "n" * 399, "n" * 1200, "é" * 60, "\u2028", "https://t.example.org/c/" + "A" * 40,
]  # fmt: skip
# A lone CR before the template's end of line is one end of line there, or two here.
PLAIN = [value for value in VALUES if value != "\r"]
SHOWN = st.sampled_from([
    "{{ a }}", "{{ b }}", "{{ 'const' }}", "{{ 'é' }}", "{{ n }}",
])  # fmt: skip


def _blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, max_size=3).map("".join)
    return st.one_of(
        body,
        body.map(lambda one: "{% if yes %}" + one + "{% endif %}"),
        st.tuples(body, body).map(
            lambda two: "{% if no %}" + two[0] + "{% else %}" + two[1] + "{% endif %}"
        ),
        body.map(lambda one: "{% for i in many %}" + one + "{% endfor %}"),
        body.map(lambda one: "{% for i in nobody %}" + one + "{% else %}.{% endfor %}"),
    )


TEMPLATES = st.lists(
    st.recursive(TEXTS | SHOWN, _blocks, max_leaves=8), max_size=6
).map("".join)


def filled(html: str, values: Sequence[str]) -> compiled.Rendered:
    letter = compiled.Compiled(subject="s", preheader="", html=html, text="t")
    context = {
        "a": values[0], "b": values[1], "n": 12, "yes": True, "no": False,
        "many": [1, 2, 3], "nobody": [],
    }  # fmt: skip
    return renderer.Renderer(letter, is_for_mail=True).render(context)


@settings(deadline=None, max_examples=200)
@given(TEMPLATES, st.lists(st.sampled_from(VALUES), min_size=2, max_size=2))
@example("\n{{ a }}.", ["", ""])
@example("{% for i in many %}{{ a }}{% endfor %}", ["n" * 399, ""])
@example("{% if no %}\n{% endif %}{{ a }}{{ b }}" + "x" * 300, ["n" * 399] * 2)
def test_what_is_fit_is_fit_for_the_wire(html: str, values: list[str]) -> None:
    found = filled(html, values)
    if not found.is_fit:
        return

    data = found.html.encode("ascii", "xmlcharrefreplace")
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= LINE
    assert not any(line.startswith(b".") for line in lines)
    assert not set(b"\0\r\n") & set(data.replace(b"\r\n", b""))


@settings(deadline=None, max_examples=100)
@given(TEMPLATES, st.lists(st.sampled_from(PLAIN), min_size=2, max_size=2))
def test_the_same_is_read_whether_it_was_looked_at_or_not(
    html: str, values: list[str]
) -> None:
    found = filled(html, values)
    letter = compiled.Compiled(subject="s", preheader="", html=html, text="t")
    plain = renderer.Renderer(letter).render({
        "a": values[0], "b": values[1], "n": 12, "yes": True, "no": False,
        "many": [1, 2, 3], "nobody": [],
    })  # fmt: skip

    looked_at, _ = mime._html_part(plain.html)
    if found.is_fit:
        assert looked_at == (
            mime._7BIT,
            found.html.encode("ascii", "xmlcharrefreplace"),
        )
    else:
        assert mime._html_part(found.html)[0] == looked_at


@pytest.mark.parametrize(
    ("html", "limit"),
    [
        ("<p>Dear {{ a }},</p>\n", 400),
        ("{{ a }} {{ b }}\n", 400),
        ("{{ a }}{{ b }}{{ a }}\n", 300),
        ("x" * 700 + "{{ a }}", 200),
        ("x" * 999, -1),
        ("{{ a }}.", -1),
        ("a{{ a }}.", 400),
        ("{% for i in a %}<b>{{ i }}</b>\n{% endfor %}", 400),
        ("{% for i in a %}<b>{{ i }}</b>{% endfor %}", -1),
        ("{% if a %}\n{% endif %}{{ a }}{{ a }}{{ a }}", 300),
        ("{{ '.'.upper() }}", 400),  # refused elsewhere: here it is a value
        ("{% set b = a %}{{ b }}", 400),
        ("{% filter upper %}a{% endfilter %}", -1),  # not one of ours: always looked at
    ],
)
def test_how_long_a_value_may_be(html: str, limit: int) -> None:
    assert span.limit(sandbox.WIRE.parse(html), sandbox.WIRE) == limit


def test_a_letter_that_a_template_spells_out_is_written_as_a_reference() -> None:
    found = filled("<p>{{ 'é' }}</p>\n", ["", ""])
    letterhead = mime.Letterhead(sender=header.Mailbox(address="team@example.org"))
    message = mime.Message(
        id="<b1.2.abc@example.org>",
        date=datetime(2026, 10, 20, tzinfo=UTC),
        to=header.Mailbox(address="ada@example.org"),
        subject="s",
        html=found.html,
        text="t",
        is_fit=found.is_fit,
    )

    assert found.is_fit
    assert b"<p>&#233;</p>\r\n" in mime.build(letterhead, message)
