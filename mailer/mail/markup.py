"""Find the tags of MJML and HTML in a text, by offset, without rewriting it.

Parsers give a tree and write it back their own way; links and placeholders must
stay byte-exact, so this only says where things are.  Linear in the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What stands at a place of the text."""

    TEXT = "text"
    OPEN = "open"
    CLOSE = "close"
    COMMENT = "comment"  # and doctypes, and the brackets of conditional comments
    BROKEN = "broken"  # a tag that does not end, or whose attributes do not parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """An attribute of a tag; `start` and `end` are those of its value, unquoted."""

    name: str
    value: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A stretch of the text: `text[start:end]`."""

    kind: Kind
    start: int
    end: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()
    is_empty: bool = False  # <br/>

    def attribute(self, name: str) -> Attribute | None:
        """Return the first attribute of that name."""
        return next((one for one in self.attributes if one.name == name), None)


VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta",
    "source", "track", "wbr",
})  # fmt: skip
RAW = frozenset({
    "style", "script", "textarea", "title", "mj-style", "mj-title", "mj-preview",
})  # fmt: skip

# Outlook reads the inside of <!--[if mso]>…<![endif]-->: only the brackets are comment.
_COMMENT = re.compile(
    r"<!--\[if[^\]]*\]>(?:<!-->)?|(?:<!--)?<!\[endif\]-->|<!--.*?-->|<![a-zA-Z][^>]*>",
    re.DOTALL,
)
_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:-]*)")
_ATTRIBUTE = re.compile(
    r"""\s*([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?"""
)
_END = re.compile(r"\s*(/?)>")


def scan(text: str) -> Iterator[Node]:
    """Yield everything in *text*, in order and without gaps."""
    at = begin = 0
    while (found := text.find("<", at)) >= 0:
        node = _comment(text, found) or _tag(text, found)
        if node is None:
            at = found + 1
            continue
        if found > begin:
            yield Node(kind=Kind.TEXT, start=begin, end=found)
        yield node
        at = begin = node.end
        if node.kind is Kind.OPEN and node.name in RAW and not node.is_empty:
            end = _raw_end(text, node)
            if end > begin:
                yield Node(kind=Kind.TEXT, start=begin, end=end, name=node.name)
            at = begin = end
    if begin < len(text):
        yield Node(kind=Kind.TEXT, start=begin, end=len(text))


def _comment(text: str, at: int) -> Node | None:
    match = _COMMENT.match(text, at)
    if match is None:
        return None
    return Node(kind=Kind.COMMENT, start=at, end=match.end())


def _tag(text: str, at: int) -> Node | None:
    match = _NAME.match(text, at)
    if match is None:
        return None
    name = match[1].lower()
    attributes = []
    end = match.end()
    while _END.match(text, end) is None:
        found = _ATTRIBUTE.match(text, end)
        if found is None or found.end() == end:
            return Node(kind=Kind.BROKEN, start=at, end=max(end, at + 1), name=name)
        group = found.lastindex or 1
        value = found[group] if group > 1 else None
        attributes.append(
            Attribute(
                name=found[1].lower(),
                value=value,
                start=found.start(group) if group > 1 else found.end(),
                end=found.end(group),
            )
        )
        end = found.end()
    closing = _END.match(text, end)
    assert closing is not None
    return Node(
        kind=Kind.CLOSE if text[at + 1] == "/" else Kind.OPEN,
        start=at,
        end=closing.end(),
        name=name,
        attributes=tuple(attributes),
        is_empty=bool(closing[1]),
    )


def _raw_end(text: str, node: Node) -> int:
    match = re.compile(rf"</{re.escape(node.name)}[\s>]", re.IGNORECASE).search(
        text, node.end
    )
    return match.start() if match else len(text)
