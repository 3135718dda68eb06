"""A report as tidy rows: one for each metric, variant and segment, for other programs.

Numbers are as exact as they are known; what is unknown is an empty cell, never a 0.
"""

from __future__ import annotations

import csv as csv_writer
import io
from collections.abc import Iterator
from typing import Final

from mailer.pipeline.reporting.figures import THOUSAND, Arm, Counts, Rate, Report, rate

COLUMNS: Final = (
    "blast", "as_of", "hours_since_send", "maturity", "maturity_source", "metric",
    "segment_key", "segment", "variant", "variant_name", "subject", "is_control",
    "n_assigned", "n_attempted", "n_accepted", "clicks", "k", "s1", "s2", "mean",
    "mean_low", "mean_high", "reference", "lift", "lift_low", "lift_high", "p",
    "adjustment", "pooled_mean", "pooled_low80", "pooled_high80", "pooled_low95",
    "pooled_high95", "p_best", "expected_loss", "label", "flags", "seed",
    "method_version",
)  # fmt: skip

Cell = str | int | float | None
METRICS: Final = (
    "donors", "clicks", "opens", "unsubscribes", "complaints", "bounced",
    "returned",
)  # fmt: skip


def csv(report: Report) -> str:
    """Return the rows as CSV with a header."""
    out = io.StringIO()
    writer = csv_writer.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(tidy(report))
    return out.getvalue()


def tidy(report: Report) -> Iterator[dict[str, Cell]]:
    """Return one row for each metric of each variant and of each provider."""
    for arm in report.arms:
        row = {**_common(report), **_arm(arm), "segment_key": "all", "segment": "all"}
        yield {**row, **_money(report, arm)}
        for metric in METRICS:
            yield {**row, "metric": metric, **_rate(arm.counts, metric)}
    for one in report.providers:
        row = {
            **_common(report),
            **_counts(one.counts),
            "segment_key": "provider",
            "segment": one.provider,
        }
        for metric in METRICS:
            yield {**row, "metric": metric, **_rate(one.counts, metric)}


def _common(report: Report) -> dict[str, Cell]:
    head = report.head
    return {
        "blast": head.blast,
        "as_of": head.as_of.isoformat(),
        "hours_since_send": head.hours,
        "maturity": head.maturity,
        "maturity_source": "assumed",
        "label": report.verdict.label.value,
        "seed": report.method.seed,
        "method_version": report.method.version,
    }


def _arm(arm: Arm) -> dict[str, Cell]:
    return {
        "variant": arm.position,
        "variant_name": arm.name,
        "subject": _harmless(arm.subject),
        "is_control": str(arm.is_control).lower(),
        "flags": "; ".join(arm.flags),
        **_counts(arm.counts),
    }


def _counts(counts: Counts) -> dict[str, Cell]:
    return {
        "n_assigned": counts.recipients,
        "n_attempted": counts.attempted,
        "n_accepted": counts.sent,
        "clicks": counts.clicks,
    }


def _rate(counts: Counts, metric: str) -> dict[str, Cell]:
    events: int = getattr(counts, metric)
    found: Rate | None = rate(events, counts.attempted)
    if found is None:
        return {"k": events}
    return {
        "k": events,
        "mean": found.value,
        "mean_low": found.low,
        "mean_high": found.high,
    }


def _money(report: Report, arm: Arm) -> dict[str, Cell]:
    """Return the revenue of *arm* in dollars per recipient, as in every column."""
    row: dict[str, Cell] = {
        "metric": "revenue",
        "k": arm.counts.donors,
        "s1": str(arm.counts.money),
        "s2": arm.squares,
    }
    if arm.raised is not None:
        row |= {
            "mean": arm.raised.value / THOUSAND,
            "mean_low": arm.raised.low / THOUSAND,
            "mean_high": arm.raised.high / THOUSAND,
        }
    for lift in report.lifts:
        if lift.name == arm.name:
            row |= {
                "reference": lift.reference,
                "lift": lift.ratio,
                "lift_low": lift.low,
                "lift_high": lift.high,
                "p": lift.p,
                "adjustment": lift.method,
            }
            break
    if arm.belief is not None:
        belief = arm.belief
        row |= {
            "pooled_mean": belief.value / THOUSAND,
            "pooled_low80": belief.low80 / THOUSAND,
            "pooled_high80": belief.high80 / THOUSAND,
            "pooled_low95": belief.low95 / THOUSAND,
            "pooled_high95": belief.high95 / THOUSAND,
            "p_best": belief.p_best,
            "expected_loss": belief.loss / THOUSAND,
        }
    return row


def _harmless(text: str) -> str:
    """Keep a spreadsheet from reading a subject as a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
