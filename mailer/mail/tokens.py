"""Plain words that stand for Jinja while MJML, CSS and HTML are worked on.

MJML fails on `{% if a < 3 %}` and HTML parsers move what does not belong into a
table; a letters-and-digits word, or a comment that holds one, survives both.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailer import errors
from mailer.mail import markup, source


@dataclass(slots=True, kw_only=True)
class Tokens:
    """The words given out so far, and what each stands for."""

    prefix: str
    given: list[source.Piece] = field(default_factory=list)

    def add(self, piece: source.Piece) -> str:
        """Return a new word for *piece*."""
        self.given.append(piece)
        return f"{self.prefix}{len(self.given) - 1}z"

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return what finds a word; its group is the number."""
        return re.compile(rf"{self.prefix}(\d+)z")

    def found(self, text: str) -> list[source.Piece]:
        """Return the pieces whose words stand in *text*, in order."""
        return [self.given[int(m[1])] for m in self.pattern.finditer(text)]

    def before_statement(self, text: str) -> str:
        """Return *text* up to its first condition or loop."""
        for match in self.pattern.finditer(text):
            if self.given[int(match[1])].kind is source.Kind.STATEMENT:
                return text[: match.start()]
        return text

    def restore(self, text: str) -> str:
        """Put Jinja back for its words, and for comments that hold only one."""
        prefix = self.prefix
        either = re.compile(rf"<!--{prefix}(\d+)z-->|{prefix}(\d+)z")
        return either.sub(lambda m: self.given[int(m[1] or m[2])].source, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The pieces as one text with words in place of Jinja."""

    text: str
    tokens: Tokens
    pieces: tuple[source.Piece, ...]
    starts: tuple[int, ...]

    def problem(
        self,
        message: str,
        *,
        at: int,
        severity: errors.Severity = errors.Severity.ERROR,
    ) -> errors.Problem:
        """Say that something is wrong at offset *at* of the text."""
        index = max(bisect.bisect_right(self.starts, at) - 1, 0)
        piece, start = self.pieces[index], self.starts[index]
        line = piece.line
        if piece.kind is source.Kind.TEXT:
            line += self.text.count("\n", start, at)
        return errors.Problem(
            message=message, file=piece.file, line=line, severity=severity
        )


def swapped(pieces: Sequence[source.Piece], problems: list[errors.Problem]) -> Document:
    """Join *pieces*, with words for Jinja; where there can be none is a problem."""
    prefix = "jx"
    while any(prefix in p.text for p in pieces):
        prefix += "q"
    tokens = Tokens(prefix=prefix)
    plain = _joined(pieces, tokens, frozenset())
    in_text = _statements_in_text(plain, problems)
    return _joined(pieces, Tokens(prefix=prefix), in_text)


def _joined(
    pieces: Sequence[source.Piece], tokens: Tokens, as_comment: frozenset[int]
) -> Document:
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for piece in pieces:
        text = piece.text
        if piece.kind is not source.Kind.TEXT:
            text = tokens.add(piece)
            if len(tokens.given) - 1 in as_comment:
                text = f"<!--{text}-->"
        starts.append(length)
        parts.append(text)
        length += len(text)
    return Document(
        text="".join(parts), tokens=tokens, pieces=tuple(pieces), starts=tuple(starts)
    )


def _statements_in_text(
    document: Document, problems: list[errors.Problem]
) -> frozenset[int]:
    """Return the numbers of the statements that stand between tags."""
    found: set[int] = set()
    pattern = document.tokens.pattern
    for node in markup.scan(document.text):
        for match in pattern.finditer(document.text, node.start, node.end):
            number = int(match[1])
            message = _misplaced(node, match)
            if message:
                problems.append(document.problem(message, at=match.start()))
            elif (
                node.kind is markup.Kind.TEXT
                and not node.name
                and document.tokens.given[number].kind is source.Kind.STATEMENT
            ):
                found.add(number)
    return frozenset(found)


def _misplaced(node: markup.Node, match: re.Match[str]) -> str | None:
    match node.kind:
        case markup.Kind.TEXT if node.name in {"style", "mj-style", "script"}:
            return "a style can't hold Jinja: put the condition around the element"
        case markup.Kind.OPEN:
            for one in node.attributes:
                if one.value is not None and one.start <= match.start() < one.end:
                    return None
            return "Jinja can stand in an attribute's value, not between attributes"
        case markup.Kind.CLOSE:
            return "Jinja can't stand inside a tag"
        case markup.Kind.COMMENT:
            return "Jinja in a comment has no effect: take it out"
        case _:
            return None
