"""Compile MJML, having checked what its compiler takes in silence or dies of.

mrml accepts unknown tags, wrong nesting and unknown attributes without a word, and
overflows the stack on deep nesting, which kills the process: so the document is
looked at first, and compiled in a child process (`mail.confine`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import mjml

from mailer import errors
from mailer.mail import markup, mjml_tags, tokens

DEPTH = 100  # mj-hero overflows an 8 MB stack at 1,493; musl's threads have 128 KB

_UNCLOSED = frozenset({"p", "li", "td", "th", "tr", "dt", "dd", "option"})
_SPAN = re.compile(r"(\d+)(?:\.\.|:)(\d+)")


def compiled(document: tokens.Document, problems: list[errors.Problem]) -> str:
    """Return the HTML of an MJML *document*, still with its words for Jinja.

    Raises Invalid when it does not compile; adds what is wrong to *problems*.
    """
    found = list(checked(document))
    problems += found
    if any(p.severity is errors.Severity.ERROR for p in found):
        raise errors.Invalid(problems)
    try:
        html: str = mjml.mjml2html(document.text)
    except ValueError as error:
        # Errors are byte spans; the text may hold more than ASCII.
        span = _SPAN.search(str(error))
        offset = int(span[1]) if span else 0
        at = len(document.text.encode()[:offset].decode(errors="ignore"))
        problem = document.problem(f"MJML: {error}", at=at)
        raise errors.Invalid([*problems, problem]) from error
    present = {int(m[1]) for m in document.tokens.pattern.finditer(html)}
    for number, piece in enumerate(document.tokens.given):
        if number not in present:
            problems.append(piece.problem(f"MJML drops {piece.source} here"))
    return html


def too_deep(document: tokens.Document) -> Iterator[errors.Problem]:
    """Yield a problem when HTML is nested deeper than any mail: parsers recurse."""
    depth = 0
    for node in markup.scan(document.text):
        if node.name in markup.VOID | _UNCLOSED or node.is_empty:
            continue
        depth += (node.kind is markup.Kind.OPEN) - (node.kind is markup.Kind.CLOSE)
        if depth > DEPTH:
            yield document.problem(f"nested more than {DEPTH} deep", at=node.start)
            return


def checked(document: tokens.Document) -> Iterator[errors.Problem]:
    """Yield what is wrong with the tags, their nesting and their attributes."""
    stack: list[markup.Node] = []
    for node in markup.scan(document.text):
        if node.kind is markup.Kind.BROKEN:
            yield document.problem(f"<{node.name} … is not a whole tag", at=node.start)
            return
        if node.kind is markup.Kind.CLOSE:
            yield from _closed(document, node, stack)
        if node.kind is markup.Kind.TEXT and stack and stack[-1].name in mjml_tags.BARE:
            yield from _bare(document, node, stack[-1].name)
        if node.kind is not markup.Kind.OPEN:
            continue
        parent = stack[-1].name if stack else ""
        if node.name.startswith("mj"):
            yield from _element(document, node, parent)
        if not node.is_empty and node.name not in markup.VOID:
            stack.append(node)
        if len(stack) > DEPTH:
            yield document.problem(f"nested more than {DEPTH} deep", at=node.start)
            return
    for node in stack:
        yield document.problem(f"<{node.name}> is never closed", at=node.start)


def _bare(
    document: tokens.Document, node: markup.Node, parent: str
) -> Iterator[errors.Problem]:
    text = document.text[node.start : node.end]
    if text.strip():
        at = node.start + len(text) - len(text.lstrip())
        message = f"text in <{parent}> ends up outside its table: put it in <mj-text>"
        yield document.problem(message, at=at)


def _closed(
    document: tokens.Document, node: markup.Node, stack: list[markup.Node]
) -> Iterator[errors.Problem]:
    if stack and stack[-1].name == node.name:
        stack.pop()
        return
    names = [n.name for n in stack]
    if node.name not in names:
        yield document.problem(f"</{node.name}> closes nothing", at=node.start)
        return
    while stack[-1].name != node.name:
        left = stack.pop()
        yield document.problem(f"<{left.name}> is not closed", at=left.start)
    stack.pop()


def _element(
    document: tokens.Document, node: markup.Node, parent: str
) -> Iterator[errors.Problem]:
    element = mjml_tags.ELEMENTS.get(node.name)
    if element is None:
        cure = mjml_tags.nearest(node.name)
        yield document.problem(f"MJML has no <{node.name}>{cure}", at=node.start)
        return
    if parent != "mj-attributes" and parent not in element.parents:
        wanted = " or ".join(f"<{p}>" for p in sorted(element.parents))
        yield document.problem(
            f"<{node.name}> in <{parent or 'nothing'}>: MJML drops it; "
            f"it belongs in {wanted or 'no other'}",
            at=node.start,
        )
    if node.name == "mj-preview":
        yield document.problem(
            "write it as preheader in meta.toml: it comes out twice", at=node.start
        )
    for one in node.attributes:
        yield from _attribute(document, node, one, element)


def _attribute(
    document: tokens.Document,
    node: markup.Node,
    one: markup.Attribute,
    element: mjml_tags.Element,
) -> Iterator[errors.Problem]:
    if one.name not in element.attributes and not one.name.startswith(
        ("data-", "xmlns")
    ):
        yield document.problem(
            f"<{node.name}> has no {one.name}: MJML drops it"
            f"{mjml_tags.nearest(one.name, element.attributes)}",
            at=one.start,
        )
    elif (
        one.value
        and document.tokens.pattern.search(one.value)
        and one.name not in mjml_tags.FREE
    ):
        yield document.problem(
            f"{one.name} of <{node.name}> is read by MJML once for all people "
            "and must be written out",
            at=one.start,
        )
