"""Read a template's folder and join its layouts and blocks into one run of pieces.

`{% extends %}`, `{% block %}` and `{% include %}` are resolved here, on the text and
before MJML, which wants a whole document.  Every piece knows its file and line, so
that a problem found much later still says where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import jinja2

from mailer import errors
from mailer.mail import sandbox

SIZE = 512 * 1024  # bytes of one document; a message is clipped at a fifth of that
DEPTH = 20  # includes within includes
PIECES = 20_000

TAGS = frozenset({"if", "elif", "else", "endif", "for", "endfor", "set"})
_EXTENDS = re.compile(r"""(?:extends|include)\s+(?:"([^"]*)"|'([^']*)')""")


class Kind(StrEnum):
    """What a piece is to Jinja."""

    TEXT = "text"
    EXPRESSION = "expression"  # {{ … }}
    STATEMENT = "statement"  # {% … %}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a source; for Jinja's, what stands between the braces."""

    kind: Kind
    text: str
    file: str
    line: int

    @property
    def tag(self) -> str:
        """Return the statement's first word."""
        return self.text.split(None, 1)[0] if self.text else ""

    @property
    def source(self) -> str:
        """Return the piece as Jinja reads it."""
        match self.kind:
            case Kind.TEXT:
                return self.text
            case Kind.EXPRESSION:
                return "{{ " + self.text + " }}"
            case Kind.STATEMENT:
                return "{% " + self.text + " %}"

    def problem(self, message: str, *, after: int = 0) -> errors.Problem:
        """Say that something is wrong *after* characters into the piece."""
        line = self.line + self.text.count("\n", 0, after)
        return errors.Problem(message=message, file=self.file, line=line)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    name: str
    body: tuple[_Node, ...]
    at: Piece


_Node = Piece | _Block


@dataclass(slots=True, kw_only=True)
class Folder:
    """Where a template's files lie: its own folder, and `layouts/` for all."""

    own: Path
    layouts: Path
    _left: int = field(default=PIECES, init=False)
    _bytes: int = field(default=SIZE, init=False)

    def read(self, name: str) -> str:
        """Return the text of the file *name*.  Raises Invalid, also for bad UTF-8."""
        path = self._path(name)
        if not path.is_file():
            raise errors.Invalid(
                errors.Problem(message="there is no such file", file=self.show(name))
            )
        if path.stat().st_size > SIZE:
            raise errors.Invalid(
                errors.Problem(
                    message=f"more than {SIZE // 1024} KB", file=self.show(name)
                )
            )
        try:
            return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise errors.Invalid(
                errors.Problem(
                    message=f"byte {error.start} is not UTF-8: save the file as UTF-8",
                    file=self.show(name),
                )
            ) from error

    def show(self, name: str) -> str:
        """Return how people call the file."""
        if name.startswith("layouts/"):
            return name
        return f"{self.own.name}/{name}"

    def _path(self, name: str) -> Path:
        base = self.own
        if name.startswith("layouts/"):
            base, name = self.layouts, name.removeprefix("layouts/")
        path = (base / name).resolve()
        # A link or ".." may lead out, to what the machine keeps to itself.
        if not path.is_relative_to(base.resolve()) or "\0" in name:
            raise errors.Invalid(
                errors.Problem(message=f"{name} leads out of the folder of templates")
            )
        return path

    def expand(self, name: str) -> list[Piece]:
        """Return the pieces of *name* with layouts and includes joined in."""
        return list(self._expand(name, {}, ()))

    def _expand(
        self, name: str, blocks: dict[str, list[_Block]], stack: tuple[str, ...]
    ) -> Iterator[Piece]:
        tree = _nest(pieces(self.read(name), file=self.show(name)))
        parent = next((n for n in tree if _is(n, "extends")), None)
        if isinstance(parent, Piece):
            _refuse_lost_text(tree)
            for node in tree:
                if isinstance(node, _Block):
                    blocks.setdefault(node.name, []).append(node)
            target = self._enter(parent, (*stack, name))
            yield from self._expand(target, blocks, (*stack, name))
        else:
            yield from self._walk(tree, blocks, (*stack, name), ())

    def _walk(
        self,
        tree: Sequence[_Node],
        blocks: dict[str, list[_Block]],
        stack: tuple[str, ...],
        above: Sequence[_Block],
    ) -> Iterator[Piece]:
        for node in tree:
            if isinstance(node, _Block):
                chain = [*blocks.get(node.name, ()), node]
                yield from self._walk(chain[0].body, blocks, stack, chain[1:])
            elif _is(node, "include"):
                yield from self._expand(self._enter(node, stack), {}, stack)
            elif node.kind is Kind.EXPRESSION and node.text == "super()":
                if not above:
                    raise errors.Invalid(node.problem("no layout has this block"))
                yield from self._walk(above[0].body, blocks, stack, above[1:])
            else:
                self._count(node)
                yield node

    def _enter(self, node: Piece, stack: tuple[str, ...]) -> str:
        match = _EXTENDS.fullmatch(node.text)
        if match is None:
            raise errors.Invalid(
                node.problem(f'write {{% {node.tag} "layouts/name.mjml" %}}')
            )
        name: str = match[1] or match[2] or ""
        if name in stack:
            raise errors.Invalid(
                node.problem(f"goes round in a circle: {' > '.join((*stack, name))}")
            )
        if len(stack) >= DEPTH:
            raise errors.Invalid(node.problem(f"more than {DEPTH} files deep"))
        return name

    def _count(self, node: Piece) -> None:
        self._left -= 1
        self._bytes -= len(node.text.encode())
        if self._left < 0 or self._bytes < 0:
            raise errors.Invalid(
                node.problem(f"with its includes more than {SIZE // 1024} KB")
            )


