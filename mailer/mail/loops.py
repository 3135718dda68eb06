"""Write out the loops that hold links, so that every button is a link of its own.

The link table is made once for all people, and a token carries the values of its
link: both need to know, before anybody's list is, which button is which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mailer import errors
from mailer.mail import sandbox, source

MOST = 8  # buttons of one loop; a longer list fails to render rather than lose one
PIECES = 4000  # of one loop, written out: three within each other are 512 bodies
MORE = f"more_than_{MOST}_items"  # undefined, so that it does

_FOR = re.compile(r"for\s+(\w+)\s+in\s+(.+)", re.DOTALL)
_HAS_LINK = re.compile(r"\bhref\s*=|https?://", re.IGNORECASE)


def written_out(pieces: Sequence[source.Piece]) -> list[source.Piece]:
    """Return *pieces* with each loop that holds a link repeated, item by item."""
    found: list[source.Piece] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if piece.kind is source.Kind.STATEMENT and piece.tag == "for":
            end = _end(pieces, at)
            body = pieces[at + 1 : end]
            if any(_HAS_LINK.search(p.text) for p in body):
                repeated = list(_repeated(piece, body))
                if len(repeated) > PIECES:
                    message = "loops that hold links, within each other: too many"
                    raise errors.Invalid(piece.problem(message))
                found += repeated
                at = end + 1
                continue
        found.append(piece)
        at += 1
    return found


def _end(pieces: Sequence[source.Piece], at: int) -> int:
    depth = 0
    for index in range(at, len(pieces)):
        piece = pieces[index]
        if piece.kind is source.Kind.STATEMENT:
            depth += (piece.tag == "for") - (piece.tag == "endfor")
            if depth == 0:
                return index
    raise errors.Invalid(pieces[at].problem("this loop has no endfor"))


def _repeated(
    begin: source.Piece, body: Sequence[source.Piece]
) -> Iterator[source.Piece]:
    match = _FOR.fullmatch(begin.text)
    if match is None or " if " in match[2] or "recursive" in match[2]:
        message = "a loop that holds links is plain: {% for amount in ask_amounts %}"
        raise errors.Invalid(begin.problem(message))
    _refuse_else(body)
    name, items = match[1], match[2].strip()
    if not re.fullmatch(r"\w+", items):
        items = f"({items})"

    def say(text: str) -> source.Piece:
        return replace(begin, kind=source.Kind.STATEMENT, text=text)

    for index in range(MOST):
        yield say(f"if {items} | length > {index}")
        yield from written_out([_bound(p, name, items, index) for p in body])
        yield say("endif")
    # Undefined by its name: a person with a longer list fails loudly, and is listed.
    yield say(f"if {items} | length > {MOST} and {MORE}")
    yield say("endif")


def _refuse_else(body: Sequence[source.Piece]) -> None:
    depth = 0
    for piece in body:
        if piece.kind is source.Kind.STATEMENT:
            depth += (piece.tag in {"if", "for"}) - (piece.tag in {"endif", "endfor"})
            if piece.tag == "else" and depth == 0:
                raise errors.Invalid(
                    piece.problem("a loop that holds links has no else: use if")
                )


def _bound(piece: source.Piece, name: str, items: str, index: int) -> source.Piece:
    """Return *piece* with the loop's name, and `loop`, replaced by what they are."""
    if piece.kind is source.Kind.TEXT:
        return piece
    if piece.tag in {"for", "set"} and re.match(rf"\w+\s+{name}\b", piece.text):
        raise errors.Invalid(piece.problem(f"{name} is the loop's name already"))
    loop = {
        "index": str(index + 1),
        "index0": str(index),
        "first": str(index == 0).lower(),
        "last": f"({items} | length == {index + 1})",
        "length": f"({items} | length)",
    }
    words: list[str] = []
    tokens = _tokens(piece)
    at = 0
    while at < len(tokens):
        kind, value = tokens[at]
        is_own = at == 0 or tokens[at - 1][1] not in {".", "|"}
        if kind == "name" and value == name and is_own:
            value = f"{items}[{index}]"
        elif kind == "name" and value == "loop" and is_own:
            word = tokens[at + 2][1] if at + 2 < len(tokens) else ""
            if word not in loop:
                message = f"loop.{word} is not offered in a loop that holds links"
                raise errors.Invalid(piece.problem(message))
            value, at = loop[word], at + 2
        words.append(value)
        at += 1
    return replace(piece, text="".join(words).strip())


def _tokens(piece: source.Piece) -> list[tuple[str, str]]:
    lexed = list(sandbox.TEXT.lex("{{ " + piece.text + " }}"))
    return [(kind, value) for _, kind, value in lexed[1:-1]]
