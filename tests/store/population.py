"""People made up for segments, and a segment asked of them the slow, plain way."""

from __future__ import annotations

import hashlib
import operator
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, assert_never

from mailer.core.segment import tree
from mailer.core.segment.tree import Bound, Condition, Measure, Op, Reaction, Window
from mailer.store import database

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
BLASTS = ("kickoff", 'o\'brien "final"', "$1; --")
STATES = ("owed", "sent", "bounced", "in_doubt", "suppressed")

# Texts that break what is glued together instead of passed as a parameter, and
# texts that are almost numbers or days.
TEXTS = (
    "WI", "wi", "MI", "", " ", "O'Brien", '"', "'; DROP TABLE subscriber; --", "$1",
    "%s", "%", "_", ":name", "\\", "\\'", "a\nb", "null", "true", "ÅSA", "åsa", "İ",
    "😀", "é", "12", "-3.50", "+7", " 12", "12 ", "12\n", "1e5", "٣", ".5", "5.",
    "NaN", "99999999999999999999", "2026-02-30", "2026-10-01", "2026-10-01T08:00",
    "2027-01-01x", "26-10-01",
)  # fmt: skip
ATTRIBUTES = ("age", "o'clock", "joined", "$2")
_COLUMNS = (
    "first_name", "last_name", "street", "city", "state", "zip", "country",
    "time_zone", "language",
)  # fmt: skip
_TIMES = (
    "opened_at", "last_opened_at", "machine_opened_at", "last_machine_opened_at",
    "clicked_at", "last_clicked_at", "machine_clicked_at", "last_machine_clicked_at",
)  # fmt: skip
_OPS: dict[Op, Callable[[Any, Any], bool]] = {
    Op.IS: operator.eq, Op.LT: operator.lt, Op.LTE: operator.le,
    Op.GT: operator.gt, Op.GTE: operator.ge,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Gift:
    at: datetime
    amount: Decimal
    refunded: Decimal = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Person:
    id: int
    columns: Mapping[str, str | None]
    attributes: Mapping[str, str]
    signed_up_at: datetime
    has_giving: bool
    imported: tuple[int, Decimal, Decimal | None, Decimal | None, datetime | None]
    recurring: bool
    gifts: tuple[Gift, ...]
    engagements: Mapping[int, Mapping[str, datetime | None]]
    deliveries: tuple[tuple[int, str, datetime | None], ...]
    blasts: tuple[str, ...] = field(default=BLASTS)

    @property
    def live(self) -> list[Gift]:
        """The gifts that were not refunded, in the order of time."""
        kept = [gift for gift in self.gifts if gift.amount > gift.refunded]
        return sorted(kept, key=lambda gift: gift.at)


def people(count: int, *, seed: int) -> list[Person]:
    """Make up *count* people with every kind of history."""
    rng = random.Random(seed)
    return [_person(number, rng) for number in range(1, count + 1)]


def _instant(rng: random.Random) -> datetime:
    # On the very edge of a window as often as not.
    return NOW - timedelta(days=rng.randrange(40) * 5, hours=rng.choice((0, 0, 7)))


def _maybe_text(rng: random.Random) -> str | None:
    return rng.choice((None, *TEXTS))


def _person(number: int, rng: random.Random) -> Person:
    domain = rng.choice(("gmail.test", "yahoo.test", "example.org"))
    email = f"Person.{number}@{domain}"
    imported_at = rng.choice((None, _instant(rng)))
    amount = Decimal(rng.randrange(1, 60000)) / 100
    has_giving = rng.random() < 0.7
    gifts = []
    for _ in range(rng.choice((0, 0, 1, 2, 4)) if has_giving else 0):
        given = Decimal(rng.randrange(1, 60000)) / 100
        back = rng.choice((Decimal(0), Decimal(0), given, given / 2)).quantize(
            Decimal(1)
        )
        gifts.append(Gift(at=_instant(rng), amount=given, refunded=min(back, given)))
    return Person(
        id=number,
        columns={
            "address": email.lower(),
            "email": email,
            "domain": domain,
            "provider": rng.choice(("google", "yahoo", "other")),
            **{column: _maybe_text(rng) for column in _COLUMNS},
        },
        attributes={
            name: rng.choice(TEXTS) for name in ATTRIBUTES if rng.random() < 0.7
        },
        signed_up_at=_instant(rng),
        has_giving=has_giving,
        imported=(
            (rng.randrange(1, 5), amount * 2, amount, amount, imported_at)
            if has_giving and rng.random() < 0.5
            else (0, Decimal(0), None, None, None)
        ),
        recurring=rng.random() < 0.3,
        gifts=tuple(gifts),
        engagements={
            blast: {time: rng.choice((None, _instant(rng))) for time in _TIMES}
            for blast in range(len(BLASTS))
            if rng.random() < 0.4
        },
        deliveries=tuple(
            (blast, rng.choice(STATES), rng.choice((None, _instant(rng))))
            for blast in range(len(BLASTS))
            if rng.random() < 0.5
        ),
    )


async def insert(tx: database.Connection, everyone: Iterable[Person]) -> None:
    """Write *everyone* into the tables, and stop the clock of SQL at NOW."""
    everyone = list(everyone)
    run = tx.raw.execute
    await run("UPDATE clock SET shift = $1::timestamptz - now()", NOW)
    blasts = [
        await tx.raw.fetchval(
            "INSERT INTO blast (name, topic, file, hash) VALUES ($1, 't', 'f', 'h')"
            " RETURNING id",
            name,
        )
        for name in BLASTS
    ]
    columns = ("address", "email", "domain", "provider", *_COLUMNS)
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 4))
    await tx.raw.executemany(
        f"INSERT INTO subscriber (id, {', '.join(columns)}, attributes, signed_up_at)"
        f" OVERRIDING SYSTEM VALUE VALUES ({marks})",
        [
            (
                one.id,
                *(one.columns[column] for column in columns),
                dict(one.attributes),
                one.signed_up_at,
            )
            for one in everyone
        ],
    )
    await tx.raw.copy_records_to_table(
        "giving",
        columns=(
            "subscriber_id", "imported_count", "imported_sum", "imported_highest",
            "imported_latest", "imported_latest_at", "live_count", "live_sum",
            "live_highest", "live_latest", "live_latest_at", "recurring",
        ),
        records=[
            (one.id, *one.imported, *_live(one), one.recurring)
            for one in everyone
            if one.has_giving
        ],
    )  # fmt: skip
    await tx.raw.copy_records_to_table(
        "donation",
        columns=("sender", "external_id", "at", "amount", "refunded", "subscriber_id",
                 "method"),
        records=[
            ("actblue", f"{one.id}/{n}", gift.at, gift.amount, gift.refunded, one.id,
             "none")
            for one in everyone
            for n, gift in enumerate(one.gifts)
        ],
    )  # fmt: skip
    await tx.raw.copy_records_to_table(
        "engagement",
        columns=("subscriber_id", "blast_id", *_TIMES),
        records=[
            (one.id, blasts[blast], *(times[time] for time in _TIMES))
            for one in everyone
            for blast, times in one.engagements.items()
        ],
    )
    await tx.raw.copy_records_to_table(
        "delivery",
        columns=("blast_id", "seq", "subscriber_id", "provider", "round", "state",
                 "settled_at"),
        records=[
            (blasts[blast], one.id, one.id, "other", 1, state, at)
            for one in everyone
            for blast, state, at in one.deliveries
        ],
    )  # fmt: skip