def pieces(source: str, *, file: str) -> list[Piece]:
    """Cut *source* into text and Jinja; comments go.  Raises Invalid with the line."""
    found: list[Piece] = []
    kind, began = Kind.TEXT, 1
    words: list[str] = []
    try:
        for line, token, value in sandbox.TEXT.lex(source):
            match token:
                case "variable_begin" | "block_begin":
                    is_block = token == "block_begin"  # noqa: S105 - no password
                    kind = Kind.STATEMENT if is_block else Kind.EXPRESSION
                    words, began = [], line
                case "variable_end" | "block_end":
                    text = "".join(words).strip()
                    found.append(Piece(kind=kind, text=text, file=file, line=began))
                    kind = Kind.TEXT
                case "raw_begin" | "raw_end":
                    problem = errors.Problem(
                        message="raw is not offered", file=file, line=line
                    )
                    raise errors.Invalid(problem)
                case "comment_begin" | "comment" | "comment_end":
                    pass
                case "data":
                    found.append(
                        Piece(kind=Kind.TEXT, text=value, file=file, line=line)
                    )
                case _:
                    words.append(value)
    except jinja2.TemplateSyntaxError as error:
        raise errors.Invalid(
            errors.Problem(message=str(error.message), file=file, line=error.lineno)
        ) from error
    if kind is not Kind.TEXT:
        problem = errors.Problem(
            message="these braces never end", file=file, line=began
        )
        raise errors.Invalid(problem)
    return found


def _nest(flat: Sequence[Piece]) -> list[_Node]:
    """Put the pieces between `block` and `endblock` into their block."""
    open_: list[tuple[Piece, list[_Node]]] = []
    level: list[_Node] = []
    for piece in flat:
        if _is(piece, "block"):
            open_.append((piece, level))
            level = []
        elif _is(piece, "endblock"):
            if not open_:
                raise errors.Invalid(piece.problem("endblock without its block"))
            begin, above = open_.pop()
            name = begin.text.split()[1:]
            if len(name) != 1:
                raise errors.Invalid(begin.problem("write {% block name %}"))
            above.append(_Block(name=name[0], body=tuple(level), at=begin))
            level = above
        else:
            _refuse_unknown_tag(piece)
            level.append(piece)
    if open_:
        raise errors.Invalid(open_[-1][0].problem("this block has no endblock"))
    return level


def _is(node: _Node, tag: str) -> bool:
    return isinstance(node, Piece) and node.kind is Kind.STATEMENT and node.tag == tag


def _refuse_unknown_tag(piece: Piece) -> None:
    if piece.kind is not Kind.STATEMENT or piece.tag in TAGS | {"extends", "include"}:
        return
    offered = ", ".join(sorted(TAGS | {"extends", "include", "block"}))
    raise errors.Invalid(
        piece.problem(f"{{% {piece.tag} %}} is not offered: there are {offered}")
    )


def _refuse_lost_text(tree: Sequence[_Node]) -> None:
    for node in tree:
        if isinstance(node, _Block) or _is(node, "extends"):
            continue
        if node.kind is not Kind.TEXT or node.text.strip():
            raise errors.Invalid(
                node.problem("stands outside every block, so the layout drops it")
            )
