"""Jinja as a template may use it: values, a few filters, no way to the machine.

Two walls.  `inspect` refuses, before anything runs, every construct that is not on
the list: no calls, no attributes but those of `loop`, no macros, no imports.  The
environment refuses the same again while it renders.  What is left over, long loops
and large strings, dies in the child process of `mail.confine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as THEIRS
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as THEIR_TESTS

from mailer.mail import filters

Newline = Literal["\n", "\r\n"]

LOOP = frozenset({"index", "index0", "first", "last", "length", "revindex"})
LARGEST = 10**18  # no sum of money is larger; `*` and `**` of more are bombs

_TAKEN = (
    "default", "d", "upper", "lower", "title", "capitalize", "trim", "truncate",
    "length", "count", "join", "first", "last", "list", "sort", "abs", "min", "max",
)  # fmt: skip
FILTERS = {name: THEIRS[name] for name in _TAKEN} | filters.OURS
TESTS = {
    name: THEIR_TESTS[name]
    for name in (
        "defined", "undefined", "none", "number", "string", "in", "even", "odd",
        "divisibleby", "eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=",
        ">", ">=", "equalto", "greaterthan", "lessthan", "sequence", "sameas",
    )
}  # fmt: skip

_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const,
    nodes.If, nodes.For, nodes.Assign, nodes.Filter, nodes.Test, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add,
    nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Concat,
    nodes.CondExpr, nodes.List, nodes.Tuple, nodes.Getitem, nodes.Slice,
    nodes.Getattr, nodes.Keyword,
)  # fmt: skip


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of every part of a message."""

    # Constant folding leaves these alone, so that call_binop sees every one.
    intercepted_binops = frozenset({"**", "*", "%"})

    def __init__(self, *, autoescape: bool, newline: Newline = "\n") -> None:
        super().__init__(
            autoescape=autoescape,
            newline_sequence=newline,
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            cache_size=0,
        )
        self.globals.clear()
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        """Multiply numbers of a sane size; repeat and format no strings."""
        for side in (left, right):
            if isinstance(side, (str, bytes, list, tuple)):
                message = f"{operator} wants numbers, not text or lists"
                raise SecurityError(message)
        if operator == "**":
            message = "** is not offered in templates"
            raise SecurityError(message)
        if operator == "*" and max(abs(left), abs(right)) > LARGEST:
            message = f"* of a number above {LARGEST:.0e}"
            raise SecurityError(message)
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute of `loop`; nothing else has any."""
        if isinstance(obj, LoopContext) and attribute in LOOP:
            return getattr(obj, attribute)
        if isinstance(obj, jinja2.Undefined):
            str(obj)  # raises, naming what is undefined; it has a __class__, too
        message = f"attribute {attribute!r} is not offered in templates"
        raise SecurityError(message)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item or a slice of a list, undefined when it is too short."""
        if isinstance(obj, (list, tuple, str)) and isinstance(argument, (int, slice)):
            try:
                return obj[argument]
            except IndexError:
                return self.undefined(
                    f"a list of {len(obj)} has no item {argument}", obj=obj
                )
        if isinstance(obj, jinja2.Undefined):
            str(obj)
        message = "only lists have items in templates"
        raise SecurityError(message)

    def call(*args: Any, **_: Any) -> NoReturn:
        """Refuse: nothing that a template sees is to be called."""
        message = "calls are not offered in templates"
        raise SecurityError(message)


HTML = Sandbox(autoescape=True)
WIRE = Sandbox(autoescape=True, newline="\r\n")  # HTML with lines as mail has them
TEXT = Sandbox(autoescape=False)


def inspect(tree: nodes.Node) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) for each construct that a template may not use."""
    for node in [tree, *tree.find_all(nodes.Node)]:
        message = _refusal(node)
        if message:
            yield node.lineno, message


def _refusal(node: nodes.Node) -> str | None:
    if not isinstance(node, _NODES):
        if isinstance(node, nodes.Call):
            return "calls are not offered: write a value or a filter"
        return f"{type(node).__name__.lower()} is not offered in templates"
    match node:
        case nodes.Filter(name=name) if name not in FILTERS:
            return f"there is no filter {name}: there are {', '.join(sorted(FILTERS))}"
        case nodes.Test(name=name) if name not in TESTS:
            return f"there is no test {name}: there are {', '.join(sorted(TESTS))}"
        case nodes.Getattr(attr=attr):
            return _attribute_refusal(node, attr)
        case nodes.Getitem(arg=nodes.Const(value=str(key))):
            return f"[{key!r}]: values have no keys; each has a name of its own"
        case nodes.Name(name=name) if name.startswith("_"):
            return f"no name begins with an underscore: {name}"
        case nodes.For() | nodes.Assign():
            return _target_refusal(node)
        case _:
            return None


def _attribute_refusal(node: nodes.Getattr, attr: str) -> str | None:
    if isinstance(node.node, nodes.Name) and node.node.name == "loop" and attr in LOOP:
        return None
    return f".{attr}: values have no attributes; each has a name of its own"


def _target_refusal(node: nodes.For | nodes.Assign) -> str | None:
    if isinstance(node, nodes.For) and node.recursive:
        return "a loop can't be recursive"
    if not isinstance(node.target, nodes.Name):
        return "loops and set take one name: {% for amount in ask_amounts %}"
    return None
