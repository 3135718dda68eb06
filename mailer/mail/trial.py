"""Render a compiled template for people who do not exist, before any who do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mailer import errors
from mailer.mail import compiler, lint, sample
from mailer.mail.compiled import Rendered
from mailer.mail.renderer import Renderer

CLIPPED = 102 * 1024  # bytes of HTML that Gmail shows; the rest hides behind a link
CLOSE = 90 * 1024
SUBJECT = 70  # characters; phones show 40 to 50
LARGEST = 4 * 1024 * 1024  # bytes; no person's message is that long, but a bomb is


def tried(job: compiler.Build) -> Iterator[errors.Problem]:
    """Yield what is wrong with the template once it is rendered.

    One that the sample donor can't be rendered with is no longer compiled.
    """
    assert job.compiled is not None
    renderer = Renderer(job.compiled)
    own = job.folder.own.name
    invented = dict.fromkeys(job.compiled.names - sample.SOMETIMES, "x")
    try:
        letter = rendered(renderer, {**invented, **sample.SHARED, **sample.DONOR})
    except errors.Invalid as error:
        job.compiled = None
        yield errors.Problem(message=f"{error}, for the sample donor", file=own)
        return
    yield from _sizes(job, letter)


def lacking(job: compiler.Build) -> Iterator[errors.Problem]:
    """Yield what somebody who has only signed up would not get."""
    assert job.compiled is not None
    own = job.folder.own.name
    try:
        rendered(Renderer(job.compiled), {**sample.SHARED, **sample.STRANGER})
    except errors.Invalid as error:
        yield lint.warning(f"{error}, for somebody who only signed up", file=own)


def rendered(renderer: Renderer, known: Mapping[str, object]) -> Rendered:
    """Render for the person *known*, each link leading where it says.

    Raises Invalid when it can't be rendered, or is far too large.
    """
    context = dict(known)
    for index, values in renderer.values(context).items():
        context[f"link_{index}"] = renderer.destination(index, values)
    letter = renderer.render(context)
    if len(letter.html) + len(letter.text) > LARGEST:
        raise errors.Invalid("renders to more than 4 MB")
    return letter


def _sizes(job: compiler.Build, letter: Rendered) -> Iterator[errors.Problem]:
    size = len(letter.html.encode("ascii", "xmlcharrefreplace"))
    own, shown = job.folder.own.name, job.folder.show("meta.toml")
    if size >= CLIPPED:
        message = f"{size // 1024} KB of HTML: Gmail clips it at 102 KB"
        yield errors.Problem(message=message, file=own)
    elif size >= CLOSE:
        yield lint.warning(f"{size // 1024} KB of HTML: Gmail clips at 102", file=own)
    if len(letter.subject) > SUBJECT:
        yield lint.warning(
            f"the subject has {len(letter.subject)} characters: "
            f"phones show about 45, and {SUBJECT} is much anywhere",
            file=shown,
        )
