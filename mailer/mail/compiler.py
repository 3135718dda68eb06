"""Turn a template's folder into its compiled form, and say all that is wrong with it.

The order is the point: layouts joined, loops written out, Jinja swapped for words,
MJML, CSS inlined, links numbered, text part made, lines wrapped, Jinja put back.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import css_inline
import jinja2
from jinja2 import meta, nodes

from mailer import errors
from mailer.mail import (
    compiled,
    lines,
    links,
    loops,
    markup,
    mjml,
    plaintext,
    sandbox,
    source,
    tokens,
)

KEYS = ("subject", "preheader", "describes", "from")
_OPEN_HREF = re.compile(r"\bhref\s*=\s*(?:\"[^\"]*|'[^']*)$", re.IGNORECASE)
_HREF = re.compile(r"https?://[^\s<>()\"']+")
_INLINER = css_inline.CSSInliner(keep_style_tags=True, load_remote_stylesheets=False)

PIXEL = (
    '<img src="{}" width="1" height="1" alt="" '
    'style="display:block;border:0;width:1px;height:1px">'
)
# Spaces that nobody sees keep the first words of the body out of the preview.
PREHEADER = (
    '<div style="display:none;max-height:0;overflow:hidden;opacity:0;'
    'font-size:1px;line-height:1px;mso-hide:all">{}' + " &#847;&zwnj;&nbsp;" * 40
) + "</div>"


@dataclass(slots=True, kw_only=True)
class Build:
    """A template on its way: what was found so far, whatever is wrong with it."""

    folder: source.Folder
    rules: links.Rules
    first_link: int = 0
    subject: str | None = None  # of the variant; else that of meta.toml
    meta: dict[str, str] = field(default_factory=dict)
    document: tokens.Document | None = None  # before MJML, with words for Jinja
    html: str = ""  # after MJML and CSS, still with words for Jinja
    problems: list[errors.Problem] = field(default_factory=list)
    compiled: compiled.Compiled | None = None


def build(job: Build) -> None:
    """Compile; `job.compiled` is there unless an error stopped it."""
    try:
        _build(job)
    except errors.Invalid as error:
        job.problems += error.problems
    job.problems = list(dict.fromkeys(job.problems))


def _build(job: Build) -> None:
    job.meta = read_meta(job.folder)
    subject = job.meta.get("subject", "") if job.subject is None else job.subject
    head = {
        "subject": _line(subject, f"{job.folder.own.name}/meta.toml"),
        "preheader": _line(
            job.meta.get("preheader", ""), f"{job.folder.own.name}/meta.toml"
        ),
    }
    name = _body(job.folder)
    pieces = loops.written_out(job.folder.expand(name))
    _inspect(pieces)
    document = job.document = tokens.swapped(pieces, job.problems)
    _stop(job)
    job.problems += lines.checked(document)
    job.problems += links.checked(document)
    if name.endswith(".mjml"):
        html = mjml.compiled(document, job.problems)
    else:
        job.problems += mjml.too_deep(document)
        html = document.text
    _stop(job)
    table = links.Table(tokens=document.tokens, rules=job.rules, first=job.first_link)
    job.html = table.numbered(_INLINER.inline(html))
    text = _text(job, table)
    job.problems += table.problems
    job.problems += _unfillable(pieces)
    final = _with_head(job.html, head["preheader"], document.tokens)
    final = lines.wrapped(final, document.tokens, job.problems)
    _stop(job)
    sources = head | {"html": document.tokens.restore(final), "text": text}
    for part in sources.values():
        _refuse_hidden(part, job.folder.own.name)
    job.compiled = compiled.Compiled(
        links=tuple(table.links), names=_names(sources, table.links), **sources
    )


def _stop(job: Build) -> None:
    if any(p.severity is errors.Severity.ERROR for p in job.problems):
        raise errors.Invalid(job.problems)


def read_meta(folder: source.Folder) -> dict[str, str]:
    """Read `meta.toml`.  Raises Invalid with every problem."""
    shown = folder.show("meta.toml")
    text = folder.read("meta.toml")
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.Invalid(errors.Problem(message=f"{error}", file=shown)) from error
    problems = [
        errors.Problem(message=message, file=shown, line=_key(text, key), key=key)
        for key, value in found.items()
        for message in [_meta_fault(key, value)]
        if message
    ]
    if problems:
        raise errors.Invalid(problems)
    return found


def _meta_fault(key: str, value: object) -> str | None:
    if key not in KEYS:
        return f"no such key: there are {', '.join(KEYS)}"
    if not isinstance(value, str):
        return f'write text: {key} = "…"'
    if any(c < " " for c in value):
        return "one line only"
    return None


def _key(text: str, key: str) -> int | None:
    match = re.search(rf"^\s*{re.escape(key)}\s*=", text, re.MULTILINE)
    return text.count("\n", 0, match.end()) + 1 if match else None


def _line(text: str, file: str) -> str:
    """Return a subject or preheader as Jinja reads it; refuse what it may not do."""
    found = source.pieces(text, file=file)
    _inspect(found)
    return "".join(p.source for p in found)


def _body(folder: source.Folder) -> str:
    names = [n for n in ("body.mjml", "body.html") if (folder.own / n).is_file()]
    if len(names) == 1:
        return names[0]
    both = (
        "both body.mjml and body.html: keep one"
        if names
        else ("neither body.mjml nor body.html")
    )
    raise errors.Invalid(errors.Problem(message=f"has {both}", file=folder.own.name))


def _inspect(pieces: list[source.Piece]) -> None:
    """Parse every piece by itself, so that a problem has its line."""
    problems = []
    for piece in pieces:
        if piece.kind is source.Kind.TEXT:
            continue
        try:
            tree = sandbox.TEXT.parse(alone(piece))
        except jinja2.TemplateSyntaxError as error:
            problems.append(piece.problem(f"{error.message} in {piece.source}"))
        except (RecursionError, ValueError):
            problems.append(
                piece.problem("an expression too deep or a number too long")
            )
        else:
            problems += [piece.problem(m) for _, m in sandbox.inspect(tree)]
    if problems:
        raise errors.Invalid(problems)
    joined = "".join(
        p.source if p.kind is source.Kind.STATEMENT else "\n" * p.text.count("\n")
        for p in pieces
    )
    try:
        sandbox.TEXT.parse(joined)
    except jinja2.TemplateSyntaxError as error:
        last = next(p for p in reversed(pieces) if p.kind is source.Kind.STATEMENT)
        raise errors.Invalid(last.problem(str(error.message))) from error


def alone(piece: source.Piece) -> str:
    """Return the piece as a template of its own."""
    if piece.kind is source.Kind.EXPRESSION:
        return piece.source
    match piece.tag:
        case "if":
            return piece.source + "{% endif %}"
        case "elif":
            return "{% if 1 %}" + piece.source + "{% endif %}"
        case "for":
            return piece.source + "{% endfor %}"
        case "set":
            if "=" not in piece.text:
                return "{% set x %}"  # the block form: a syntax error, alone
            return piece.source
        case _:
            return "" if piece.text == piece.tag else "{% " + piece.text


def _text(job: Build, table: links.Table) -> str:
    """Return the text part: the author's, with its links numbered, or made here."""
    if not (job.folder.own / "body.txt").is_file():
        return plaintext.from_html(job.html, table.tokens)
    pieces = loops.written_out(job.folder.expand("body.txt"))
    _inspect(pieces)
    words = [
        p.text if p.kind is source.Kind.TEXT else table.tokens.add(p) for p in pieces
    ]

    def numbered(match: re.Match[str]) -> str:
        address = table.tokens.before_statement(match[0]).rstrip(".,;:!?")
        return table.href(address, reuse=True) + match[0][len(address) :]

    return table.tokens.restore(_HREF.sub(numbered, "".join(words)))


