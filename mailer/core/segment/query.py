"""A segment as one SQL predicate: constants of ours, and values as parameters.

It stands over `FROM`: ``s`` is the subscriber, ``g`` what they gave, or nulls.
It is never null: where something is unknown a comparison is false, so that
``NOT`` is a true complement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, assert_never

from mailer.core.segment import tree
from mailer.core.segment.tree import Bound, Condition, Measure, Op, Reaction, Window

FROM = "subscriber s LEFT JOIN giving g ON g.subscriber_id = s.id"
BUCKETS = 10_000  # a hundredth of a percent

_OPS = {Op.IS: "=", Op.LT: "<", Op.LTE: "<=", Op.GT: ">", Op.GTE: ">="}
_PARAMETER = re.compile(r"\$(\d+)")
# PostgreSQL would fail on a cast of other text: CASE keeps it away.
_NUMBER = "^[+-]?[0-9]{1,15}([.][0-9]{1,10})?$"
_DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"

_TOTALS = {
    Measure.COUNT: "COALESCE(g.count, 0)",
    Measure.SUM: "COALESCE(g.sum, 0)",
    Measure.HIGHEST: "g.highest",
    Measure.LATEST: "g.latest",
}
_AGGREGATES = {
    Measure.COUNT: "count(*)",
    Measure.SUM: "COALESCE(sum(gift.amount), 0)",
    Measure.HIGHEST: "max(gift.amount)",
    Measure.LATEST: "NULL::numeric",  # the grammar refuses it in a window
}
_GIFTS = (
    "(SELECT d.at, d.amount - d.refunded AS amount FROM donation d"
    " WHERE d.subscriber_id = s.id AND d.amount > d.refunded"
    " UNION ALL SELECT g.imported_latest_at, g.imported_latest"
    " WHERE g.imported_latest_at IS NOT NULL) gift"
)
_TIMES = {
    Reaction.OPENED: (
        ("opened_at", "last_opened_at"),
        ("machine_opened_at", "last_machine_opened_at"),
    ),
    Reaction.CLICKED: (
        ("clicked_at", "last_clicked_at"),
        ("machine_clicked_at", "last_machine_clicked_at"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """SQL that is true or false for a row of `FROM`, and its parameters."""

    sql: str
    parameters: tuple[Any, ...]

    def moved(self, by: int) -> Predicate:
        """Return it with ``$1`` as ``$(1 + by)``: behind the parameters of others."""
        sql = _PARAMETER.sub(lambda match: f"${int(match[1]) + by}", self.sql)
        return Predicate(sql=sql, parameters=self.parameters)


def predicate(
    segment: tree.Segment, others: Mapping[str, tree.Segment], *, offset: int = 0
) -> Predicate:
    """Compile *segment*; *others* holds those that it may refer to.

    *offset* parameters of the statement come before.  Raises Invalid for a
    reference that leads nowhere or in a circle.
    """
    known = {**others, segment.name: segment}
    tree.closure([segment.name], known)
    return _compiled(segment.condition, known, offset=offset)


def audience(
    name: str,
    segments: Mapping[str, tree.Segment],
    *,
    exclude: Iterable[str] = (),
    offset: int = 0,
) -> Predicate:
    """Compile: in the segment *name*, and in none of those to *exclude*."""
    out = tuple(exclude)
    tree.closure([name, *out], segments)
    parts = (tree.Within(segment=name), *map(tree.outside, out))
    return _compiled(tree.All(parts=parts), segments, offset=offset)


def union(
    names: Iterable[str], segments: Mapping[str, tree.Segment], *, offset: int = 0
) -> Predicate:
    """Compile: in at least one of the segments *names*."""
    parts = tuple(tree.Within(segment=name) for name in names)
    tree.closure([part.segment for part in parts], segments)
    return _compiled(tree.Some(parts=parts), segments, offset=offset)


def _compiled(
    condition: Condition, segments: Mapping[str, tree.Segment], *, offset: int
) -> Predicate:
    writer = _Writer(segments)
    sql = writer.condition(condition)
    return Predicate(sql=sql, parameters=tuple(writer.parameters)).moved(offset)


class _Writer:
    """The parameters so far."""

    def __init__(self, others: Mapping[str, tree.Segment]) -> None:
        self.others = others
        self.parameters: list[Any] = []
        self.known: list[tuple[Any, str]] = []

    def value(self, value: Any, kind: str) -> str:
        """Return what stands for *value* in the text; the same for the same again."""
        if (value, kind) not in self.known:
            self.known.append((value, kind))
            self.parameters.append(value)
        return f"${self.known.index((value, kind)) + 1}::{kind}"

    def condition(self, condition: Condition) -> str:
        match condition:
            case tree.All(parts=parts):
                return self.joined(parts, " AND ", empty="true")
            case tree.Some(parts=parts):
                return self.joined(parts, " OR ", empty="false")
            case tree.Not(part=part):
                return f"NOT {self.condition(part)}"
            case tree.Within(segment=name):
                return self.condition(tree.get(name, self.others).condition)
            case tree.Donated():
                return self.donated(condition)
            case tree.Engaged():
                return self.engaged(condition)
            case tree.Received():
                return self.received(condition)
            case tree.SignedUp(window=window):
                return f"({self.during('s.signed_up_at', window)})"
            case tree.Random():
                return self.random(condition)
            case _:
                return f"COALESCE({self.field(condition)}, false)"

    def joined(self, parts: tuple[Condition, ...], by: str, *, empty: str) -> str:
        return f"({by.join(self.condition(part) for part in parts) or empty})"

    def field(
        self,
        condition: tree.OneOf
        | tree.Known
        | tree.Starts
        | tree.Contains
        | tree.Compared,
    ) -> str:
        if condition.field.startswith(tree.ATTRIBUTE):
            name = condition.field.removeprefix(tree.ATTRIBUTE)
            column = f"(s.attributes ->> {self.value(name, 'text')})"
        else:
            column = f"s.{tree.FIELDS[tree.FIELDS.index(condition.field)]}"
        match condition:
            case tree.OneOf(values=values):
                return f"{column} = ANY({self.value(list(values), 'text[]')})"
            case tree.Known():
                return f"{column} <> ''"
            case tree.Starts(text=text):
                return f"starts_with({column}, {self.value(text, 'text')})"
            case tree.Contains(text=text):
                return f"strpos({column}, {self.value(text, 'text')}) > 0"
            case tree.Compared(op=op, value=Decimal() as number):
                value = self.value(number, "numeric")
                cast = f"CASE WHEN {column} ~ '{_NUMBER}' THEN {column}::numeric END"
                return f"{cast} {_OPS[op]} {value}"
            case tree.Compared(op=op, value=day):
                value = self.value(str(day), "text")
                text = f"CASE WHEN {column} ~ '{_DATE}' THEN left({column}, 10) END"
                return f'{text} COLLATE "C" {_OPS[op]} {value}'
            case _:
                assert_never(condition)

    def donated(self, donated: tree.Donated) -> str:
        parts = []
        if donated.window.is_always:
            parts += [
                f"COALESCE({_TOTALS[measure]} {self.bound(bound)}, false)"
                for measure, bound in donated.measures
            ]
            if not parts and donated.recurring is not True:
                parts.append("COALESCE(g.count > 0, false)")
        elif donated.measures:
            parts += [
                self.gifts(measure, bound, donated.window)
                for measure, bound in donated.measures
            ]
        elif donated.window.before is None:
            latest = self.during("g.latest_at", donated.window)
            parts.append(f"COALESCE({latest}, false)")
        else:
            gift = self.during("gift.at", donated.window)
            parts.append(f"EXISTS (SELECT 1 FROM {_GIFTS} WHERE {gift})")
        if donated.recurring is not None:
            is_not = "" if donated.recurring else "NOT "
            parts.append(f"{is_not}COALESCE(g.recurring, false)")
        return f"({' AND '.join(parts)})"

    def gifts(self, measure: Measure, bound: Bound, window: Window) -> str:
        during = self.during("gift.at", window)
        found = f"(SELECT {_AGGREGATES[measure]} FROM {_GIFTS} WHERE {during})"
        return f"COALESCE({found} {self.bound(bound)}, false)"

    def engaged(self, engaged: tree.Engaged) -> str:
        people, machines = _TIMES[engaged.reaction]
        columns = people if engaged.human else (*people, *machines)
        times = " OR ".join(
            f"({self.during(f'e.{column}', engaged.window)})" for column in columns
        )
        rows = f"FROM engagement e WHERE e.subscriber_id = s.id AND ({times})"
        if engaged.blasts:
            names = self.value(list(engaged.blasts), "text[]")
            blasts = f"SELECT b.id FROM blast b WHERE b.name = ANY({names})"
            rows += f" AND e.blast_id IN ({blasts})"
        return self.counted(rows, engaged.counts)

    def received(self, received: tree.Received) -> str:
        # From the blast on: the ledger's index begins with it.
        rows = (
            "FROM blast b JOIN delivery d ON d.blast_id = b.id"
            " WHERE d.subscriber_id = s.id AND d.state = 'sent'"
        )
        if not received.window.is_always:
            rows += f" AND {self.during('d.settled_at', received.window)}"
        if received.blasts:
            names = self.value(list(received.blasts), "text[]")
            rows += f" AND b.name = ANY({names})"
        return self.counted(rows, received.counts)

    def counted(self, rows: str, counts: tuple[Bound, ...]) -> str:
        if not counts:
            return f"EXISTS (SELECT 1 {rows})"
        # The rows are written again for each bound: their parameters are the same.
        tests = [f"(SELECT count(*) {rows}) {self.bound(bound)}" for bound in counts]
        return f"({' AND '.join(tests)})"

    def random(self, random: tree.Random) -> str:
        """The first 32 bits of MD5, in PostgreSQL as in Python."""
        salt = self.value(random.salt, "text")
        low = self.value(int(random.above * BUCKETS / 100), "bigint")
        high = self.value(
            int((random.above + random.percent) * BUCKETS / 100), "bigint"
        )
        digest = f"left(md5({salt} || ':' || s.address), 8)"
        bucket = f"('x' || {digest})::bit(32)::bigint % {BUCKETS}"
        return f"({bucket} >= {low} AND {bucket} < {high})"

    def during(self, column: str, window: Window) -> str:
        """Write that *column* lies in *window*; null where it is null."""
        parts = []
        if window.since is not None:
            parts.append(f"{column} >= {self.moment(window.since)}")
        if window.before is not None:
            parts.append(f"{column} < {self.moment(window.before)}")
        return " AND ".join(parts) or f"{column} IS NOT NULL"

    def moment(self, moment: timedelta | datetime) -> str:
        if isinstance(moment, datetime):
            return self.value(moment, "timestamptz")
        # Elapsed time: an interval of days would follow the session's time zone.
        # The sub-select is asked once, not for each person.
        seconds = self.value(moment.total_seconds(), "float8")
        return f"(SELECT mailer_now() - make_interval(secs => {seconds}))"

    def bound(self, bound: Bound) -> str:
        return f"{_OPS[bound.op]} {self.value(bound.value, 'numeric')}"
