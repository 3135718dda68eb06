"""Make HTML fit for the wire as it is: ASCII, and lines far below 998 octets.

Done once, with words for Jinja still in it: then a message needs neither
quoted-printable nor base64, whatever is merged into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailer import errors
from mailer.mail import markup, source, tokens

WIDTH = 76  # a line is ended at the first chance beyond
LONGEST = 900  # RFC 5322 §2.1.1 allows 998; the rest is for what is merged in
MERGED = 80  # octets that a merged value is taken to have

_SPACE = re.compile(r"[ \t\r\n\f]+")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|[ \t\r\n\f]+")
_DECLARATION = re.compile(r"(?:[^;(\"']|\([^)]*\)|&\w+;|[\"'])*;?")
_BRACES = re.compile(r"\{(?=[{%#])")


def checked(document: tokens.Document) -> Iterator[errors.Problem]:
    """Yield each style that is not ASCII, where it stands."""
    for node in markup.scan(document.text):
        if node.kind is not markup.Kind.TEXT or node.name not in {"style", "mj-style"}:
            continue
        for at in range(node.start, node.end):
            if not document.text[at].isascii():
                odd = document.text[at]
                message = f"a style must be ASCII: {odd!r} can't be written there"
                yield document.problem(message, at=at)
                break


def wrapped(text: str, given: tokens.Tokens, problems: list[errors.Problem]) -> str:
    """Return HTML *text* in ASCII and short lines, its comments gone.

    White space stays white space, so nothing that is shown changes.  Adds to
    *problems* what cannot be done: a style that is not ASCII, an endless word.
    """
    out = _Lines(given=given)
    pre = 0
    for node in markup.scan(text):
        raw = _escaped(text[node.start : node.end], node, problems)
        match node.kind:
            case markup.Kind.COMMENT:
                out.add(raw if _is_kept(raw, given) else "")
            case markup.Kind.TEXT if node.name == "style":
                out.cut(_QUOTED, raw)
            case markup.Kind.TEXT if node.name or pre:
                out.add(raw)
            case markup.Kind.TEXT:
                out.cut(_SPACE, raw)
            case _:
                out.tag(raw)
                if node.name == "pre":
                    pre += 1 if node.kind is markup.Kind.OPEN else -1
    lines = "".join(out.parts)
    for line in lines.split("\n"):
        if out.width(line) > LONGEST:
            message = f"a word of more than {LONGEST} characters: {line[:40]}…"
            problems.append(errors.Problem(message=message))
    return lines


def _escaped(raw: str, node: markup.Node, problems: list[errors.Problem]) -> str:
    """Return *raw* in ASCII, with braces that Jinja would take for its own undone."""
    if node.name == "style" and node.kind is markup.Kind.TEXT:
        if not raw.isascii():  # as it can't hold references
            problems.append(errors.Problem(message="a style must be ASCII"))
        raw = _BRACES.sub("{ ", raw)
    elif node.kind is not markup.Kind.COMMENT:
        raw = _BRACES.sub("&#123;", raw)
    return raw.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _is_kept(raw: str, given: tokens.Tokens) -> bool:
    """Tell whether a comment means something: doctype, for Outlook, or a word."""
    return raw.startswith("<!--") is False or "[" in raw or bool(given.found(raw))


@dataclass(slots=True, kw_only=True)
class _Lines:
    given: tokens.Tokens
    parts: list[str] = field(default_factory=list)
    column: int = 0

    def width(self, text: str) -> int:
        """Return how long *text* will be, merged values included."""
        if self.given.prefix not in text:
            return len(text)
        found = self.given.found(text)
        merged = sum(p.kind is source.Kind.EXPRESSION for p in found)
        return len(self.given.pattern.sub("", text)) + MERGED * merged

    def add(self, text: str) -> None:
        """Write *text*, which can't be broken."""
        self.parts.append(text)
        _, newline, after = text.rpartition("\n")
        self.column = self.width(after) + (0 if newline else self.column)

    def space(self, text: str) -> None:
        """Write white space, as a line end where one is due."""
        self.add("\n" if "\n" in text or self.column > WIDTH else text)

    def cut(self, pattern: re.Pattern[str], text: str) -> None:
        """Write *text*; where *pattern* finds white space, it may break."""
        at = 0
        for match in pattern.finditer(text):
            self._word(text[at : match.start()])
            if match[0].isspace():
                self.space(match[0])
            else:
                self._quoted(match[0])
            at = match.end()
        self._word(text[at:])

    def _word(self, text: str) -> None:
        """Write *text*; a dot begins no line, so that none needs to be doubled."""
        if text.startswith(".") and self.parts and self.parts[-1].endswith("\n"):
            self.add(" ")
        if text:
            self.add(text)

    def tag(self, text: str) -> None:
        """Write a tag: it may break between attributes and before its end."""
        end = -2 if text.endswith("/>") else -1
        self.cut(_QUOTED, text[:end])
        if self.column > LONGEST // 3:
            self.add("\n")
        self.add(text[end:])

    def _quoted(self, text: str) -> None:
        if len(text) < LONGEST // 3 or "://" in text or ";" not in text:
            self.add(text)
            return
        for match in _DECLARATION.finditer(text):  # of a style attribute
            self.add(match[0])
            if match[0].endswith(";"):
                self.space("")
