"""Blasts that never were, as the rows that a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from mailer.core import maturity
from mailer.pipeline.reporting import judging
from mailer.pipeline.reporting.figures import Head
from mailer.store import database
from tests.core.test_score import OFA

LAUNCH = datetime(2026, 9, 30, 18, tzinfo=UTC)
COUNTERS = (
    "recipients", "sent", "deferrals", "bounced", "in_doubt", "suppressed", "held_out",
    "expired", "cancelled", "failed", "opens", "machine_opens", "clicks",
    "machine_clicks", "unsubscribes", "complaints", "donors", "gifts", "money",
    "returned",
)  # fmt: skip
SHARES = {"google": 0.46, "yahoo": 0.2, "microsoft": 0.16, "apple": 0.08, "other": 0.1}

SUBJECTS = {
    "v1s1": "Hey", "v1s2": "Two things:", "v1s3": "Your turn",
    "v2s1": "Hey", "v2s2": "My opponent", "v2s3": "You decide",
    "v3s1": "Hey", "v3s2": "Last night", "v3s3": "Stand with me today",
    "v4s1": "Hey", "v4s2": "This is my last campaign", "v4s3": "[NAME]",
    "v5s1": "Hey", "v5s2": "There won't be many more of these deadlines",
    "v5s3": "What you saw this week",
    "v6s1": "Hey", "v6s2": "Let's win.", "v6s3": "Midnight deadline",
}  # fmt: skip

Cell = dict[str, Any]


def cell(
    variant: int, provider: str = "google", *, hour: int = 0, **counters: Any
) -> Cell:
    """A row of the rollup, zeros where nothing is said."""
    row: Cell = dict.fromkeys(COUNTERS, 0)
    row["money"] = Decimal(0)
    return {
        **row,
        "variant": variant,
        "provider": provider,
        "hour": LAUNCH + timedelta(hours=hour),
        **counters,
    }


def head(*, as_of: datetime, state: str = "done", name: str = "eoq") -> Head:
    return Head(
        blast=name,
        number=7,
        state=state,
        topic="fundraising",
        launched_at=LAUNCH,
        ended_at=None,
        expires_at=LAUNCH + timedelta(hours=9),
        as_of=as_of,
        hours=None,
        maturity=None,
    )


def given(
    variants: Sequence[tuple[str, str]],
    cells: Sequence[Cell],
    *,
    gifts: Sequence[Cell] = (),
    as_of: datetime = LAUNCH + timedelta(hours=6),
    state: str = "done",
) -> judging.Given:
    """What the store would have read, had these *cells* been in the rollup."""
    return judging.Given(
        head=head(as_of=as_of, state=state),
        variants=[
            {"position": position, "name": name, "subject": subject}
            for position, (name, subject) in enumerate(variants, 1)
        ],
        by_provider=_summed(cells, "variant", "provider"),
        by_hour=_summed(cells, "hour", "variant"),
        gifts=gifts,
    )


def _summed(cells: Sequence[Cell], *by: str) -> list[Cell]:
    groups: dict[tuple[Any, ...], Cell] = {}
    for one in cells:
        key = tuple(one[name] for name in by)
        kept = groups.setdefault(key, cell(one["variant"]) | dict(zip(by, key)))  # noqa: B905 - same length by construction
        for name in COUNTERS:
            kept[name] += one[name]
    return [groups[key] for key in sorted(groups)]


def three_subjects(
    *, recipients: int = 20_000, hours: int = 14, seed: int = 5
) -> judging.Given:
    """A fundraising blast with three subjects to people of five providers."""
    random = np.random.default_rng(seed)
    variants = [
        ("outspent", "{{ first_name | default('Friend') }}, I will be outspent"),
        ("hours", "Hours left"),
        ("scary", "Some scary numbers"),
    ]
    true = {1: (0.034, 0.16), 2: (0.027, 0.15), 3: (0.021, 0.15)}  # click, gift a click
    cells: list[Cell] = []
    gifts: list[Cell] = []
    for position in true:
        amounts: list[Decimal] = []
        for provider, share in SHARES.items():
            cells += _cells(
                random, position, provider, int(recipients / 3 * share), hours,
                true[position], amounts,
            )  # fmt: skip
        if amounts:
            gifts.append(
                {
                    "variant": position,
                    "donors": len(amounts),
                    "money": sum(amounts),
                    "squares": sum(one * one for one in amounts),
                    "largest": max(amounts),
                }
            )
    return given(variants, cells, gifts=gifts, as_of=LAUNCH + timedelta(hours=hours))


def _cells(
    random: np.random.Generator,
    position: int,
    provider: str,
    people: int,
    hours: int,
    rates: tuple[float, float],
    amounts: list[Decimal],
) -> list[Cell]:
    """One variant at one provider, hour by hour as its outcomes come in."""
    bounced = int(random.binomial(people, 0.006))
    suppressed = int(random.binomial(people, 0.02))
    sent = people - bounced - suppressed
    slow = 0.5 if provider == "yahoo" else 0.9
    found = []
    for hour in range(hours):
        share = maturity.share(hour + 1) - maturity.share(hour)
        clicks = int(random.binomial(sent, rates[0] * share))
        donors = int(random.binomial(clicks, rates[1]))
        given_now = [
            Decimal(int(max(5, round(random.lognormal(3.1, 0.9) / 5) * 5)))
            for _ in range(donors)
        ]
        amounts += given_now
        machine = {"apple": 0.7, "microsoft": 0.1}.get(provider, 0.04)
        out = int(sent * slow) if hour == 0 else sent - int(sent * slow)
        found.append(
            cell(
                position,
                provider,
                hour=hour,
                recipients=people if hour == 0 else 0,
                suppressed=suppressed if hour == 0 else 0,
                sent=out if hour < 2 else 0,
                bounced=bounced if hour == 0 else 0,
                deferrals=int(sent * (1 - slow)) if hour == 0 else 0,
                in_doubt=0,
                opens=int(random.binomial(sent, 0.21 * share)),
                machine_opens=int(random.binomial(sent, machine * share)),
                clicks=clicks,
                machine_clicks=int(random.binomial(sent, 0.002 * share)),
                unsubscribes=int(random.binomial(sent, 0.0018 * share)),
                complaints=int(random.binomial(sent, 0.00025 * share)),
                donors=donors,
                gifts=donors,
                money=sum(given_now, Decimal(0)),
            )
        )
    return found


def ofa(*, recipients: int = 32_000) -> judging.Given:
    """The published test of 2012; how many got each cell is assumed."""
    cells = [
        cell(
            position,
            recipients=recipients,
            sent=recipients,
            donors=donors,
            gifts=donors,
            money=Decimal(money),
        )
        for position, (_, donors, money) in enumerate(OFA, 1)
    ]
    return given([(name, SUBJECTS[name]) for name, _, _ in OFA], cells)


async def insert(
    pool: database.Pool, found: judging.Given, cells: Sequence[Cell]
) -> None:
    """Write a blast and its rollup, as sending and recording would have."""
    async with database.transaction(pool) as tx:
        await tx.raw.execute(
            "INSERT INTO content (hash, body) VALUES ('h', '{}') ON CONFLICT DO NOTHING"
        )
        number = await tx.raw.fetchval(
            """INSERT INTO blast
                (name, state, topic, file, hash, approved_hash, launched_at)
            VALUES ($1, 'done', 'fundraising', 'blasts/eoq.toml', 'h', 'h', $2)
            RETURNING id""",
            found.head.blast,
            found.head.launched_at,
        )
        for row in found.variants:
            await tx.raw.execute(
                "INSERT INTO variant (blast_id, position, name, subject)"
                " VALUES ($1, $2, $3, $4)",
                number, row["position"], row["name"], row["subject"],
            )  # fmt: skip
        names = ("variant", "provider", "hour", *COUNTERS)
        await tx.copy(
            "rollup",
            columns=("blast_id", *names),
            records=[(number, *(one[name] for name in names)) for one in cells],
        )
