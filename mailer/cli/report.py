"""``mailer report``: what a blast brought, which variant is best, how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailer import runtime
from mailer.cli import context
from mailer.pipeline import reporting
from mailer.pipeline.reporting import rows, words
from mailer.pipeline.reporting.figures import (
    Arm,
    ByProvider,
    Check,
    Health,
    Lift,
    Report,
)

WIDTH = 100  # columns; what fits half a screen beside an inbox
BAR = 8  # columns of a bar that stands for certainty
_PARTS = " ▏▎▍▌▋▊▉█"
_MARKS = {Health.GOOD: "✓", Health.WATCH: "!", Health.BAD: "✗"}
_COLOURS = {Health.GOOD: "green", Health.WATCH: "yellow", Health.BAD: "red"}


@click.command()
@click.argument("blast")
@context.json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print tidy rows.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one page that needs nothing else.",
)
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the comparison as a picture.",
)
@context.pass_context
def report(
    ctx: context.Context,
    blast: str,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
    png: Path | None,
) -> None:
    """Say what BLAST brought, which variant is best, and how sure that is.

    Looking costs nothing: every interval holds however often one looks.  Opens and
    clicks by machines are kept apart, and a test that cannot decide says so.

    \b
    Example: mailer report eoq-final-hours
             mailer report eoq-final-hours --html eoq.html
    """

    async def step(workspace: runtime.Workspace) -> Report:
        return await reporting.report(workspace.pool, blast, now=runtime.now())

    found = ctx.run(step)
    if html is not None:
        from mailer.pipeline.reporting import page  # altair: a second to import

        html.write_text(page.render(found), "utf-8")
        click.echo(f"{html}: written", err=True)
    if png is not None:
        from mailer.pipeline.reporting import charts

        png.write_bytes(charts.picture(found))
        click.echo(f"{png}: written", err=True)
    if as_json:
        context.show_json(found)
    elif as_csv:
        click.echo(rows.csv(found), nl=False)
    elif html is None and png is None:
        show(found, Console())


def show(found: Report, console: Console) -> None:
    """Print *found*, the verdict first, in at most `WIDTH` columns."""
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    head, totals = found.head, found.totals
    console.print(Text(_heading(found), style="dim"))
    console.print()
    console.print(
        Text.assemble(
            (f"{found.verdict.label.upper()}  ", "bold reverse"),
            (" " + found.verdict.sentence, "bold"),
        )
    )
    if totals.attempted:
        console.print(money_table(found))
        console.print(response_table(found.arms))
        if found.lifts:
            console.print(lift_table(found.lifts))
        console.print(provider_table(found.providers))
    console.print(health_table(found.health))
    if totals.attempted:
        console.print(Text(f"\n{_method(found, head.number)}", style="dim"))


def _heading(found: Report) -> str:
    head, totals = found.head, found.totals
    parts = [f"{head.blast} ({head.state})"]
    if head.launched_at is not None:
        parts.append(f"launched {head.launched_at:%Y-%m-%d %H:%M} UTC")
    parts.append(f"{totals.recipients:,} recipients, {totals.sent:,} sent")
    if totals.gifts:
        parts.append(f"{words.dollars(totals.money)} from {totals.donors:,} donors")
    return " · ".join(parts)


def _method(found: Report, seed: int) -> str:
    stages = " x ".join(found.method.stages) or "nothing to score"
    return (
        f"Every share is of recipients attempted. Pooled over variants: {stages}; "
        f"seed {seed}. Brackets are 95% intervals."
    )


def money_table(found: Report) -> Table:
    """Show what each variant is worth, and how sure it is the best."""
    unit = "$" if found.method.score == "dollars" else found.method.score or "$"
    table = _table("Who is ahead" if len(found.arms) > 1 else "Money")
    table.add_column("variant", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in ("donors", "$/1,000 raw", f"{unit}/1,000 pooled [95%]"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("sure it's best", no_wrap=True)
    table.add_column("loss", justify="right", no_wrap=True)
    for arm in found.arms:
        table.add_row(
            _title(arm),
            f"{arm.counts.donors:,}",
            words.dollars(arm.raised.value if arm.raised else None),
            _believed(arm, unit),
            _bar(arm),
            _worth(arm.belief.loss, unit) if arm.belief else words.UNKNOWN,
        )
        if arm.flags:
            table.add_row(Text(f"  {', '.join(arm.flags)}", style="yellow"))
    return table


def response_table(arms: Sequence[Arm]) -> Table:
    """Show how people and machines reacted to each variant."""
    table = _table("Response (people; m: machines, which count for nothing)")
    table.add_column("variant", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in (
        "attempted", "accepted", "opened", "m.", "clicked", "m.", "unsub.", "compl.",
        "gifts", "average", "money",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for arm in arms:
        counts, rates = arm.counts, arm.rates
        table.add_row(
            arm.name,
            f"{counts.attempted:,}",
            _share(rates.accepted),
            _share(rates.opens),
            f"{counts.machine_opens:,}",
            _share(rates.clicks),
            f"{counts.machine_clicks:,}",
            f"{counts.unsubscribes:,}",
            f"{counts.complaints:,}",
            f"{counts.gifts:,}",
            words.dollars(counts.average_gift),
            words.dollars(counts.money),
        )
    return table


def lift_table(lifts: Sequence[Lift]) -> Table:
    """Show how much more each variant brought than the first reference."""
    reference = lifts[0].reference
    kept = sorted(
        (lift for lift in lifts if lift.reference == reference),
        key=lambda lift: -lift.ratio,
    )
    safe = "valid at any look" if kept[0].is_peek_safe else f"final, {kept[0].method}"
    title = f"Lift in {kept[0].measure} against the {reference} ({safe})"
    if reference != "mean of all":
        title = f"Lift in {kept[0].measure} against {reference} ({safe})"
    table = _table(title)
    table.add_column("variant", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("lift", justify="right")
    table.add_column("95% interval", justify="right")
    table.add_column("p", justify="right")
    table.add_column("", width=12)
    # Two questions, two answers: which to send now, and what may be claimed.
    table.caption = (
        "The best one to send needs no proof; a claim that it beats the others does."
    )
    table.caption_justify = "left"
    for lift in kept:
        table.add_row(
            lift.name,
            words.signed(lift.ratio),
            f"{words.signed(lift.low)} to {words.signed(lift.high)}",
            words.p_value(lift.p).removeprefix("p "),
            "proven" if lift.p < 0.05 else "not proven",
        )
    return table


def provider_table(providers: Sequence[ByProvider]) -> Table:
    """Show what became of the messages at each mailbox provider."""
    table = _table("By provider")
    table.add_column("provider", no_wrap=True, ratio=1)
    for name in (
        "recipients", "sent", "deferrals", "bounced", "back", "in doubt", "opened",
        "clicked", "donors",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for one in providers:
        counts = one.counts
        table.add_row(
            one.provider,
            f"{counts.recipients:,}",
            f"{counts.sent:,}",
            f"{counts.deferrals:,}",
            f"{counts.bounced:,}",
            f"{counts.returned:,}",
            f"{counts.in_doubt:,}",
            _share(one.rates.opens),
            _share(one.rates.clicks),
            f"{counts.donors:,}",
        )
    return table


def health_table(checks: Sequence[Check]) -> Table:
    """Say what was looked at, with a mark that needs no colour."""
    table = _table("May these figures be believed?" if checks else "")
    table.show_header = False
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", ratio=1)
    for check in checks:
        table.add_row(
            Text(_MARKS[check.health], style=_COLOURS[check.health]),
            Text(check.name, style="bold"),
            check.sentence,
        )
    return table


def _table(title: str) -> Table:
    return Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=None,
        header_style="dim", pad_edge=False, expand=True,
    )  # fmt: skip


def _title(arm: Arm) -> Text:
    control = " (control)" if arm.is_control else ""
    return Text.assemble((arm.name, "bold"), f" {words.subject(arm.subject)}{control}")


def _share(found: object) -> str:
    value = getattr(found, "value", None)
    return words.percent(value)


def _worth(value: float, unit: str) -> str:
    return words.dollars(value) if unit == "$" else f"{value:.3g}"


def _believed(arm: Arm, unit: str) -> str:
    belief = arm.belief
    if belief is None:
        return words.UNKNOWN
    low, high = _worth(belief.low95, unit), _worth(belief.high95, unit)
    ends = f"[{low.removeprefix('$')}, {high.removeprefix('$')}]"
    return f"{_worth(belief.value, unit)} {ends}"


def _bar(arm: Arm) -> Text:
    """Draw how sure it is that *arm* is the best, and say it."""
    if arm.belief is None:
        return Text(words.UNKNOWN)
    eighths = round(arm.belief.p_best * BAR * 8)
    bar = "█" * (eighths // 8) + _PARTS[eighths % 8].strip()
    return Text.assemble((bar.ljust(BAR), "green"), f" {words.sure(arm.belief.p_best)}")


COMMANDS = {"report": report}
