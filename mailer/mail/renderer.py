"""Render a compiled template for one person after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, cast
from urllib.parse import quote

import jinja2
import markupsafe
from jinja2 import meta, nodes
from jinja2.runtime import Context

from mailer import errors
from mailer.mail import sandbox, span
from mailer.mail.compiled import Compiled, Rendered

_Part = Callable[[Mapping[str, object]], str]
_FAILURES = (jinja2.TemplateError, TypeError, ValueError, ArithmeticError)


class Renderer:
    """A compiled template, ready for one person after the other."""

    def __init__(self, compiled: Compiled, *, is_for_mail: bool = False) -> None:
        """Prepare *compiled*; for mail, lines of the HTML end in CRLF."""
        self.compiled = compiled
        self.names = _names(compiled)
        self._subject = _part(compiled.subject, sandbox.TEXT)
        self._preheader = _part(compiled.preheader, sandbox.TEXT)
        self._html, self._values_are = _html(compiled.html, is_for_mail=is_for_mail)
        self._text = _part(compiled.text, sandbox.TEXT)
        self._urls = {link.index: link.url for link in compiled.links}
        self.static = frozenset(one.index for one in compiled.links if not one.values)
        self._values = {
            link.index: tuple(_evaluator(value) for value in link.values)
            for link in compiled.links
            if link.values
        }

    def values(self, context: Mapping[str, object]) -> Mapping[int, tuple[str, ...]]:
        """Return the values of each link for a person: empty tuples for static links.

        A link whose values the person does not have is left out: it must not be in
        the context of `render`, which then fails if the template shows it after all.
        """
        return dict.fromkeys(sorted(self.static), ()) | self.own_values(context)

    def own_values(self, context: Mapping[str, object]) -> dict[int, tuple[str, ...]]:
        """Return the values of each link that has some, as `values` does."""
        found: dict[int, Any] = {}
        for index, evaluators in self._values.items():
            values = tuple([evaluate(context) for evaluate in evaluators])
            if None not in values:
                found[index] = values
        return found

    def destination(
        self,
        index: int,
        values: Sequence[str],
        *,
        url: str | None = None,
        name: str = "preview",
    ) -> str:
        """Return where a link leads for a preview: nobody is named in its refcode.

        *url* is its address since it was corrected, *name* what the refcode says.
        """
        url = (url or self._urls[index]).replace(
            "{refcode2}", f"{index}_{name}".rstrip("_")
        )
        for number, value in enumerate(values):
            url = url.replace(f"{{v{number}}}", quote(value, safe=""))
        return url

    def render(self, context: Mapping[str, object]) -> Rendered:
        """Render for one person.  Raises Invalid that names what is undefined."""
        watch = self._values_are
        watch.are_odd = watch.limit < 0
        try:
            return Rendered(
                subject=self._subject(context),
                preheader=self._preheader(context),
                html=self._html(context),
                text=_without_gaps(self._text(context)),
                is_fit=not watch.are_odd,
            )
        except _FAILURES as error:
            raise _told(error) from error

    def subject(self, context: Mapping[str, object]) -> str:
        """Render the subject alone.  Raises Invalid that names what is undefined."""
        try:
            return self._subject(context)
        except _FAILURES as error:
            raise _told(error) from error


def _names(compiled: Compiled) -> frozenset[str]:
    """Return the names that the parts look up, with a default or without."""
    parts = (compiled.subject, compiled.preheader, compiled.html, compiled.text)
    values = ["{{ " + value + " }}" for one in compiled.links for value in one.values]
    trees = [sandbox.TEXT.parse(part) for part in (*parts, *values)]
    return frozenset[str]().union(*map(meta.find_undeclared_variables, trees))


def _told(error: Exception) -> errors.Invalid:
    """Say of a failed rendering what is missing."""
    if isinstance(error, jinja2.UndefinedError):
        return errors.Invalid(f"{error}: give it a default()")
    return errors.Invalid(f"can't be rendered: {error}")


def _without_gaps(text: str) -> str:
    while "\n\n\n" in text:  # where conditions left nothing
        text = text.replace("\n\n\n", "\n\n")
    return text.strip("\n") + "\n"


_PLAIN = re.compile(r"[^\x00-\x1f\x7f-\U0010ffff&<>'\"]*")


class _Values:
    """Escapes what is merged into HTML, and notes what is not as usual."""

    __slots__ = ("are_odd", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.are_odd = True

    def escape(self, value: object) -> str:
        """Return *value* as it stands in HTML.  Raises UndefinedError."""
        if (
            type(value) is str
            and len(value) <= self.limit
            and _PLAIN.fullmatch(value)
            and value[:1] != "."
        ):
            return value
        text = str(markupsafe.escape(value))
        if not text.isascii():
            text = text.encode("ascii", "xmlcharrefreplace").decode("ascii")
        if len(text) > self.limit or text[:1] == "." or not text.isprintable():
            self.are_odd = True
        return text


def _html(text: str, *, is_for_mail: bool) -> tuple[_Part, _Values]:
    """Return what renders the HTML, and what knows whether that is fit for the wire."""
    if not is_for_mail:
        return _part(text, sandbox.HTML), _Values(-1)
    values = _Values(span.limit(sandbox.WIRE.parse(text), sandbox.WIRE))
    return _part(text, sandbox.WIRE, escape=values.escape), values


def _part(
    text: str,
    environment: sandbox.Sandbox,
    *,
    escape: Callable[[object], str] | None = None,
) -> _Part:
    """Return what renders one part; a part without Jinja is what it is."""
    if "{" not in text and escape is None:
        return lambda _: text
    root = environment.from_string(text).root_render_func
    if escape is not None:
        # What Jinja has compiled calls it by this name for each value that is shown.
        names = cast("FunctionType", root).__globals__
        assert "escape" in names
        names["escape"] = escape

    def render(context: Mapping[str, object]) -> str:
        # As the parent, what we are given is not copied, and nothing writes to it.
        parent = context if isinstance(context, dict) else dict(context)
        return "".join(root(Context(environment, parent, None, {})))

    return render


def _evaluator(expression: str) -> Callable[[Mapping[str, object]], str | None]:
    """Return what evaluates *expression*, or says None when it is undefined.

    Names and items of lists, which most are, go without Jinja.
    """
    tree = sandbox.TEXT.parse("{{ " + expression + " }}").body[0]
    assert isinstance(tree, nodes.Output)
    match tree.nodes:
        case [nodes.Name(name=name)]:
            return lambda context: _text(context.get(name))
        case [
            nodes.Getitem(node=nodes.Name(name=name), arg=nodes.Const(value=int(at)))
        ]:
            return lambda context: _text(_item(context.get(name), at))
        case _:
            return _general(expression)


def _general(expression: str) -> Callable[[Mapping[str, object]], str | None]:
    render = _part("{{ " + expression + " }}", sandbox.TEXT)

    def evaluate(context: Mapping[str, object]) -> str | None:
        try:
            return render(context)
        except jinja2.UndefinedError:
            return None
        except _FAILURES as error:
            raise errors.Invalid(f"link with {expression}: {error}") from error

    return evaluate


def _item(items: Any, at: int) -> Any:
    return items[at] if items is not None and at < len(items) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
