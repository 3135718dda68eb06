"""``mailer blast rehearse``: a whole blast against the simulated providers."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

import click
import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mailer import runtime
from mailer.cli.context import Context, json_option, pass_context, show_json
from mailer.pipeline import rehearsing

MAX_SPEED = 100_000
REPLIES = 5  # shown
NAMED = 10  # people shown for whom no message can be made
WIDTH = 70  # characters of a reply


@click.command()
@click.argument("name")
@click.option(
    "--speed",
    type=click.FloatRange(1, MAX_SPEED),
    metavar="N",
    help="So many times as fast as real; else what this machine can do.",
)
@click.option("--full-speed", is_flag=True, help="As fast as it goes, without limits.")
@click.option(
    "--scenario",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="Who plays what: as of `mailer sink`.",
)
@json_option
@pass_context
def rehearse(
    ctx: Context,
    *,
    name: str,
    speed: float | None,
    full_speed: bool,
    scenario: str,
    as_json: bool,
) -> None:
    """Run a whole blast against simulated providers; nothing is sent outside.

    Everybody's message is made and sent by SMTP, in time-lapse, to providers that are
    played on this machine.  The blast stays what it is: nobody counts as mailed, and no
    report, segment or lane learns of it.  Says who cannot be written to, how large the
    messages are, and how the forecast compares with what happened.

    \b
    Example: mailer blast rehearse eoq-final-hours
             mailer blast rehearse eoq-final-hours --full-speed --json
    """
    if speed is not None and full_speed:
        message = "--speed or --full-speed, not both"
        raise click.UsageError(message)
    if not ctx.debug:
        quiet()
    from mailer.runtime import rehearsing as stage
    from mailer.runtime.running import stopping

    wish = stage.Wish(scenario=scenario, speed=speed, is_full=full_speed)

    async def step(workspace: runtime.Workspace) -> rehearsing.Report | None:
        with _Bar(is_shown=sys.stderr.isatty() and not as_json) as bar:
            async with stopping() as stop:
                return await stage.rehearse(
                    workspace, name, wish=wish, actor=ctx.actor, stop=stop, tell=bar
                )

    report = ctx.run(step, is_long=True)
    if report is None:
        raise click.Abort
    if as_json:
        show_json(report)
    else:
        _show(report)
    if not report.is_good:
        raise SystemExit(1)


def quiet() -> None:
    """Keep to ourselves what workers log: that providers push back is the play."""
    level = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=level)


class _Bar:
    """What is being done, with rate and time left, where there is a terminal."""

    def __init__(self, *, is_shown: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description:28}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not is_shown,
        )
        self._doing = ""
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, seen: object) -> None:
        """Show a stage of the rehearsal."""
        doing = str(getattr(seen, "doing", ""))
        if doing != self._doing:
            self._doing = doing
            self._bar.reset(self._task, description=doing, total=None)
        self._bar.update(
            self._task,
            completed=getattr(seen, "done", 0),
            total=getattr(seen, "total", None),
        )


def _show(report: rehearsing.Report) -> None:
    console = Console()
    for line in _summary(report):
        click.echo(line)
    click.echo()
    console.print(_table(report))
    click.echo()
    for title, lines in (
        ("sizes", _sizes(report)),
        ("forecast", _forecast(report)),
        ("no message", _failures(report)),
        ("replies", _replies(report)),
    ):
        for number, line in enumerate(lines):
            click.echo(f"{'' if number else title:12}{line}".rstrip())


def _summary(report: rehearsing.Report) -> list[str]:
    how = "at full speed, without limits"
    if report.speed is not None:
        how = f"{report.speed:,.0f} times as fast as real"
    if report.speed == 1:
        how = "in real time"
    tried = sum(one.sent + one.bounced for one in report.providers)
    rate = tried / report.seconds if report.seconds else 0.0
    content = "exactly what was approved"
    if not report.is_approved:
        content = "as its files are now, which nobody has approved"
    lines = [
        f"Rehearsed {report.blast}, {how}: {report.people:,} people in "
        f"{span(report.seconds)}, {rate:,.0f}/s.",
        f"Content: {content}.  Nothing left this machine, and nobody counts as mailed.",
    ]
    if report.stands is not None:
        lines.append(f"It did not come to its end: {report.stands}")
    return lines


def _table(report: rehearsing.Report) -> Table:
    table = Table(box=None, header_style="bold")
    names = ["people", "sent", "deferrals", "bounced", "in doubt", "no message"]
    names += ["expired", "put off"]
    rows = [
        (
            one.people, one.sent, one.deferrals, one.bounced, one.in_doubt, one.failed,
            one.expired, one.open,
        )
        for one in report.providers
    ]  # fmt: skip
    shown = [
        number
        for number in range(len(names))
        if number < 4 or any(row[number] for row in rows)
    ]
    is_timed = report.forecast is not None
    table.add_column("provider")
    for number in shown:
        table.add_column(names[number], justify="right")
    if is_timed:
        for heading in ("took", "forecast", "true"):
            table.add_column(heading, justify="right")
    for one, row in zip(report.providers, rows, strict=True):
        cells = [f"{row[number]:,}" for number in shown]
        if is_timed:
            cells += [span(one.took), _foreseen(one), _mark(one)]
        table.add_row(one.provider, *cells)
    return table


def _foreseen(one: rehearsing.Compared) -> str:
    if one.forecast is None:
        return ""
    low, high = (span(end) or "never" for end in one.forecast)
    same_unit = low.split()[-1] == high.split()[-1]
    first = low.rpartition(" ")[0] if same_unit and low.count(" ") == 1 else low
    return low if low == high else f"{first} - {high}"


def _mark(one: rehearsing.Compared) -> str:
    return {None: "", True: "yes", False: "NO"}[one.came_true]


def _sizes(report: rehearsing.Report) -> list[str]:
    found = report.sizes
    if found is None:
        return []
    return [
        f"{found.messages:,} messages; half are up to {_kb(found.median)}, "
        f"95 % up to {_kb(found.most)}",
        f"from {_kb(found.smallest)} to {_kb(found.largest)}, which {found.whose} gets",
    ]


def _kb(size: int) -> str:
    return f"{size / 1000:,.1f} kB"


def _forecast(report: rehearsing.Report) -> list[str]:
    if report.forecast is None:
        return []
    judged = [one for one in report.providers if one.came_true is not None]
    right = sum(one.came_true is True for one in judged)
    lines = [f"came true for {right} of {len(judged)} providers, ± 10 %"]
    if any(one.came_true is False and not one.deferrals for one in judged):
        lines.append("this machine may be too slow for that: try a lower --speed")
    if report.forecast.is_range:
        lines.append("a range: what these providers bear is not learned yet")
    lines.append("of this blast alone; what others have queued comes on top")
    return lines


def _failures(report: rehearsing.Report) -> list[str]:
    if not report.failed:
        return []
    lines = [
        f"can be made for {report.failed:,} people; all of them: {report.failures_file}"
    ]
    lines += [
        f"  {one.email} ({one.variant}): {one.reason}"
        for one in report.failures[:NAMED]
    ]
    return lines


def _replies(report: rehearsing.Report) -> list[str]:
    return [
        f"{one.count:,} x {one.provider} {one.state}: {one.reply[:WIDTH]}"
        for one in report.replies[:REPLIES]
    ]


def span(seconds: float | None) -> str:
    """Say how long something takes."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"
