"""A segment as one English sentence, the same in the CLI and in reports."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import assert_never

from mailer.core.segment import tree
from mailer.core.segment.tree import Bound, Condition, Measure, Op, Window

_WORDS = {
    Op.IS: "exactly", Op.LT: "less than", Op.LTE: "at most",
    Op.GT: "more than", Op.GTE: "at least",
}  # fmt: skip
_DAY_WORDS = {
    Op.IS: "on", Op.LT: "before", Op.LTE: "on or before",
    Op.GT: "after", Op.GTE: "on or after",
}  # fmt: skip
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_JOINED = {tree.All: (" and ", "are anyone"), tree.Some: (" or ", "are nobody")}
_SHOWN = 8  # values of a long list


def describe(segment: tree.Segment) -> str:
    """Say who is in *segment*."""
    if segment.name == tree.EVERYONE:
        return "Everyone."
    when = segment.when
    if when == tree.All(parts=()):
        text = "Everyone"
    elif isinstance(when, tree.All):
        text = "People who " + "; and who ".join(
            _phrase(part, outer=True) for part in when.parts
        )
    else:
        text = f"People who {_phrase(when, outer=True)}"
    if segment.excludes:
        text += f"; but nobody of {_listed(segment.excludes, 'or')}"
    return f"{text}."


def _phrase(condition: Condition, *, outer: bool = False) -> str:
    """Say what holds for a person, after "people who"."""
    match condition:
        case tree.All(parts=parts) | tree.Some(parts=parts):
            by, none = _JOINED[type(condition)]
            text = by.join(_phrase(part) for part in parts) or none
            is_plain = outer and isinstance(condition, tree.Some)
            return text if is_plain or len(parts) < 2 else f"({text})"
        case tree.Not(part=part):
            return _phrase_not(part)
        case tree.Donated():
            return f"gave{_gifts(condition)}"
        case tree.Engaged(reaction=reaction):
            return f"{reaction.value}{_blasts(condition)}{_machines(condition)}"
        case tree.Received():
            return f"were sent{_blasts(condition)}"
        case tree.SignedUp(window=window):
            return f"signed up{_time(window)}"
        case tree.Within(segment=name):
            return f"are of {name}"
        case tree.Random(percent=percent, above=above, salt=salt):
            after = f" after the first {above} %" if above else ""
            return f"fall into {percent} % by lot{after} ({salt})"
        case tree.Known(field=field):
            return f"have a known {_field(field)}"
        case _:
            return f"have {_field(condition.field)} {_test(condition)}"


def _phrase_not(part: Condition) -> str:
    match part:
        case tree.Not(part=twice):
            return _phrase(twice)
        case tree.All() | tree.Some():
            text = _phrase(part)
            return f"are not those who {text if text.startswith('(') else f'({text})'}"
        case tree.OneOf() | tree.Starts() | tree.Contains() | tree.Compared():
            return f"do not have {_field(part.field)} {_test(part)}"
        case _:
            return _did_not(part)


def _did_not(
    part: tree.Donated
    | tree.Engaged
    | tree.Received
    | tree.SignedUp
    | tree.Within
    | tree.Known
    | tree.Random,
) -> str:
    match part:
        case tree.Donated():
            return (
                f"never gave{_gifts(part)}"
                if part == tree.Donated()
                else (f"did not give{_gifts(part)}")
            )
        case tree.Engaged(reaction=reaction):
            verb = reaction.value.removesuffix("ed")
            return f"did not {verb}{_blasts(part)}{_machines(part)}"
        case tree.Received():
            return f"were not sent{_blasts(part)}"
        case tree.SignedUp(window=window):
            return f"did not sign up{_time(window)}"
        case tree.Within(segment=name):
            return f"are not of {name}"
        case tree.Known(field=field):
            return f"have no known {_field(field)}"
        case tree.Random():
            return f"do not {_phrase(part)}"
        case _:
            assert_never(part)


def _field(name: str) -> str:
    return name.removeprefix(tree.ATTRIBUTE).replace("_", " ")


def _test(test: tree.OneOf | tree.Starts | tree.Contains | tree.Compared) -> str:
    match test:
        case tree.OneOf(values=values):
            return _listed(values, "or")
        case tree.Starts(text=text):
            return f'beginning with "{text}"'
        case tree.Contains(text=text):
            return f'containing "{text}"'
        case tree.Compared(op=op, value=Decimal() as number):
            return f"{_WORDS[op]} {number:,}"
        case tree.Compared(op=op, value=day):
            return f"{_DAY_WORDS[op]} {day}"
        case _:
            assert_never(test)


def _gifts(donated: tree.Donated) -> str:
    said = [
        f"{_WORDS[bound.op]} {_measure(measure, bound.value)}"
        for measure, bound in donated.measures
    ]
    if donated.recurring is not None:
        said.append("every month" if donated.recurring else "but not every month")
    text = " and ".join(said)
    return (f" {text}" if text else "") + _time(donated.window)


def _measure(measure: Measure, value: Decimal) -> str:
    match measure:
        case Measure.COUNT:
            return f"{value:,} time{'' if value == 1 else 's'}"
        case Measure.SUM:
            return f"{value:,} in all"
        case Measure.HIGHEST:
            return f"{value:,} at once"
        case Measure.LATEST:
            return f"{value:,} the last time"
        case _:
            assert_never(measure)


def _blasts(condition: tree.Engaged | tree.Received) -> str:
    text = ""
    if condition.counts:
        bounds = " and ".join(_count(bound) for bound in condition.counts)
        text = f" {bounds}"
    if condition.blasts:
        text += f" {'of' if text else 'the blast'} {_listed(condition.blasts, 'or')}"
    elif not text:
        text = " a blast"
    return text + _time(condition.window)


def _count(bound: Bound) -> str:
    return f"{_WORDS[bound.op]} {bound.value:,} blast{'' if bound.value == 1 else 's'}"


def _machines(engaged: tree.Engaged) -> str:
    return "" if engaged.human else " (by a person or a machine)"


def _time(window: Window) -> str:
    text = ""
    match window.since:
        case timedelta() as length:
            text += f" in the last {_length(length).removeprefix('1 ')}"
        case datetime() as instant:
            text += f" since {_instant(instant)}"
        case None:
            pass
    if window.before is not None:
        text += " and" if text else ""
        match window.before:
            case timedelta() as length:
                text += f" more than {_length(length)} ago"
            case datetime() as instant:
                text += f" before {_instant(instant)}"
    return text


def _length(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"


def _instant(instant: date) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _listed(values: tuple[str, ...], word: str) -> str:
    """Write ``WI, MI or PA``, the end of a long list as its number."""
    shown = list(values[:_SHOWN])
    if len(values) > _SHOWN:
        shown[-1] = f"{len(values) - _SHOWN + 1} more"
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}"
