"""The pictures of a report: altair to SVG and PNG by vl-convert, without a browser.

Every colour is one of `Ink`: the page turns each into its counterpart when it is
dark, by the attribute that it is written into.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import altair as alt

from mailer.pipeline.reporting import words
from mailer.pipeline.reporting.figures import THOUSAND, Arm, Rate, Report

INK: Final = "#1f2430"
QUIET: Final = "#667085"
FAINT: Final = "#d5dae3"
BELIEF: Final = "#2456b8"
RAW: Final = "#b4540a"
PAPER: Final = "#ffffff"
LINES: Final = ("#2456b8", "#b4540a", "#17807e", "#8a3ea8", "#a3293d")
DASHES: Final = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4))

# What the page makes of each colour when it is dark.
DARK: Final = {
    INK: "#e8ebf2", QUIET: "#9aa4b8", FAINT: "#343c4c", PAPER: "#12151c",
    "#2456b8": "#84adff", "#b4540a": "#ffab6b", "#17807e": "#5ad0cd",
    "#8a3ea8": "#dd9bf5", "#a3293d": "#ff92a3",
}  # fmt: skip

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
WIDE: Final = 940  # pixels
HALF: Final = 450
NARROW: Final = 330
ROW: Final = 30  # pixels of a variant in the forest
WIDE_RANGE: Final = 5  # highest over lowest; above it marks go by powers of ten
TOP: Final = 5  # variants with a colour of their own; the rest are grey

Row = dict[str, Any]


def comparison(report: Report, *, width: int = WIDE) -> alt.LayerChart | None:
    """Draw what is believed of each variant beside what it raised, on a log axis."""
    arms = [arm for arm in report.arms if arm.belief is not None]
    if not arms or report.method.score == "":
        return None
    wide = width > NARROW
    rows = [_belief(arm, report, wide=wide) for arm in arms]
    ends = [row[key] for row in rows for key in ("low95", "high95", "raw") if row[key]]
    ticks = nice_ticks(min(ends), max(ends), few=not wide)
    dollars = report.method.score == "dollars"
    y = alt.Y(
        "title:N",
        sort=[row["title"] for row in rows],
        title=None,
        axis=alt.Axis(labelLimit=280 if wide else 96, labelPadding=8, domain=False),
    )
    base = alt.Chart(_inline(rows)).encode(y=y)
    axis = alt.Axis(
        values=ticks, format="$,~r" if dollars else "~g", grid=True, domain=False,
        labelFlush=False,
    )  # fmt: skip
    scale = alt.Scale(type="log", domain=_domain(ends), nice=False)
    unit = "Dollars" if dollars else report.method.score.capitalize()
    title = f"{unit} per 1,000 recipients" + (" (log scale)" if wide else "")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=scale, axis=axis, title=title)

    marks = [
        base.mark_rule(strokeWidth=1.5, color=BELIEF).encode(
            x=x("low95"), x2="high95:Q"
        ),
        base.mark_rule(strokeWidth=10, color=BELIEF, opacity=0.3).encode(
            x=x("low80"), x2="high80:Q"
        ),
        base.mark_rule(strokeWidth=2, color=RAW, strokeDash=[2, 2]).encode(
            x=x("raw"), x2="value:Q"
        ),
        base.mark_point(
            size=75, stroke=RAW, fill=PAPER, strokeWidth=2, shape="diamond", opacity=1
        ).encode(x=x("raw")),
        base.mark_point(
            size=95, fill=BELIEF, stroke=PAPER, strokeWidth=1.5, opacity=1
        ).encode(x=x("value")),
    ]
    if dollars and report.raised is not None:
        mean = alt.Chart(_inline([{"mean": report.raised.value}]))
        marks.insert(
            0, mean.mark_rule(color=QUIET, strokeDash=[5, 4]).encode(x=x("mean"))
        )
    return _sized(marks, width=width, height=len(rows) * ROW + 50)


def _belief(arm: Arm, report: Report, *, wide: bool) -> Row:
    belief = arm.belief
    assert belief is not None, "only variants with figures are drawn"
    title = f"{arm.name} · {words.subject(arm.subject)}" if wide else arm.name
    return {
        "title": title,
        "value": belief.value,
        "low80": belief.low80,
        "high80": belief.high80,
        "low95": belief.low95,
        "high95": belief.high95,
        "raw": _raw(arm, report),
    }


def _raw(arm: Arm, report: Report) -> float | None:
    """Return what was counted per 1,000; None where a log axis cannot show it."""
    if report.method.score == "dollars":
        return arm.raised.value if arm.raised and arm.raised.value > 0 else None
    counts = arm.counts
    events = counts.donors if report.method.score == "donors" else counts.clicks
    return THOUSAND * events / counts.attempted if events > 0 else None


def over_time(report: Report, *, width: int = WIDE) -> alt.LayerChart | None:
    """Draw what had been raised per 1,000 by each hour."""
    if len({hour.hours for hour in report.hours}) < 2 or report.totals.money <= 0:
        return None
    names = [arm.name for arm in report.arms][:TOP]
    rows = [
        {"hours": 0, "value": 0.0, "name": name}
        for name in {hour.variant for hour in report.hours}
    ] + [
        {"hours": hour.hours, "value": hour.per_thousand, "name": hour.variant}
        for hour in report.hours
        if hour.per_thousand is not None
    ]
    last = max(hour.hours for hour in report.hours)
    x = alt.X(
        "hours:Q",
        title="Hours since the launch",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(tickCount=min(last, 12 if width > NARROW else 6), grid=False),
    )
    y = alt.Y(
        "value:Q",
        title="Raised per 1,000",
        axis=alt.Axis(format="$,~r", tickCount=5, domain=False),
    )
    rest = alt.Chart(_inline([r for r in rows if r["name"] not in names]))
    best = alt.Chart(_inline([r for r in rows if r["name"] in names]))
    legend = alt.Legend(
        orient="top", title=None, symbolType="stroke", symbolSize=320,
        columns=0 if width > NARROW else 2, labelLimit=140,
    )  # fmt: skip
    colour = alt.Scale(domain=names, range=list(LINES[: len(names)]))
    dash = alt.Scale(domain=names, range=[list(one) for one in DASHES[: len(names)]])
    return _sized(
        [
            rest.mark_line(color=FAINT, strokeWidth=1.5).encode(
                x=x, y=y, detail="name:N"
            ),
            best.mark_line(strokeWidth=2.5).encode(
                x=x,
                y=y,
                color=alt.Color("name:N", scale=colour, legend=legend, sort=names),
                strokeDash=alt.StrokeDash("name:N", scale=dash, legend=legend),
            ),
        ],
        width=width,
        height=300 if width > NARROW else 240,
    )


def at_providers(
    found: Sequence[tuple[str, Rate | None]], *, width: int = HALF
) -> alt.LayerChart | None:
    """Draw one share at each provider, with its interval."""
    rows: list[Row] = [
        {"provider": name, "value": one.value, "low": one.low, "high": one.high}
        for name, one in found
        if one is not None
    ]
    if not rows:
        return None
    most = max(*(one.high for _, one in found if one is not None), 1e-6) * 1.05
    base = alt.Chart(_inline(rows)).encode(
        y=alt.Y(
            "provider:N",
            sort=[row["provider"] for row in rows],
            title=None,
            axis=alt.Axis(labelLimit=110, labelPadding=6, domain=False),
        )
    )
    small = most < 0.02
    axis = alt.Axis(
        format=".2~%" if small else ".0~%", tickCount=4, domain=False, title=None
    )

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", axis=axis, scale=alt.Scale(domain=[0, most]))

    return _sized(
        [
            base.mark_rule(color=BELIEF, strokeWidth=2).encode(x=x("low"), x2="high:Q"),
            base.mark_point(size=55, fill=BELIEF, stroke=PAPER, opacity=1).encode(
                x=x("value")
            ),
        ],
        width=width,
        height=len(rows) * 22 + 34,
    )


def svg(chart: alt.LayerChart, *, prefix: str, label: str) -> str:
    """Return *chart* as SVG for a page: scalable, named, its ids its own."""
    out = io.StringIO()
    chart.save(out, format="svg")
    text = out.getvalue()
    text = re.sub(r"(id=\"|url\(#|href=\"#)", rf"\g<1>{prefix}-", text)
    safe = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{safe}" ', 1)


def picture(report: Report) -> bytes:
    """Return the comparison, or the series of a blast with one variant, as PNG."""
    chart = comparison(report) or over_time(report) or _empty()
    out = io.BytesIO()
    title = alt.TitleParams(_lines(report.verdict.sentence), anchor="start", offset=14)
    chart.properties(title=title, background=PAPER).save(
        out, format="png", scale_factor=2
    )
    return out.getvalue()


def _empty() -> alt.LayerChart:
    nothing = alt.Chart(_inline([{}])).mark_point(opacity=0)
    return _sized([nothing], width=WIDE, height=60)


def _lines(sentence: str, *, width: int = 110) -> list[str]:
    """Break a sentence into lines for a title."""
    lines = [""]
    for word in sentence.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _domain(ends: Iterable[float]) -> list[float]:
    low, high = min(ends), max(ends)
    return [low / 1.06, high * 1.06]


def nice_ticks(low: float, high: float, *, few: bool = False) -> list[float]:
    """Return round numbers between *low* and *high* for a log axis."""
    wanted = 3 if few else 6
    if high / low > WIDE_RANGE:
        steps = (1, 3) if few else (1, 2, 5)
        marks = [step * 10.0**power for power in range(-9, 11) for step in steps]
    else:
        size = 10 ** math.floor(math.log10((high - low) / wanted or 1))
        step = next(
            size * by for by in (1, 2, 5, 10) if size * by * wanted > high - low
        )
        first = math.ceil(low / step)
        marks = [round(step * (first + at), 9) for at in range(wanted + 2)]
    return [mark for mark in marks if low <= mark <= high] or [low, high]


def _inline(rows: Sequence[Row]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _sized(marks: Sequence[alt.Chart], *, width: int, height: int) -> alt.LayerChart:
    """Lay *marks* over each other in a frame, in the house's colours."""
    chart = alt.LayerChart(
        layer=list(marks),
        width=width,
        height=height,
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        background="transparent",
    )
    axis = alt.AxisConfig(
        labelColor=QUIET, titleColor=QUIET, labelFontSize=12, titleFontSize=12,
        titleFontWeight="normal", gridColor=FAINT, tickColor=FAINT, domainColor=QUIET,
        ticks=False, labelPadding=6,
    )  # fmt: skip
    chart.config = alt.Config(
        font=FONT,
        padding=4,
        view=alt.ViewConfig(stroke=None),
        axis=axis,
        axisY=alt.AxisConfig(labelColor=INK),
        legend=alt.LegendConfig(labelColor=INK, labelFontSize=12),
        title=alt.TitleConfig(
            fontSize=15, fontWeight="normal", color=INK, lineHeight=20
        ),
    )
    return chart
