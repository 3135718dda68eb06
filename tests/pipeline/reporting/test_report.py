"""A report says what the counters say, to the last number, and never a NaN."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from mailer import errors
from mailer.cli import context
from mailer.core import score, stats
from mailer.pipeline import reporting
from mailer.pipeline.reporting import judging, rows, words
from mailer.pipeline.reporting.figures import Counts, Health, Label, Report
from mailer.store import database
from tests import samples
from tests.samples import cell

NOON = samples.LAUNCH + timedelta(hours=6)
ONE = [("only", "Hours left")]
TWO = [("a", "Hours left"), ("b", "Some scary numbers")]


def judged(variants: list[tuple[str, str]], cells: list[samples.Cell]) -> Report:
    return judging.judge(samples.given(variants, cells))


def numbers(value: Any) -> list[float]:
    """Every float in a report, however deep."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in numbers(part)]
    if isinstance(value, list):
        return [one for part in value for one in numbers(part)]
    return [value] if isinstance(value, float) else []


async def test_a_report_has_every_number_of_the_rollup(db: database.Pool) -> None:
    cells = [
        cell(
            1, "google", recipients=1000, sent=960, bounced=10, in_doubt=5,
            suppressed=20, expired=2, cancelled=1, failed=2, deferrals=40, opens=200,
            machine_opens=90, clicks=30, machine_clicks=4, unsubscribes=3, complaints=1,
            returned=2,
            donors=6, gifts=7, money=Decimal("250.00"),
        ),
        cell(1, "google", hour=2, clicks=5, donors=2, gifts=2, money=Decimal(90)),
        cell(2, "yahoo", recipients=1000, held_out=10, sent=985, clicks=12),
    ]  # fmt: skip
    await samples.insert(db, samples.given(TWO, cells), cells)

    found = await reporting.report(db, "eoq", now=NOON)

    first, second = found.arms
    assert first.counts == Counts(
        recipients=1000, sent=960, bounced=10, in_doubt=5, suppressed=20, expired=2,
        cancelled=1, failed=2, deferrals=40, opens=200, machine_opens=90, clicks=35,
        machine_clicks=4, unsubscribes=3, complaints=1, returned=2, donors=8, gifts=9,
        money=Decimal("340.00"),
    )  # fmt: skip
    assert (first.counts.attempted, first.counts.waiting) == (975, 0)
    assert second.counts.waiting == 5
    assert first.counts.average_gift == Decimal("42.5")
    assert first.raised is not None
    assert first.raised.value == pytest.approx(340 / 975 * 1000)
    assert first.raised.low < first.raised.value < first.raised.high
    assert first.rates.clicks is not None
    interval = stats.wilson(35, 975)
    assert interval is not None
    assert (first.rates.clicks.low, first.rates.clicks.high) == (
        interval.low,
        interval.high,
    )
    assert found.totals.recipients == 2000
    assert [one.provider for one in found.providers] == ["google", "yahoo"]
    assert [
        (hour.hours, hour.money) for hour in found.hours if hour.variant == "a"
    ] == [
        (1, Decimal(250)),
        (2, Decimal(250)),
        (3, Decimal(340)),
    ]


async def test_the_spread_of_gifts_is_that_of_the_donors(db: database.Pool) -> None:
    cells = [
        cell(1, recipients=500, sent=500, donors=2, gifts=3, money=Decimal(70)),
        cell(2, recipients=500, sent=500, donors=1, gifts=1, money=Decimal(10)),
    ]
    await samples.insert(db, samples.given(TWO, cells), cells)
    async with database.transaction(db) as tx:
        await tx.raw.execute(
            """WITH person AS (
                INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
                VALUES ('ada@example.org', 'ada@example.org', 'example.org', 'other',
                        now())
                RETURNING id
            )
            INSERT INTO donation (sender, external_id, at, amount, refunded, method,
                                  blast_id, variant, subscriber_id)
            SELECT 'actblue', gift.id, now(), amount, refunded, 'refcode', blast.id,
                   variant, CASE WHEN known THEN person.id END
            FROM (VALUES ('1', 30, 0, 1, true), ('2', 20, 10, 1, true),
                         ('3', 30, 0, 1, false), ('4', 10, 0, 2, false),
                         ('5', 25, 25, 2, false))
                 AS gift (id, amount, refunded, variant, known),
                 person, blast"""
        )

    found = await reporting.report(db, "eoq", now=NOON)

    # variant a: one gave 30 and 20, and had 10 back; another gave 30
    assert found.method.spread == pytest.approx((40**2 + 30**2 + 10**2) * 3 / 80**2)
    assert {arm.name: arm.largest for arm in found.arms} == {"a": 40, "b": 10}