def _live(person: Person) -> tuple[Any, ...]:
    live = person.live
    amounts = [gift.amount - gift.refunded for gift in live]
    return (
        len(live),
        sum(amounts, Decimal(0)),
        max(amounts, default=None),
        amounts[-1] if live else None,
        live[-1].at if live else None,
    )


# ── A condition, asked of one person ────────────────────────────────────────


def holds(
    condition: Condition, person: Person, segments: Mapping[str, tree.Segment]
) -> bool:
    """Tell whether *condition* holds for *person*."""

    def ask(part: Condition) -> bool:
        return holds(part, person, segments)

    match condition:
        case tree.All(parts=parts):
            return all(ask(part) for part in parts)
        case tree.Some(parts=parts):
            return any(ask(part) for part in parts)
        case tree.Not(part=part):
            return not ask(part)
        case tree.Within(segment=name):
            found = tree.get(name, segments)
            return ask(found.when) and not any(
                ask(tree.get(out, segments).condition) for out in found.excludes
            )
        case tree.OneOf() | tree.Known() | tree.Starts() | tree.Contains():
            return _field(condition, person)
        case tree.Compared():
            return _compared(condition, _value(condition.field, person))
        case _:
            return _done(condition, person)


def _done(
    condition: tree.Donated
    | tree.Engaged
    | tree.Received
    | tree.SignedUp
    | tree.Random,
    person: Person,
) -> bool:
    match condition:
        case tree.SignedUp(window=window):
            return _during(person.signed_up_at, window)
        case tree.Random(percent=percent, above=above, salt=salt):
            text = f"{salt}:{person.columns['address']}"
            share = int(hashlib.md5(text.encode()).hexdigest()[:8], 16) % 10_000
            return int(above * 100) <= share < int((above + percent) * 100)
        case tree.Donated():
            return _donated(condition, person)
        case tree.Engaged():
            return _engaged(condition, person)
        case tree.Received(window=window, blasts=names, counts=counts):
            found = [
                blast
                for blast, state, at in person.deliveries
                if state == "sent"
                and (window.is_always or _during(at, window))
                and (not names or BLASTS[blast] in names)
            ]
            return _counted(len(found), counts)
        case _:
            assert_never(condition)


