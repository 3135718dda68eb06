"""What ``mailer provider`` shows: providers, domains, replies, lanes and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mailer.core.exchange import Why
from mailer.pipeline import shaping

if TYPE_CHECKING:
    from mailer.pipeline import resolving

LIMITS = ("connections", "messages", "rate", "ceiling")


def show(table: Table) -> None:
    """Print a table."""
    Console().print(table)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold")
    for name in columns:
        is_number = name in right
        table.add_column(
            name,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number,
        )
    return table


class Bar:
    """A progress bar with rate and time left, where there is a terminal."""

    def __init__(self, noun: str) -> None:
        self._bar = Progress(
            TextColumn(noun),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn(
                "{task.completed:,.0f} of {task.fields[of]:,},"
                " {task.fields[rate]:,.0f}/s"
            ),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.disable = not self._bar.console.is_terminal
        self._task = self._bar.add_task("", total=None, of=0, rate=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Draw that *done* of *total* are done."""
        if self._bar.disable:
            return
        elapsed = self._bar.tasks[0].elapsed or 0
        rate = done / elapsed if elapsed else 0.0
        self._bar.update(self._task, total=total, completed=done, of=total, rate=rate)


# ── Providers ───────────────────────────────────────────────────────────────


def providers(found: Sequence[shaping.Listed]) -> Table:
    """Return the list of providers."""
    numbers = (*LIMITS, "mx", "domains")
    table = _table("provider", *numbers, right=numbers)
    for one in found:
        cells = [_cell(one, key) for key in LIMITS]
        for key in ("mx", "domains"):
            mark = "*" if key in one.changed else ""
            cells.append(f"{len(getattr(one, key)):,}{mark}")
        table.add_row(escape(one.name), *cells)
    return table


def _cell(one: shaping.Listed, key: str) -> str:
    mark = "*" if key in one.changed else ""
    return escape(_words(one.limits.get(key))) + mark


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(one) for one in value) or "as in the settings"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_provider(found: shaping.Shown) -> None:
    """Print all of one provider."""
    one = found.provider
    table = Table(show_header=False, box=None)
    rows: list[tuple[str, str]] = [
        ("provider", one.name),
        ("MX hosts", " ".join(one.mx) or "known by its domains only"),
        ("domains", " ".join(one.domains) or "by MX only"),
        *((key, _words(value)) for key, value in one.limits.items()),
    ]
    for key, value in rows:
        name = {"MX hosts": "mx"}.get(key, key)
        mark = "  (yours)" if name in one.changed else ""
        table.add_row(f"[bold]{key}[/]", escape(value + mark))
    show(table)
    for name, other in found.sources.items():
        differs = [
            f"{key} {_words(value)}"
            for key, value in other.limits.items()
            if value != one.limits[key]
        ]
        click.echo(f"\nFor source {name}: {', '.join(differs)}")
    if not found.rules:
        click.echo("\nNo replies of its own: those of every provider are looked for.")
        return
    click.echo("\nReplies that it is known for, in the order they are tried:")
    replies = _table("rule", "about", "action", "from")
    for rule in found.rules:
        action = rule.action.value
        if rule.wait:
            action += f" {shaping.word(rule.wait)}"
        replies.add_row(
            escape(rule.name), rule.scope.value, action, escape(rule.source)
        )
    show(replies)


def show_meaning(found: shaping.Explained) -> None:
    """Print what a reply means."""
    table = Table(show_header=False, box=None)
    wait = f" for {found.wait}" if found.wait else ""
    if found.rule is None:
        rule = "none: it is no refusal"
    elif found.known:
        rule = f"{found.rule} ({found.source})"
    else:
        rule = f"none; by its code alone: {found.rule}"
    rows = [
        ("reply", found.reply),
        ("said by", f"{found.provider}, at {found.stage}"),
        ("rule", rule),
        ("about", f"{found.about} ({found.scope})"),
        ("action", f"{found.action}{wait}"),
        ("message", found.meaning.message),
        ("lane", found.meaning.lane),
        ("person", found.meaning.person),
    ]
    for key, value in rows:
        if found.rule is not None or key not in {"about", "action"}:
            table.add_row(f"[bold]{key}[/]", escape(value))
    show(table)
    if found.samples:
        click.echo("\nSamples of that rule:" if found.known else "\nIt is like:")
        for one in found.samples:
            whose = "" if found.known else f"{one.rule}: "
            click.echo(f"  {one.ratio:>4.0%}  {whose}{one.sample}")
    for other in found.elsewhere:
        click.echo(f"\nA rule of another provider knows it: {other}")


