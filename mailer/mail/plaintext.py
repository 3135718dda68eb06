"""Make the text part of a message from its HTML, links as ``text (url)``.

Works on the HTML with words for Jinja still in it, so that the conditions of the
HTML part hold in the text part too.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

from mailer.mail import markup, tokens

_SPACE = re.compile(r"[ \t\r\n\f]+")
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_INVISIBLE = re.compile("[\u200b-\u200d\u034f\ufeff\u00ad]")
_SKIPPED = frozenset({"head", "style", "script", "title", "noscript"})
# How many line ends stand around an element.
_BREAKS = {
    "p": 2, "h1": 2, "h2": 2, "h3": 2, "h4": 2, "h5": 2, "h6": 2, "ul": 2, "ol": 2,
    "blockquote": 2, "table": 2, "hr": 2, "section": 2, "header": 2, "footer": 2,
    "dl": 2, "pre": 2, "div": 1, "tr": 1, "li": 1, "dt": 1, "dd": 1,
}  # fmt: skip


def from_html(text: str, given: tokens.Tokens) -> str:
    """Return the text part, as a Jinja source, of HTML that holds words for Jinja."""
    walker = _Walker(given=given)
    for node in markup.scan(text):
        walker.take(node, text[node.start : node.end])
    return "".join(walker.parts).rstrip() + "\n"


@dataclass(slots=True, kw_only=True)
class _Walker:
    given: tokens.Tokens
    parts: list[str] = field(default_factory=list)
    newlines: int = 2  # at the end of what is written; a start counts as blank
    owed: str = ""  # space or line ends, written only when something follows
    hidden: list[str] = field(default_factory=list)  # what is open and not shown
    tables: list[bool] = field(default_factory=list)  # open ones: for layout only?
    anchors: list[tuple[str, int]] = field(default_factory=list)
    is_outlook: bool = False

    def take(self, node: markup.Node, raw: str) -> None:
        """Go on by one node of the HTML."""
        if node.kind is markup.Kind.COMMENT:
            self._comment(raw)
        elif self.is_outlook:
            return
        elif self.hidden or _is_hidden(node):
            self._hide(node)
        elif node.kind is markup.Kind.TEXT:
            self._words(self._jinja(html.unescape(raw)))
        elif node.kind is markup.Kind.OPEN:
            self._open(node)
        elif node.kind is markup.Kind.CLOSE:
            self._close(node)

    def _comment(self, raw: str) -> None:
        if "<![endif]" in raw:
            self.is_outlook = False
        elif raw.startswith("<!--[if"):
            self.is_outlook = not raw.endswith("<!-->")
        elif not self.hidden and not self.is_outlook and self.given.found(raw):
            self._pay()  # before the condition: what it holds may not be there
            self.parts.append(self.given.restore(raw))

    def _hide(self, node: markup.Node) -> None:
        if node.kind is markup.Kind.OPEN:
            if not node.is_empty and node.name not in markup.VOID:
                self.hidden.append(node.name)
        elif node.kind is markup.Kind.CLOSE and node.name in self.hidden:
            while self.hidden.pop() != node.name:
                pass

    def _open(self, node: markup.Node) -> None:
        match node.name:
            case "a":
                self.anchors.append((_value(node, "href"), len(self.parts)))
            case "br":
                self.owed = self.owed.strip(" ") + "\n"
            case "img":
                if self.anchors:  # a picture that leads somewhere
                    self._words(self._jinja(html.unescape(_value(node, "alt"))))
            case "td" | "th" if self.tables and not self.tables[-1]:
                self._words("  ")
            case "table":
                self._lines(2)
                self.tables.append(_value(node, "role") == "presentation")
            case name:
                self._lines(self._breaks(name))
        if node.name == "li":
            self._words("- ")
        elif node.name == "hr":
            self._words("---")
            self._lines(2)

    def _close(self, node: markup.Node) -> None:
        if node.name == "a" and self.anchors:
            self._address(*self.anchors.pop())
        self._lines(self._breaks(node.name))
        if node.name == "table" and self.tables:
            self.tables.pop()

    def _address(self, href: str, began: int) -> None:
        said = "".join(self.parts[began:]).strip()
        address = html.unescape(href).removeprefix("mailto:").removeprefix("tel:")
        if not address or address.startswith("#") or address == said:
            return
        owed, self.owed = self.owed, ""
        shown = self._jinja(address)
        self._words(f" ({shown})" if said else shown)
        self.owed = owed

    def _words(self, text: str) -> None:
        text = _SPACE.sub(" ", text)
        if text.startswith(" "):
            if not self.newlines:
                self.owed = self.owed or " "
            text = text[1:]
        if not text:
            return
        self._pay()
        self.parts.append(text.rstrip(" "))
        self.newlines = 0
        if text.endswith(" "):
            self.owed = " "

    def _lines(self, wanted: int) -> None:
        missing = wanted - self.newlines - self.owed.count("\n")
        if missing > 0:
            self.owed = self.owed.strip(" ") + "\n" * missing

    def _pay(self) -> None:
        self.parts.append(self.owed)
        self.newlines += self.owed.count("\n")
        self.owed = ""

    def _breaks(self, name: str) -> int:
        if name == "tr" and self.tables and self.tables[-1]:
            return 2  # MJML's rows are paragraphs
        return _BREAKS.get(name, 0)

    def _jinja(self, plain: str) -> str:
        """Return *plain* as a Jinja source in which the author's braces stay braces."""
        plain = _INVISIBLE.sub("", plain.replace("\xa0", " "))
        plain = re.sub(r"\{(?=[{%#])", "{{ '{' }}", plain)
        return self.given.restore(plain)


def _value(node: markup.Node, name: str) -> str:
    found = node.attribute(name)
    return found.value or "" if found else ""


def _is_hidden(node: markup.Node) -> bool:
    if node.kind is not markup.Kind.OPEN or node.name in markup.VOID:
        return False
    return node.name in _SKIPPED or bool(_HIDDEN.search(_value(node, "style")))
