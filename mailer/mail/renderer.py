"""Render a compiled template for one person after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jinja2
from jinja2 import nodes

from mailer import errors
from mailer.mail import sandbox
from mailer.mail.compiled import Compiled, Rendered

_FAILURES = (jinja2.TemplateError, TypeError, ValueError, ArithmeticError)


class Renderer:
    """A compiled template, ready for one person after the other."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._subject = sandbox.TEXT.from_string(compiled.subject)
        self._preheader = sandbox.TEXT.from_string(compiled.preheader)
        self._html = sandbox.HTML.from_string(compiled.html)
        self._text = sandbox.TEXT.from_string(compiled.text)
        self._urls = {link.index: link.url for link in compiled.links}
        self._values = {
            link.index: tuple(_evaluator(value) for value in link.values)
            for link in compiled.links
        }

    def values(self, context: Mapping[str, object]) -> Mapping[int, tuple[str, ...]]:
        """Return the values of each link for a person: empty tuples for static links.

        A link whose values the person does not have is left out: it must not be in
        the context of `render`, which then fails if the template shows it after all.
        """
        found: dict[int, tuple[str, ...]] = {}
        for index, evaluators in self._values.items():
            try:
                found[index] = tuple([evaluate(context) for evaluate in evaluators])
            except jinja2.UndefinedError:
                continue
            except _FAILURES as error:
                raise errors.Invalid(f"link_{index}: {error}") from error
        return found

    def destination(self, index: int, values: Sequence[str]) -> str:
        """Return where a link leads for a preview: nobody is named in its refcode."""
        url = self._urls[index].replace("{refcode2}", f"{index}_preview")
        for number, value in enumerate(values):
            url = url.replace(f"{{v{number}}}", quote(value, safe=""))
        return url

    def render(self, context: Mapping[str, object]) -> Rendered:
        """Render for one person.  Raises Invalid that names what is undefined."""
        try:
            text = self._text.render(context)
            return Rendered(
                subject=self._subject.render(context),
                preheader=self._preheader.render(context),
                html=self._html.render(context),
                text=_without_gaps(text),
            )
        except jinja2.UndefinedError as error:
            raise errors.Invalid(f"{error}: give it a default()") from error
        except _FAILURES as error:
            raise errors.Invalid(f"can't be rendered: {error}") from error


def _without_gaps(text: str) -> str:
    while "\n\n\n" in text:  # where conditions left nothing
        text = text.replace("\n\n\n", "\n\n")
    return text.strip("\n") + "\n"


def _evaluator(expression: str) -> Callable[[Mapping[str, object]], str]:
    """Return what evaluates *expression*: names and items of lists without Jinja."""
    tree = sandbox.TEXT.parse("{{ " + expression + " }}").body[0]
    assert isinstance(tree, nodes.Output)
    match tree.nodes:
        case [nodes.Name(name=name)]:
            return lambda context: _text_of(context.get(name), name)
        case [
            nodes.Getitem(node=nodes.Name(name=name), arg=nodes.Const(value=int(at)))
        ]:
            return lambda context: _text_of(_item(context.get(name), at), name)
        case _:
            pass
    compiled = sandbox.TEXT.compile_expression(expression, undefined_to_none=False)
    return lambda context: _text_of(compiled(**context), expression)


def _item(items: Any, at: int) -> Any:
    return items[at] if items is not None and at < len(items) else None


def _text_of(value: Any, name: str) -> str:
    if value is None:
        message = f"{name!r} is undefined"
        raise jinja2.UndefinedError(message)
    return str(value)
