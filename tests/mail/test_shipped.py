"""The templates that mailer brings."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from mailer.mail import template
from tests.mail import given

TEMPLATES = Path(__file__).parents[2] / "templates"
NAMES = ["appeal", "deadline", "newsletter"]
PERSON = {
    "first_name": "Ada",
    "email": "ada@example.org",
    "city": "Springfield",
    "gift_count": 3,
    "latest_gift": Decimal(25),
    "recurring": False,
    "ask_amounts": [Decimal(a) for a in (25, 40, 50, 75, 125)],
    "deadline": datetime(2027, 1, 1, 4, 59, 59, tzinfo=UTC),
}
STRANGER = {
    "email": "bo@example.org",
    "gift_count": 0,
    "recurring": False,
    "ask_amounts": [Decimal(3), Decimal(10)],
    "deadline": PERSON["deadline"],
}


def rendered(name: str, person: dict[str, object]) -> template.Rendered:
    compiled = template.compile(
        TEMPLATES / name,
        layouts=TEMPLATES / "layouts",
        own_domains=("example.org",),
        refcode="em_1_1",
    )
    renderer = template.Renderer(compiled)
    context = given.ORGANIZATION | given.ADDRESSES | person
    for link in renderer.values(context):
        context[f"link_{link}"] = f"https://t.example.org/c/{link}"
    return renderer.render(context)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("person", [PERSON, STRANGER], ids=["donor", "stranger"])
def test_a_shipped_template_fits_anybody(name: str, person: dict[str, object]) -> None:
    letter = rendered(name, person)

    assert len(letter.html) < 40_000
    for part in (letter.html, letter.text):
        assert "Paid for by Example for Congress Committee." in " ".join(part.split())
        assert "https://t.example.org/u/TOKEN" in part
    assert "\n\n\n" not in letter.text


def test_the_deadline_says_its_hour_where_the_books_are_kept() -> None:
    letter = rendered("deadline", PERSON)

    assert "Thursday at 11:59 PM EST" in letter.text
    assert letter.preheader.startswith("Our books close on Thursday.")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_template_needs_no_sideways_scrolling_on_a_phone(
    name: str, chromium: Browser
) -> None:
    page = chromium.new_page(viewport={"width": 375, "height": 700})
    page.route("**/*", lambda route: route.abort())  # the pixel: nothing is there

    page.set_content(rendered(name, PERSON).html)

    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.close()