def test_a_gift_that_was_refunded_whole_is_as_one_never_given() -> None:
    kept = cell(2, recipients=900, sent=900, donors=5, gifts=5, money=Decimal(90))
    gifts = [
        {
            "variant": 1,
            "donors": 2,
            "money": Decimal(50),
            "squares": 1300,
            "largest": 30,
        },
        {
            "variant": 2,
            "donors": 5,
            "money": Decimal(90),
            "squares": 1700,
            "largest": 20,
        },
    ]
    reports = [
        judging.judge(
            samples.given(
                TWO,
                [cell(1, recipients=900, sent=900, donors=donors, gifts=donors,
                      money=Decimal(50)), kept],
                gifts=gifts,
            )
        )
        for donors in (2, 3)
    ]  # fmt: skip

    never, refunded = (
        {arm.name: (arm.raised, arm.belief) for arm in report.arms}
        for report in reports
    )

    assert never == refunded


async def test_a_blast_that_is_not_there_is_not_found(db: database.Pool) -> None:
    with pytest.raises(errors.NotFound, match="nobody"):
        await reporting.report(db, "nobody", now=NOON)


EDGES = {
    "nothing sent": (ONE, []),
    "one recipient": (ONE, [cell(1, recipients=1, sent=1)]),
    "one recipient who gave": (
        ONE,
        [cell(1, recipients=1, sent=1, donors=1, gifts=1, money=Decimal(5))],
    ),
    "no variants at all": ([], []),
    "no gifts": (
        TWO,
        [
            cell(1, recipients=90, sent=90, clicks=9),
            cell(2, recipients=90, sent=90, clicks=1),
        ],
    ),
    "nothing came back": (
        TWO,
        [cell(1, recipients=9, sent=9), cell(2, recipients=9, sent=9)],
    ),
    "one arm without any": (
        TWO,
        [
            cell(
                1, recipients=90, sent=90, clicks=9, donors=4, gifts=4,
                money=Decimal(80),
            ),
            cell(2, recipients=90, sent=90),
        ],
    ),
    "one arm not sent": (
        TWO,
        [
            cell(1, recipients=90, sent=90, donors=3, gifts=3, money=Decimal(9)),
            cell(2, recipients=90),
        ],
    ),
    "one gift for two": (
        TWO,
        [
            cell(1, recipients=90, sent=90, donors=1, gifts=1, money=Decimal(9)),
            cell(2, recipients=90, sent=90),
        ],
    ),
    "refunds over gifts": (
        TWO,
        [
            cell(
                1, recipients=90, sent=90, donors=2, gifts=2, money=Decimal(-30)
            ),
            cell(2, recipients=90, sent=90, donors=1, gifts=1, money=Decimal(0)),
        ],
    ),
    "refunds over gifts, alone": (
        ONE,
        [cell(1, recipients=90, sent=90, donors=2, gifts=2, money=Decimal(-3))],
    ),
    "an open before it was settled": (
        TWO,
        [
            cell(1, recipients=90, sent=2, opens=5, clicks=4),
            cell(2, recipients=90, sent=90, opens=5, clicks=4),
        ],
    ),
    "everybody gave": (
        TWO,
        [
            cell(
                1, recipients=30, sent=30, clicks=30, donors=30, gifts=30,
                money=Decimal(300),
            ),
            cell(
                2, recipients=30, sent=30, clicks=30, donors=30, gifts=30,
                money=Decimal(300),
            ),
        ],
    ),
    "a giant gift": (
        TWO,
        [
            cell(1, recipients=90, sent=90, donors=1, gifts=1, money=Decimal(1)),
            cell(
                2, recipients=90, sent=90, donors=1, gifts=1,
                money=Decimal("9999999999.99"),
            ),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_every_blast_gets_a_sentence_and_no_nan(name: str) -> None:
    variants, cells = EDGES[name]

    found = judged(variants, cells)

    assert found.verdict.sentence.endswith(".")
    assert all(math.isfinite(number) for number in numbers(context.plain(found)))
    assert "nan" not in json.dumps(context.plain(found)).lower()
    assert "nan" not in rows.csv(found)


@pytest.mark.parametrize(
    ("name", "label", "says"),
    [
        ("nothing sent", Label.UNDECIDED, "Nothing has been sent yet."),
        ("one recipient", Label.SINGLE, "No gift yet from 1 recipient; 0 clicked."),
        ("nothing came back", Label.UNDECIDED, "nobody has clicked or given yet"),
        ("one gift for two", Label.UNDECIDED, "1 donor for 2 variants"),
        ("refunds over gifts", Label.UNDECIDED, "refunds took back what was given"),
        ("refunds over gifts, alone", Label.SINGLE, "No gift that was not refunded"),
        ("everybody gave", Label.LEADING, "too close to call"),
    ],
)
def test_a_test_that_cannot_decide_says_so(name: str, label: Label, says: str) -> None:
    verdict = judged(*EDGES[name]).verdict

    assert verdict.label == label
    assert says in verdict.sentence


def test_figures_that_do_not_exist_are_unknown_not_zero() -> None:
    found = judged(*EDGES["one arm not sent"])

    unsent = next(arm for arm in found.arms if arm.name == "b")
    assert unsent.raised is None
    assert unsent.belief is None
    assert unsent.rates.opens is None
    assert unsent.counts.average_gift is None
    tidy = next(row for row in rows.tidy(found) if row.get("variant_name") == "b")
    assert "mean" not in tidy


def test_the_published_test_is_led_by_v4s3() -> None:
    found = judging.judge(samples.ofa())

    assert found.verdict.winner == "v4s3"
    assert "90% sure" in found.verdict.sentence
    assert [arm.name for arm in found.arms].index("v2s3") == 8


def test_machine_opens_and_clicks_change_no_figure_that_decides() -> None:
    plain = [
        cell(1, recipients=900, sent=900, clicks=30, donors=9, gifts=9,
                     money=Decimal(200)),
        cell(2, recipients=900, sent=900, clicks=20, donors=5, gifts=5,
                     money=Decimal(90)),
    ]  # fmt: skip
    noisy = [{**one, "machine_opens": 700, "machine_clicks": 400} for one in plain]

    found, other = judged(TWO, plain), judged(TWO, noisy)

    assert found.verdict == other.verdict
    assert [arm.belief for arm in found.arms] == [arm.belief for arm in other.arms]


def test_a_variant_that_providers_refuse_more_often_cannot_win() -> None:
    found = judged(
        TWO,
        [
            cell(1, recipients=9000, sent=8900, bounced=100, donors=50, gifts=50,
                         money=Decimal(2500)),
            cell(2, recipients=9000, sent=8000, bounced=1000, donors=9, gifts=9,
                         money=Decimal(400)),
        ],
    )  # fmt: skip

    assert found.verdict.label == Label.UNDECIDED
    assert {check.name: check.health for check in found.health}[
        "acceptance"
    ] == Health.BAD


def test_a_winner_by_one_gift_is_flagged() -> None:
    amounts = {1: [1000] + [10] * 9, 2: [30] * 10}
    cells = [
        cell(
            position, recipients=20_000, sent=20_000, donors=len(gifts),
            gifts=len(gifts), money=Decimal(sum(gifts)),
        )
        for position, gifts in amounts.items()
    ]  # fmt: skip
    gifts = [
        {
            "variant": position,
            "donors": len(found),
            "money": Decimal(sum(found)),
            "squares": Decimal(sum(one * one for one in found)),
            "largest": Decimal(max(found)),
        }
        for position, found in amounts.items()
    ]

    found = judging.judge(samples.given(TWO, cells, gifts=gifts))

    assert "top gift 92%" in next(arm for arm in found.arms if arm.name == "a").flags


def test_before_the_post_mortem_intervals_are_peek_safe_and_wider() -> None:
    cells = [
        cell(1, recipients=50_000, sent=50_000, donors=50, gifts=50,
                     money=Decimal(2500)),
        cell(2, recipients=50_000, sent=50_000, donors=95, gifts=95,
                     money=Decimal(4700)),
    ]  # fmt: skip

    early = judging.judge(samples.given(TWO, cells))
    late = judging.judge(
        samples.given(TWO, cells, as_of=samples.LAUNCH + timedelta(days=8))
    )

    assert early.lifts[0].is_peek_safe
    assert not late.lifts[0].is_peek_safe
    assert late.lifts[0].method == "Dunnett"
    assert early.lifts[0].ratio == late.lifts[0].ratio
    assert early.lifts[0].low < late.lifts[0].low
    assert early.lifts[0].high > late.lifts[0].high


def test_three_variants_are_compared_with_the_mean_first() -> None:
    found = judging.judge(samples.three_subjects())

    assert [lift.reference for lift in found.lifts] == ["mean of all"] * 3 + [
        "outspent"
    ] * 2


def test_tidy_rows_give_every_metric_of_every_variant_and_provider() -> None:
    found = judging.judge(samples.three_subjects())

    tidy = list(rows.tidy(found))

    assert len(tidy) == 3 * 8 + 5 * 7
    assert all(set(row) <= set(rows.COLUMNS) for row in tidy)
    assert rows.csv(found).count("\n") == len(tidy) + 1


def test_what_is_believed_can_be_computed_again_from_the_rows() -> None:
    found = judging.judge(samples.three_subjects())

    kept = list(csv.DictReader(io.StringIO(rows.csv(found))))
    kept = sorted(
        (row for row in kept if row["metric"] == "revenue"),
        key=lambda row: int(row["variant"]),
    )
    again = score.score(
        [
            stats.Tally(
                recipients=int(row["n_attempted"]),
                clickers=int(row["clicks"]),
                donors=int(row["k"]),
                money=float(row["s1"]),
                squares=float(row["s2"]),
            )
            for row in kept
        ],
        seed=int(kept[0]["seed"]),
    )

    assert again is not None
    assert [float(row["pooled_mean"]) for row in kept] == pytest.approx(again.mean)
    assert [float(row["p_best"]) for row in kept] == pytest.approx(again.p_best)
    assert [float(row["expected_loss"]) for row in kept] == pytest.approx(again.loss)


def test_a_subject_is_no_formula_in_a_spreadsheet() -> None:
    found = judged([("a", "=HYPERLINK(1)")], [cell(1, recipients=1, sent=1)])

    assert next(rows.tidy(found))["subject"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Hours left", "Hours left"),
        ("{{ first_name | default('Friend') }}, hey", "[first_name], hey"),
        ("{% if city %}{{city}}{% endif %}: now", "[city]: now"),
        ("a\x1b[31mred\nline", "a [31mred line"),
    ],
)
def test_a_subject_is_shown_plainly(source: str, shown: str) -> None:
    assert words.subject(source) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (0, "$0"), (0.001, "<$0.01"),
        (4.125, "$4.13"), (9.994, "$9.99"), (412.4, "$412"),
        (Decimal("1234567.5"), "$1,234,568"), (-30.0, "-$30"),
    ],
)  # fmt: skip
def test_dollars_are_as_exact_as_they_matter(value: float | None, shown: str) -> None:
    assert words.dollars(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.999, ">99%"), (0.99, "99%"), (0.0004, "<1%"), (0.5, "50%")]
)
def test_nobody_is_ever_wholly_sure(share: float, shown: str) -> None:
    assert words.sure(share) == shown
