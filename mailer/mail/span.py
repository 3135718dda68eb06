"""How a template's text falls into lines, told from its tree before values are known.

A line of mail has at most 998 octets (RFC 5321 §4.5.3.1.6), and one that begins with
a dot gets a second one on the wire (§4.5.2).  Looking for both in each message costs
more than filling the template; here it is worked out once how long a merged value may
be so that neither can happen, and only who gets longer ones is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import jinja2
from jinja2 import nodes
from markupsafe import escape

from mailer.mail import header

LIMITS = (400, 300, 200, 150, 120, 100, 80)  # octets of a value; links have 100
NEVER = -(10**9)  # the length of what cannot be
ENDLESS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of text that is known but for its values; lengths are the longest.

    Two of them after each other are one again: `head` and `tail` meet in a line.
    """

    whole: int = 0  # as a part of one line; NEVER: it holds an end of a line
    head: int = NEVER  # before the first end of a line
    tail: int = NEVER  # after the last
    inner: int = NEVER  # of the lines between
    may_be_empty: bool = True
    begins_dot: bool = False  # once what may be empty is
    ends_line: bool = False
    has_dot: bool = False  # at the beginning of a line

    def __add__(self, after: Span) -> Span:
        return Span(
            whole=_sum(self.whole, after.whole),
            head=max(self.head, _sum(self.whole, after.head)),
            tail=max(after.tail, _sum(self.tail, after.whole)),
            inner=max(self.inner, after.inner, _sum(self.tail, after.head)),
            may_be_empty=self.may_be_empty and after.may_be_empty,
            begins_dot=self.begins_dot or (self.may_be_empty and after.begins_dot),
            ends_line=after.ends_line or (after.may_be_empty and self.ends_line),
            has_dot=(
                self.has_dot or after.has_dot or (self.ends_line and after.begins_dot)
            ),
        )

    def __or__(self, other: Span) -> Span:
        return Span(
            whole=max(self.whole, other.whole),
            head=max(self.head, other.head),
            tail=max(self.tail, other.tail),
            inner=max(self.inner, other.inner),
            may_be_empty=self.may_be_empty or other.may_be_empty,
            begins_dot=self.begins_dot or other.begins_dot,
            ends_line=self.ends_line or other.ends_line,
            has_dot=self.has_dot or other.has_dot,
        )

    @property
    def longest(self) -> int:
        """Return the length of the longest line."""
        return max(self.whole, self.head, self.tail, self.inner)


NOTHING = Span()


class _Unknown(Exception):
    """Nothing can be said of what stands in the template."""


def limit(tree: nodes.Template, environment: jinja2.Environment) -> int:
    """Return how long a value may be so that every line is fit; -1: none is short.

    Values hold no end of a line and begin with no dot.
    """
    context = nodes.EvalContext(environment)
    for length in LIMITS:
        try:
            found = _body(tree.body, context, length)
        except _Unknown:
            return -1
        if found.has_dot or found.begins_dot:
            return -1
        if found.longest <= header.LINE:
            return length
    return -1


def _body(body: Iterable[nodes.Node], context: nodes.EvalContext, length: int) -> Span:
    found = NOTHING
    for node in body:
        found += _node(node, context, length)
    return found


def _node(node: nodes.Node, context: nodes.EvalContext, length: int) -> Span:
    match node:
        case nodes.Output():
            found = NOTHING
            for one in node.nodes:
                found += _output(one, context, length)
            return found
        case nodes.If():
            found = _body(node.body, context, length)
            for other in node.elif_:
                found |= _body(other.body, context, length)
            return found | _body(node.else_, context, length)
        case nodes.For():
            again = _repeated(_body(node.body, context, length))
            return again | _body(node.else_, context, length)
        case nodes.Assign():
            return NOTHING
        case _:
            raise _Unknown


def _output(node: nodes.Expr, context: nodes.EvalContext, length: int) -> Span:
    """Return the span of what is shown: a text, or a value of at most *length*."""
    try:
        text = node.as_const(context)
    except Exception:  # noqa: BLE001 -- as Jinja's own compiler does: a value, then
        return Span(whole=length)
    return _text(text if isinstance(node, nodes.TemplateData) else escape(text))


def _text(text: Any) -> Span:
    """Return the span of what is always the same."""
    ascii = str(text).encode("ascii", "xmlcharrefreplace").decode("ascii")
    first, *others = ascii.replace("\r\n", "\n").split("\n")
    if "\0" in ascii or "\r" in "".join((first, *others)):
        raise _Unknown
    begun = Span(
        whole=len(first), may_be_empty=not ascii, begins_dot=first.startswith(".")
    )
    if not others:
        return begun
    return replace(
        begun,
        whole=NEVER,
        head=len(first),
        tail=len(others[-1]),
        inner=max(map(len, others[:-1]), default=NEVER),
        ends_line=not others[-1],
        has_dot=any(one.startswith(".") for one in others),
    )


def _repeated(body: Span) -> Span:
    """Return the span of a loop: its body any number of times."""
    if body.whole > 0:  # nothing says how often
        body = replace(body, whole=ENDLESS)
    return NOTHING | body | (body + body)


def _sum(one: int, other: int) -> int:
    return NEVER if NEVER in (one, other) else one + other
