"""MJML's compiler keeps our words, and what it would lose or die of is refused."""

from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from mailer.mail import compiler, links, mjml_tags, source, template
from tests.mail import given

# A condition at every place where one may stand.
EVERYWHERE = """<mjml lang="en">
<mj-head>
  <mj-title>{{ organization }}{% if recurring %} again{% endif %}</mj-title>
</mj-head>
<mj-body>
  {% if recurring %}
  <mj-section><mj-column><mj-text>S1</mj-text></mj-column></mj-section>
  {% endif %}
  <mj-wrapper>
    {% if recurring %}
    <mj-section>
      {% if recurring %}<mj-column><mj-text>S2</mj-text></mj-column>{% endif %}
      <mj-group>
        {% if recurring %}
        <mj-column>{% if recurring %}<mj-text>S3</mj-text>{% endif %}</mj-column>
        {% endif %}
      </mj-group>
    </mj-section>
    {% endif %}
  </mj-wrapper>
  <mj-hero>{% if recurring %}<mj-text>S4</mj-text>{% endif %}</mj-hero>
  <mj-section><mj-column>
    <mj-text>
      always {% if recurring %}<b>S5</b>{% endif %} {% if gift_count < 3 %}S6{% endif %}
    </mj-text>
    <mj-table>
      {% if recurring %}<tr><td>S7</td></tr>{% endif %}
      <tr>{% if recurring %}<td>S8</td>{% endif %}<td>always</td></tr>
    </mj-table>
    <mj-raw>{% if recurring %}<tr><td>S9</td></tr>{% endif %}</mj-raw>
    <mj-button background-color="{{ colour }}" href="https://example.org/{{ zip }}">
      {{ first_name }}
    </mj-button>
    <mj-image alt="{{ city }}" src="https://example.org/{{ state }}.png" />
  </mj-column></mj-section>
</mj-body></mjml>"""
SHOWN = {f"S{n}" for n in range(1, 10)}


def context(*, recurring: bool) -> dict[str, object]:
    return {
        "organization": "Us", "recurring": recurring,
        "gift_count": 0 if recurring else 9,
        "colour": "#123456", "zip": "27101", "first_name": "Ada", "city": "Winston",
        "state": "NC", "link_0": "https://t.example.org/c/X",
    }  # fmt: skip


@pytest.fixture
def letter(tmp_path: Path) -> template.Renderer:
    folder = given.folder(tmp_path, EVERYWHERE)
    return template.Renderer(template.compile(folder, layouts=tmp_path / "layouts"))


def test_a_condition_stays_at_its_place(letter: template.Renderer) -> None:
    for recurring in (True, False):
        rendered = letter.render(context(recurring=recurring))

        page = LexborHTMLParser(rendered.html)
        assert page.body is not None
        for shown in (
            set(page.body.text(separator=" ").split()),
            set(rendered.text.split()),
        ):
            assert shown & SHOWN == (SHOWN if recurring else set())
            assert "always" in shown
        cells = [td.text().strip() for td in page.css("td")]
        assert ("S7" in cells, "S8" in cells, "S9" in cells) == (recurring,) * 3


def test_values_reach_text_addresses_and_colours(letter: template.Renderer) -> None:
    page = LexborHTMLParser(letter.render(context(recurring=True)).html)

    [title], [button], [*_, image] = page.css("title"), page.css("a"), page.css("img")
    assert button.attributes["href"] == "https://t.example.org/c/X"
    assert button.text().strip() == "Ada"
    assert "background:#123456" in (button.attributes["style"] or "").replace(" ", "")
    assert image.attributes["alt"] == "Winston"
    assert image.attributes["src"] == "https://example.org/NC.png"
    assert title.text() == "Us again"


def test_compiling_twice_gives_the_same(tmp_path: Path) -> None:
    folder = given.folder(tmp_path, EVERYWHERE)

    one, two = (template.compile(folder, layouts=tmp_path / "layouts") for _ in "12")

    assert one.document() == two.document()


def build(root: Path, body: str) -> compiler.Build:
    job = compiler.Build(
        folder=source.Folder(own=given.folder(root, body), layouts=root / "layouts"),
        rules=links.Rules(),
    )
    compiler.build(job)
    return job


@pytest.mark.parametrize("name", sorted(mjml_tags.FREE - {"mj-class", "lang"}))
def test_values_come_through_every_attribute_that_may_hold_one(
    name: str, tmp_path: Path
) -> None:
    taking = [
        tag
        for tag, element in mjml_tags.ELEMENTS.items()
        if name in element.attributes and "mj-column" in element.parents
    ]
    for tag in taking:
        inside = given.mjml(f'<{tag} {name}="https://example.org/{{{{ zip }}}}" />')

        dropped = [p for p in build(tmp_path, inside).problems if "drops" in p.message]

        # Some have no use for it (src of a spacer); none may lose it in silence.
        assert dropped == [] or "{{ zip }}" in dropped[0].message


def test_mjml_that_does_not_compile_is_a_problem_of_the_file(tmp_path: Path) -> None:
    job = build(tmp_path, given.mjml("<mj-text><![CDATA[x]]></mj-text>"))

    assert job.compiled is None
    assert {p.file for p in job.problems} == {"letter/body.mjml"}