def _unfillable(pieces: Sequence[source.Piece]) -> Iterator[errors.Problem]:
    """Yield each name that is set here and stands in a link.

    The values of a link are worked out beside the template, where nothing is set.
    """
    inside = False
    own: set[str] = set()
    for piece in pieces:
        if piece.kind is source.Kind.TEXT:
            end = piece.text
            inside = bool(_OPEN_HREF.search(end)) or (
                inside and not {'"', "'", "<", ">"} & set(end)
            )
            continue
        tree = sandbox.TEXT.parse(alone(piece))
        names = {n.name for n in tree.find_all(nodes.Name)}
        if piece.tag == "set":
            own |= {n.name for n in tree.find_all(nodes.Name) if n.ctx == "store"}
        elif inside and names & own:
            name = min(names & own)
            yield piece.problem(f"{name} is set here: a link wants the value itself")


def _with_head(html: str, preheader: str, given: tokens.Tokens) -> str:
    """Put the pixel and the preheader first in the body: Gmail clips the end."""

    def word(kind: source.Kind, text: str) -> str:
        return given.add(source.Piece(kind=kind, text=text, file="", line=0))

    pixel = PIXEL.format(word(source.Kind.EXPRESSION, "pixel_url"))
    begin = word(source.Kind.STATEMENT, "if pixel_url is defined")
    end = word(source.Kind.STATEMENT, "endif")
    first = f"<!--{begin}-->{pixel}<!--{end}-->"
    if preheader:
        shown = [
            p.text.replace("<", "&lt;")
            if p.kind is source.Kind.TEXT
            else word(p.kind, p.text)
            for p in source.pieces(preheader, file="meta.toml")
        ]
        first += PREHEADER.format("".join(shown))
    body = next(
        (
            n
            for n in markup.scan(html)
            if n.kind is markup.Kind.OPEN and n.name == "body"
        ),
        None,
    )
    at = body.end if body else 0
    return html[:at] + first + html[at:]


def _refuse_hidden(text: str, file: str) -> None:
    """Look at a finished part once more: nothing may have become Jinja on the way."""
    try:
        tree = sandbox.TEXT.parse(text)
    except (jinja2.TemplateSyntaxError, RecursionError) as error:
        raise errors.Invalid(errors.Problem(message=str(error), file=file)) from error
    for _, message in sandbox.inspect(tree):
        raise errors.Invalid(errors.Problem(message=message, file=file))


def _names(sources: dict[str, str], table: list[links.Link]) -> frozenset[str]:
    found: set[str] = set()
    for text in sources.values():
        found |= meta.find_undeclared_variables(sandbox.TEXT.parse(text))
    for link in table:
        for value in link.values:
            tree = sandbox.TEXT.parse("{{ " + value + " }}")
            found |= {n.name for n in tree.find_all(nodes.Name)}
    made = {f"link_{k.index}" for k in table} | {loops.MORE}
    return frozenset(found - made)
