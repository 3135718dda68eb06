"""What people find in their inbox, read without any code of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr
from html.parser import HTMLParser

from tests.program import LINKS
from tests.sink import Received

PROVIDERS = {"gmail.test": "google", "yahoo.test": "yahoo", "icloud.test": "apple"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody on the list."""

    email: str
    first_name: str
    state: str
    highest: int

    @property
    def provider(self) -> str:
        """Return who gives this person a mailbox."""
        return PROVIDERS.get(self.email.partition("@")[2], "other")


class Anchors(HTMLParser):
    """The links of a message, by their words; the pixel as "pixel"."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._href: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember where a link leads."""
        given = dict(attrs)
        if tag == "a":
            self._href = given.get("href")
        if tag == "img" and "/o/" in (given.get("src") or ""):
            self.found["pixel"] = given["src"] or ""

    def handle_data(self, data: str) -> None:
        """Name the link by the words in it."""
        if self._href is not None and data.strip():
            self.found.setdefault(" ".join(data.split()), self._href)
            self._href = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message that a person found in the inbox."""

    person: Person
    message: EmailMessage
    addressed: str  # the name in To
    variant: str

    @property
    def cell(self) -> tuple[str, str]:
        """Return where a report counts it."""
        return self.variant, self.person.provider

    @property
    def html(self) -> str:
        """Return its HTML part."""
        return self._body("html")

    @property
    def text(self) -> str:
        """Return its plain part."""
        return self._body("plain")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None
        return str(part.get_content())

    @property
    def links(self) -> dict[str, str]:
        """Return its links by their words."""
        return Anchors(self.html).found

    @property
    def unsubscribe(self) -> str:
        """Return the address of RFC 8058."""
        return str(self.message["List-Unsubscribe"]).strip("<>")


def read(received: Received, people: dict[str, Person]) -> Letter:
    """Parse what a person got; its subject says the variant."""
    message = received.message
    person = people[received.recipient]
    subjects = {
        "hours": "Hours left — nearby",
        "outspent": f"{person.first_name or 'Friend'}, we will be outspent",
        "midnight": "Before midnight",
    }
    (variant,) = (name for name in subjects if subjects[name] == message["Subject"])
    addressed = _addressed(received.content)
    return Letter(person=person, message=message, addressed=addressed, variant=variant)


def _addressed(content: bytes) -> str:
    """Return the name in To: the new parser puts a space between encoded words."""
    phrase, _ = parseaddr(str(BytesParser().parsebytes(content)["To"]))
    return str(make_header(decode_header(phrase)))


def check(letter: Letter) -> None:
    """Look at all that must be right in each message."""
    message, person = letter.message, letter.person
    assert not message.defects
    assert [one.addr_spec for one in message["To"].addresses] == [person.email]
    assert letter.addressed == person.first_name
    assert [one.addr_spec for one in message["From"].addresses] == ["jo@example.org"]
    assert message["Reply-To"] == "help@example.org"
    assert message["Bcc"] is None
    assert message.get_all("List-Unsubscribe") == [f"<{letter.unsubscribe}>"]
    assert letter.unsubscribe.startswith(f"{LINKS}/u/")
    assert message.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
    assert message["List-Id"].endswith("<fundraising.example.org>")
    assert re.fullmatch(r"<b1\.\d+\.[0-9a-f]{12}@example\.org>", message["Message-ID"])
    assert message.get_content_type() == "multipart/alternative"
    parts = [part.get_content_type() for part in message.iter_parts()]
    assert parts == ["text/plain", "text/html"]
    for body in (letter.html, letter.text):
        assert "{{" not in body
        assert "Paid for by Example for Congress" in body
        assert letter.unsubscribe in body
    greeted = person.first_name or "Friend"
    assert f"{greeted}," in letter.text
    assert "<z@example.org>" not in letter.html
