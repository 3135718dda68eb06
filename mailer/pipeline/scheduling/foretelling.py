"""What a forecast says to a person: a sentence, a table, and why a blast is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

from mailer.core.forecast import Forecast, Outlook
from mailer.pipeline.scheduling.finding import Finding

SHORT = timedelta(minutes=15)  # what takes no longer is said with its seconds
SHOWN = 6  # providers named in a line
RANGE = "a range: what these providers bear is not learned yet"
HEADINGS = ("provider", "people", "waits for", "pace", "done at", "late")


def finding(found: Forecast) -> Finding:
    """Say in a preflight when the blast would be done."""
    lines = [sentence(found)]
    if found.providers:
        lines += table(found)
    if found.is_range:
        lines.append(RANGE)
    return Finding(
        name="forecast",
        is_ok=found.is_sure,
        is_warning=not found.is_sure,  # `schedule` refuses, and can be told
        text="\n".join(lines),
    )


def sentence(found: Forecast) -> str:
    """Say in a line when a blast is done, and who does not get it in time."""
    people = sum(one.people for one in found.providers)
    if not people:
        return "nobody is left to send to"
    text = f"done {when(found.earliest, found.latest, found)}"
    if found.expires_at is None or found.is_sure:
        return text
    until = moment(found.expires_at, found)
    late = count(found.late_at_best, found.late_at_worst)
    text += f"; {late} of {people:,} not by {until}, when it expires"
    return f"{text}; {start_by(found)}"


def refusal(name: str, found: Forecast) -> str:
    """Say why a blast is not scheduled, with the numbers and what would be right."""
    assert found.expires_at is not None
    people = sum(one.people for one in found.providers)
    until = moment(found.expires_at, found)
    late = count(found.late_at_best, found.late_at_worst)
    worst = sorted(found.providers, key=lambda one: -one.late_at_best)
    parts = [
        f"{one.provider} {count(one.late_at_best, one.late_at_worst)} of "
        f"{one.people:,}, done {when(one.earliest, one.latest, found)}"
        for one in worst
        if one.late_at_best
    ]
    cure = start_by(found) if found.start_by_at_best else "give it a later expires_at"
    more = f"; and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return (
        f"blast {name} cannot be done by {until}, when it expires: {late} of "
        f"{people:,} would not get it ({'; '.join(parts[:SHOWN])}{more}); "
        f"{cure}, or add --anyway"
    )


def start_by(found: Forecast) -> str:
    """Say the latest start that would be in time."""
    sure, best = found.start_by, found.start_by_at_best
    if best is None:
        return "starting now is too late"
    if sure is None:
        return f"start it by {moment(best, found)}, which is enough only at best"
    at = moment(sure, found)
    if not found.is_range or sure == best:
        return f"start it by {at}"
    return f"start it by {at}, or at best by {moment(best, found)}"


def count(low: int, high: int) -> str:
    """Say a number, or the two between which it is."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def when(earliest: datetime | None, latest: datetime | None, found: Forecast) -> str:
    """Say a moment, or the two between which it is."""
    if earliest is None:
        return "never at this pace"
    first = moment(earliest, found)
    if latest is None:
        return f"at {first} at best"
    last = moment(latest, found)
    return f"at {first}" if first == last else f"between {first} and {last}"


def times(start: datetime, end: datetime) -> str:
    """Say when a blast starts and ends, with seconds where that is soon after."""
    clock = "%Y-%m-%d %H:%M:%S %Z" if end - start < SHORT else "%Y-%m-%d %H:%M %Z"
    return f"starts {start:{clock}}, nothing after {end:{clock}}"


def moment(at: datetime, found: Forecast) -> str:
    """Say when in local time: without the day if it is that of the start."""
    here, start = at.astimezone(), found.starts_at.astimezone()
    end = found.latest or found.earliest
    is_short = end is not None and end - found.starts_at < SHORT
    clock = "%H:%M:%S" if is_short else "%H:%M"
    if here.date() == start.date():
        return f"{here:{clock}}"
    return f"{here:%b %d {clock}}"


def pace(one: Outlook) -> str:
    """Say how fast a provider's lanes are: now, and what they may grow to."""
    low, high = one.rate * 60, one.best_rate * 60
    if max(low, high) < 1:
        return f"{low * 60:,.0f}/h" if low == high else f"{low * 60:,.0f}+/h"
    return f"{low:,.0f}/min" if low == high else f"{low:,.0f}-{high:,.0f}/min"


def cells(one: Outlook, found: Forecast) -> tuple[str, ...]:
    """Return a provider's row, in the order of `HEADINGS`."""
    late = count(one.late_at_best, one.late_at_worst)
    return (
        one.provider,
        f"{one.people:,}",
        f"{one.ahead:,}" if one.ahead else "",
        pace(one),
        _done(one, found),
        "" if late == "0" else late.replace(" to ", " - "),
    )


def done_at(found: Forecast) -> dict[str, str]:
    """Return when each provider will be done, in short."""
    return {one.provider: _done(one, found) for one in found.providers}


def _done(one: Outlook, found: Forecast) -> str:
    if one.earliest is None:
        return "never"
    text = when(one.earliest, one.latest, found)
    return text.removeprefix("at ").removeprefix("between ").replace(" and ", " - ")


def table(found: Forecast) -> list[str]:
    """Return the providers as lines of text, the last to be done first."""
    rows = [cells(one, found) for one in in_order(found)]
    shown = [
        number
        for number, heading in enumerate(HEADINGS)
        if any(row[number] for row in rows)
    ]
    widths = {
        number: max(len(row[number]) for row in [HEADINGS, *rows]) for number in shown
    }
    return [
        "  ".join(
            row[number].ljust(widths[number])
            if number == 0
            else row[number].rjust(widths[number])
            for number in shown
        ).rstrip()
        for row in [HEADINGS, *rows]
    ]


def in_order(found: Forecast) -> list[Outlook]:
    """Return the providers, who is done last first."""
    return sorted(
        found.providers,
        key=lambda one: (
            one.latest is not None,
            -(one.latest.timestamp() if one.latest else 0.0),
            one.provider,
        ),
    )