# ── Domains ─────────────────────────────────────────────────────────────────


def show_domain(found: resolving.Resolved) -> None:
    """Print who receives a domain, and why."""
    if found.takes_none:
        click.echo(f"{found.domain}: nobody receives its mail: {found.said}")
    else:
        click.echo(f"{found.domain}: {found.provider}, for {found.said}")
    if found.trouble:
        click.echo(f"DNS could not say: {found.trouble}")
    if found.hosts:
        table = _table("preference", "MX host", "provider", right=("preference",))
        for one in found.hosts:
            whose = one.provider if one.provider != "other" else "nobody's"
            table.add_row(str(one.preference), escape(one.host or "."), escape(whose))
        show(table)
    if found.hint != found.provider and found.why is not Why.HINT:
        click.echo(f"config/providers.toml hints at {found.hint}.")
    if found.before and found.changed_at:
        click.echo(f"Until {found.changed_at:%Y-%m-%d} it was {found.before}.")
    if found.asked_at and found.good_until:
        click.echo(
            f"As it was asked at {_time(found.asked_at)}; good until "
            f"{_time(found.good_until)}.  --fresh asks now."
        )


def _time(at: Any) -> str:
    return str(at.astimezone().strftime("%Y-%m-%d %H:%M %Z"))


def show_audit(found: resolving.Audit, *, limit: int) -> None:
    """Print a list by provider, and its odd domains."""
    if found.trouble:
        click.echo(
            f"DNS could not be asked: {found.trouble}\n"
            "What is not known yet is counted by its hint."
        )
    numbers = ("people", "domains", "hinted")
    table = _table("provider", *numbers, right=numbers)
    for share in found.providers:
        table.add_row(
            escape(share.provider),
            f"{share.people:,}",
            f"{share.domains:,}",
            f"{share.hinted:,}",
        )
    show(table)
    for title, odd in (
        ("received by another provider than the one hinted", found.moved),
        ("mail for them bounces", found.refusing),
        ("not known: DNS could not say", found.unknown),
    ):
        _show_odd(title, odd, limit=limit)
    click.echo(
        f"\n{_count(found.people, 'person', 'people')} at "
        f"{_count(found.domains, 'domain', 'domains')}; "
        f"{found.cached:,} of them were known."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _show_odd(title: str, odd: Sequence[resolving.Odd], *, limit: int) -> None:
    if not odd:
        return
    people = sum(one.people for one in odd)
    click.echo(
        f"\n{_count(len(odd), 'domain', 'domains')} with "
        f"{_count(people, 'person', 'people')}: {title}"
    )
    table = _table("domain", "people", "hint", "provider", "why", right=("people",))
    for one in odd[:limit]:
        is_known = one.why is not Why.HINT
        table.add_row(
            escape(one.domain),
            f"{one.people:,}",
            escape(one.hint),
            escape(one.provider) if is_known else "",
            escape(one.said),
        )
    if limit:
        show(table)
    if len(odd) > limit:
        click.echo(f"  and {len(odd) - limit:,} more: --limit, or --json for all")


# ── Lanes ───────────────────────────────────────────────────────────────────


def show_lanes(found: Sequence[shaping.Lane]) -> None:
    """Print the lanes as they stand."""
    if not found:
        click.echo("No lanes yet: they are made when a worker starts (mailer run).")
        return
    numbers = ("rate", "connections")
    table = _table("provider", "source", "mode", *numbers, "closed until", "because of",
                   right=numbers)  # fmt: skip
    for one in found:
        until = _time(one.not_before) if one.not_before else ""
        table.add_row(
            escape(one.provider),
            escape(one.source),
            one.mode,
            one.rate,
            f"{one.taken} of {one.connections}",
            until,
            escape(one.reason or ""),
        )
    show(table)