def _value(field: str, person: Person) -> str | None:
    if field.startswith(tree.ATTRIBUTE):
        return person.attributes.get(field.removeprefix(tree.ATTRIBUTE))
    return person.columns[field]


def _field(
    condition: tree.OneOf | tree.Known | tree.Starts | tree.Contains, person: Person
) -> bool:
    value = _value(condition.field, person)
    if value is None:
        return False
    match condition:
        case tree.OneOf(values=values):
            return value in values
        case tree.Known():
            return value != ""
        case tree.Starts(text=text):
            return value.startswith(text)
        case tree.Contains(text=text):
            return text in value
        case _:
            assert_never(condition)


def _compared(condition: tree.Compared, value: str | None) -> bool:
    compare = _OPS[condition.op]
    if value is None:
        return False
    if isinstance(condition.value, Decimal):
        if not re.fullmatch(r"[+-]?[0-9]{1,15}([.][0-9]{1,10})?", value):
            return False
        return compare(Decimal(value), condition.value)
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return False
    return compare(value[:10], condition.value.isoformat())


def _donated(donated: tree.Donated, person: Person) -> bool:
    count, total, highest, latest, imported_at = person.imported
    live = person.live
    amounts = [gift.amount - gift.refunded for gift in live]
    is_recurring = person.has_giving and person.recurring
    if donated.recurring is not None and donated.recurring != is_recurring:
        return False
    figures: dict[Measure, Decimal | int | None]
    if donated.window.is_always:
        is_live_later = bool(live) and not (
            imported_at is not None and imported_at > live[-1].at
        )
        figures = {
            Measure.COUNT: count + len(live),
            Measure.SUM: total + sum(amounts),
            Measure.HIGHEST: max(
                [*amounts, *([highest] if highest is not None else [])], default=None
            ),
            Measure.LATEST: amounts[-1] if is_live_later else latest,
        }
    else:
        dated = [(gift.at, gift.amount - gift.refunded) for gift in live]
        if imported_at is not None and latest is not None:
            dated.append((imported_at, latest))
        within = [amount for at, amount in dated if _during(at, donated.window)]
        figures = {
            Measure.COUNT: len(within),
            Measure.SUM: sum(within, Decimal(0)),
            Measure.HIGHEST: max(within, default=None),
        }
    if not donated.measures:
        has_given = bool(figures[Measure.COUNT])
        return has_given or (donated.window.is_always and donated.recurring is True)
    return all(
        figures[measure] is not None and _OPS[bound.op](figures[measure], bound.value)
        for measure, bound in donated.measures
    )


def _engaged(engaged: tree.Engaged, person: Person) -> bool:
    stem = "opened_at" if engaged.reaction is Reaction.OPENED else "clicked_at"
    kinds = (
        ["", "last_"] if engaged.human else ["", "last_", "machine_", "last_machine_"]
    )
    found = [
        blast
        for blast, times in person.engagements.items()
        if any(_during(times[kind + stem], engaged.window) for kind in kinds)
        and (not engaged.blasts or BLASTS[blast] in engaged.blasts)
    ]
    return _counted(len(found), engaged.counts)


def _counted(count: int, bounds: tuple[Bound, ...]) -> bool:
    if not bounds:
        return count > 0
    return all(_OPS[bound.op](count, bound.value) for bound in bounds)


def _during(at: datetime | None, window: Window) -> bool:
    if at is None:
        return False
    since, before = (
        NOW - moment if isinstance(moment, timedelta) else moment
        for moment in (window.since, window.before)
    )
    return (since is None or at >= since) and (before is None or at < before)
