"""Look at a compiled template as a proof-reader would: names, law, links, size."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from jinja2 import meta, nodes

from mailer import errors
from mailer.mail import (
    compiler,
    links,
    loops,
    markup,
    mjml_tags,
    sample,
    sandbox,
    source,
    tokens,
)


def checked(
    job: compiler.Build, *, attributes: Collection[str] = ()
) -> Iterator[errors.Problem]:
    """Yield what is wrong with a template that compiled."""
    assert job.compiled is not None
    assert job.document is not None
    shown = job.folder.show("meta.toml")
    head = [
        piece
        for key in ("subject", "preheader")
        for piece in source.pieces(job.meta.get(key, ""), file=shown)
    ]
    yield from _names([*head, *job.document.pieces], attributes)
    yield from _images(job.document)
    yield from _law(job)
    if not job.meta.get("preheader"):
        yield warning("without a preheader, phones show the first words", file=shown)
    if not job.meta.get("subject"):
        yield warning("no subject: every blast must bring one", file=shown)


def warning(message: str, *, file: str) -> errors.Problem:
    """Return a problem that stops nothing."""
    return errors.Problem(message=message, file=file, severity=errors.Severity.WARNING)


def _names(
    pieces: list[source.Piece], attributes: Collection[str]
) -> Iterator[errors.Problem]:
    """Yield each name that nobody, or not everybody, has and that has no default."""
    own: set[str] = set()
    guarded: set[str] = set()
    used: list[tuple[str, source.Piece]] = []
    for piece in pieces:
        if piece.kind is source.Kind.TEXT:
            continue
        tree = sandbox.TEXT.parse(compiler.alone(piece))
        own |= {n.name for n in tree.find_all(nodes.Name) if n.ctx == "store"}
        asked = _asked(tree)
        guarded |= asked
        used += [(name, piece) for name in sorted(_bare(tree) - asked)]
    known = sample.ALWAYS | {"loop", loops.MORE} | own
    seen: set[str] = set()
    for name, piece in used:
        if name in known or name in guarded or name in seen:
            continue
        seen.add(name)
        if name in sample.SOMETIMES or name in attributes:
            yield errors.Problem(
                message=f"not everybody has {name}: write "
                f"{{{{ {name} | default('…') }}}}, or who lacks it gets nothing",
                file=piece.file,
                line=piece.line,
                severity=errors.Severity.WARNING,
            )
        else:
            cure = mjml_tags.nearest(name, sample.ALWAYS | sample.SOMETIMES)
            yield piece.problem(f"{name} is unknown{cure}; attributes want default()")


def _asked(tree: nodes.Template) -> set[str]:
    """Return the names that are asked for by `is defined`."""
    return {
        test.node.name
        for test in tree.find_all(nodes.Test)
        if test.name in {"defined", "undefined"} and isinstance(test.node, nodes.Name)
    }


def _bare(tree: nodes.Template) -> set[str]:
    """Return the names that are read without a default."""
    safe = {
        id(one.node)
        for one in tree.find_all(nodes.Filter)
        if one.name in {"default", "d"}
    }
    return {
        name.name
        for name in tree.find_all(nodes.Name)
        if name.ctx == "load" and id(name) not in safe
    }


def _images(document: tokens.Document) -> Iterator[errors.Problem]:
    for node in markup.scan(document.text):
        if node.kind is not markup.Kind.OPEN:
            continue
        is_image = node.name in {"img", "mj-image", "mj-carousel-image"}
        if is_image and node.attribute("alt") is None:
            yield document.problem(
                'an image without alt: say what it shows, or alt="" if nothing',
                at=node.start,
            )


def _law(job: compiler.Build) -> Iterator[errors.Problem]:
    """Yield what must stand in a political email (FEC, CAN-SPAM) and does not."""
    assert job.compiled is not None
    own = job.folder.own.name
    parts = {"HTML": job.compiled.html, "text": job.compiled.text}
    names = {part: _loaded(text) for part, text in parts.items()}
    asks = "ask_amounts" in job.compiled.names or any(
        host in link.url
        for link in job.compiled.links
        for host in job.rules.donation_hosts or links.DONATION_HOSTS
    )
    wanted = {
        "unsubscribe_url": "no link to unsubscribe",
        "disclaimer": "no disclaimer (“Paid for by …”)",
        "postal_address": "no postal address",
    } | ({"tax_line": "it asks for money and has no tax line"} if asks else {})
    for name, message in wanted.items():
        for part, found in names.items():
            if name not in found:
                yield errors.Problem(
                    message=f"{part} part: {message}: write {{{{ {name} }}}}", file=own
                )
                break


def _loaded(text: str) -> frozenset[str]:
    return frozenset(meta.find_undeclared_variables(sandbox.TEXT.parse(text)))
