"""What every command is given: the workspace, who acts, how to show."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click

from mailer import errors, runtime

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

NUMBER = click.IntRange(1, 2**63 - 1)  # of a row: a bigint
SEED = click.IntRange(-(2**63), 2**63 - 1)  # a bigint
LIMIT = click.IntRange(1, 1_000_000)  # rows that a person may ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The options that stand before the command."""

    root: Path
    given_actor: str | None
    debug: bool

    @property
    def actor(self) -> str:
        """Return who acts: ``--as``, else the system's user name."""
        return self.given_actor or getpass.getuser()

    def run(
        self,
        step: Callable[[runtime.Workspace], Awaitable[T]],
        *,
        needs_database: bool = True,
        is_long: bool = False,
        is_brief: bool = False,
    ) -> T:
        """Open the workspace, run *step* on it, and return what it returns.

        What runs long, runs on uvloop: it loads slower and is twice as fast.  What
        asks the database only brief things gives up soon on one that hangs.
        """
        patience = runtime.BRIEF if is_brief else runtime.PATIENT

        async def opened() -> T:
            async with runtime.opened(
                self.root.resolve(), needs_database=needs_database, patience=patience
            ) as workspace:
                return await step(workspace)

        return run(opened(), is_long=is_long)

    def reach(self, step: Callable[[str], Awaitable[T]]) -> T:
        """Run *step* on the address of the database, whatever is in it."""

        async def reached() -> T:
            async with runtime.reached(self.root.resolve()) as url:
                return await step(url)

        return run(reached())


def run(main: Coroutine[Any, Any, T], *, is_long: bool = False) -> T:
    """Run *main*; of many errors at once, raise the first."""
    try:
        with asyncio.Runner(loop_factory=_fast_loop if is_long else None) as runner:
            return runner.run(main)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _fast_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for every system
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error of a task group: a person reads one line."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def domain(text: str) -> str:
    """Read an option that is a domain; return it as A-labels (RFC 5890)."""
    from mailer.core import subscriber  # email-validator is not for every command

    try:
        found = subscriber.normalise(f"postmaster@{text.removesuffix('.')}").domain
    except errors.Invalid:
        found = ""
    if not found or "@" in text:
        message = f"{errors.quote(text)} is no domain: write one like example.org"
        raise click.BadParameter(message)
    return found


def plain(value: Any) -> Any:
    """Turn records, instants, money and enums into what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            name: plain(getattr(value, name)) for name in value.__dataclass_fields__
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a NamedTuple
        return plain(value._asdict())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    return value


def show_json(value: Any) -> None:
    """Print *value* as JSON, two spaces deep."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


pass_context = click.make_pass_decorator(Context)
