"""The page asks nobody for anything, and a subject stays a text."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from mailer.pipeline.reporting import charts, judging, page
from tests import samples, tools

HOSTILE = "</svg><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Attributes(HTMLParser):
    """Collects the tags of a page and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.found: list[tuple[str, str, str]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                self.found.append((tag, name, value or ""))
            if name.startswith("on"):
                self.found.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")


def read(html: str) -> Attributes:
    parser = Attributes()
    parser.feed(html)
    return parser


@pytest.fixture(scope="module")
def html() -> str:
    return page.render(judging.judge(samples.three_subjects()))


def test_the_page_makes_no_request(html: str) -> None:
    found = read(html)

    assert [one for one in found.found if not one[2].startswith("#")] == []
    assert found.tags.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    assert re.findall(r"url\((?!#)", html) == []
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_page_is_small_and_its_charts_do_not_share_ids(html: str) -> None:
    found = read(html)

    assert len(html) < 1_000_000
    assert len(found.ids) == len(set(found.ids))
    assert html.count("<svg ") == 2 * (1 + 1 + 4)


def test_every_colour_of_a_chart_has_its_counterpart_in_the_dark(html: str) -> None:
    used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]+)"', html))

    assert used <= set(charts.DARK)


def test_a_hostile_subject_stays_a_text() -> None:
    variants = [(f"v{at}", HOSTILE + str(at)) for at in range(3)]
    cells = [
        samples.cell(at, recipients=900, sent=900, clicks=9 + at, donors=4 + at,
                     gifts=4 + at, money=Decimal(90))
        for at in (1, 2, 3)
    ]  # fmt: skip

    found = read(page.render(judging.judge(samples.given(variants, cells))))

    assert found.tags.isdisjoint({"script", "img"})
    assert [one for one in found.found if one[1].startswith("on")] == []


@pytest.mark.parametrize(
    "found",
    [
        samples.given([], []),
        samples.given([("only", "Hey")], []),
        samples.given([("only", "Hey")], [samples.cell(1, recipients=1, sent=1)]),
        samples.given(
            [("a", "Hey"), ("b", "You")],
            [samples.cell(1, recipients=9, sent=9, clicks=3),
             samples.cell(2, recipients=9)],
        ),
        samples.ofa(),
    ],
    ids=["nothing", "unsent", "one person", "one arm only", "eighteen"],
)  # fmt: skip
def test_every_report_has_a_page_and_a_picture(found: judging.Given) -> None:
    report = judging.judge(found)

    html, png = page.render(report), charts.picture(report)

    assert "nan" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL).lower()
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("low", "high", "few", "marks"),
    [
        (64.8, 178.0, False, [80, 100, 120, 140, 160]),
        (391.0, 1253.0, False, [400, 600, 800, 1000, 1200]),
        (391.0, 1253.0, True, [500, 1000]),
        (0.5, 80.0, False, [0.5, 1, 2, 5, 10, 20, 50]),
        (7.0, 7.0, False, [7.0]),
    ],
)
def test_marks_on_an_axis_are_round(
    low: float, high: float, few: bool, marks: list[float]
) -> None:
    assert charts.nice_ticks(low, high, few=few) == pytest.approx(marks)


@pytest.mark.browser
@pytest.mark.timeout(60)
@pytest.mark.parametrize("width", [375, 1200])
def test_the_page_fits_a_telephone_and_a_desk(html: str, width: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=tools.chromium(), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": width, "height": 900})
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.set_content(html)

        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert asked == []
        browser.close()
