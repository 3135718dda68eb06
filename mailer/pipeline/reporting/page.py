"""A report as one page that asks nobody for anything: no script, font or picture.

Subjects are written by whoever writes: everything is escaped but our own charts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields

import altair as alt
import jinja2
from markupsafe import Markup

from mailer.core import stats
from mailer.pipeline.reporting import charts, words
from mailer.pipeline.reporting.comparing import MEAN
from mailer.pipeline.reporting.figures import Counts, Listed, Rate, Report

_ENDS = (
    ("sent", "sent", "the provider said yes"),
    ("bounced", "bounced", "the provider said no"),
    ("in_doubt", "in doubt", "no reply to the last dot; never sent again by itself"),
    ("suppressed", "suppressed", "must not be mailed"),
    ("held_out", "held out", "the control group that gets nothing"),
    ("expired", "expired", "it would have been too late"),
    ("cancelled", "cancelled", "a person stopped it"),
    ("failed", "failed", "could not be made into a message"),
    ("waiting", "waiting", "not served yet"),
)
_AT_PROVIDERS = (
    ("bounced", "Bounced"),
    ("opens", "Opened by people"),
    ("clicks", "Clicked by people"),
    ("donors", "Gave"),
)


def render(report: Report) -> str:
    """Return *report* as an HTML document."""
    template = _environment().get_template("report.html")
    reference = report.lifts[0].reference if report.lifts else MEAN
    return template.render(
        r=report,
        w=words,
        head=report.head,
        totals=report.totals,
        titles=words.titles(report.arms),
        several=len(report.arms) > 1,
        unit="$" if report.method.score == "dollars" else report.method.score,
        worth=_worth(report),
        reference=reference,
        lifts={one.name: one for one in report.lifts if one.reference == reference},
        comparison=_both(charts.comparison, report, "comparison"),
        series=_both(charts.over_time, report, "series"),
        panels=_panels(report),
        counted=[one.name for one in fields(Counts) if one.name != "money"],
        ends=_ends(report.totals),
        colours=charts.DARK,
        confidence=f"{100 * (1 - stats.ALPHA):.0f}%",
    )


def index(blasts: Sequence[Listed]) -> str:
    """Return the page that leads to the report of each blast."""
    template = _environment().get_template("index.html")
    return template.render(blasts=blasts, colours={})


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _worth(report: Report) -> Callable[[float], str]:
    """Return how to say a believed figure in the unit of the score."""
    return words.dollars if report.method.score == "dollars" else "{:.3g}".format


def _both(
    draw: Callable[..., alt.LayerChart | None],
    report: Report,
    name: str,
) -> Markup | None:
    """Return a chart for a desk and for a telephone, or None where there is none."""
    return _sizes(
        lambda width: draw(report, width=width),
        name=name,
        label=f"Chart. {report.verdict.sentence}",
        wide=charts.WIDE,
    )


def _sizes(
    draw: Callable[[int], alt.LayerChart | None], *, name: str, label: str, wide: int
) -> Markup | None:
    drawn = []
    for size, width in (("wide", wide), ("narrow", charts.NARROW)):
        chart = draw(width)
        if chart is None:
            return None
        inner = charts.svg(chart, prefix=f"{name}-{size}", label=label)
        drawn.append(f'<div class="{size}">{inner}</div>')
    # vl-convert escapes the text that it draws, `svg` the label
    return Markup("\n".join(drawn))  # noqa: S704 - our own SVG


def _panels(report: Report) -> list[tuple[str, Markup]]:
    """Return a small chart for each share that is worth comparing by provider."""
    if len(report.providers) < 2:
        return []
    found = []
    for name, title in _AT_PROVIDERS:
        pairs = [(one.provider, getattr(one.rates, name)) for one in report.providers]
        if not any(rate is not None and rate.events for _, rate in pairs):
            continue
        drawn = _sizes(
            functools.partial(_at_providers, pairs),
            name=f"provider-{name}",
            label=f"{title}, by provider",
            wide=charts.HALF,
        )
        if drawn is not None:
            found.append((title, drawn))
    return found


def _at_providers(
    pairs: list[tuple[str, Rate | None]], width: int
) -> alt.LayerChart | None:
    return charts.at_providers(pairs, width=width)


def _ends(totals: Counts) -> list[tuple[str, str, int, str]]:
    """Return each end of a delivery, how many came to it, and what it means."""
    return [
        (label, meaning, getattr(totals, name), words.percent(share))
        for name, label, meaning in _ENDS
        if getattr(totals, name)
        for share in [getattr(totals, name) / max(totals.recipients, 1)]
    ]
