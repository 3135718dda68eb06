from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import errors
from mailer.core import money

# Blackbaud's worked rule: minimum 20, plus 5 %, plus $5, to the nearest $5.
DYNAMIC = money.Rules(
    multipliers=(1,), minimum=20, percent=5, flat=5, step=5, fallback=()
)


@dataclass(frozen=True)
class Giving:
    count: int = 0
    sum: Decimal = Decimal(0)
    highest: Decimal | None = None
    latest: Decimal | None = None


NOBODY = Giving()


def amounts(*values: int) -> tuple[Decimal, ...]:
    return tuple(Decimal(v) for v in values)


def gave(*amounts: str) -> Giving:
    gifts = [Decimal(a) for a in amounts]
    return Giving(
        count=len(gifts),
        sum=sum(gifts, Decimal(0)),
        highest=max(gifts),
        latest=gifts[-1],
    )


@pytest.mark.parametrize(
    ("giving", "asked"),
    [
        (gave("100"), "110"),
        (gave("10"), "25"),
        (NOBODY, "25"),
        (gave("35"), "40"),
        (gave("50"), "60"),  # 57.50 is a tie: halves go up
        (gave("150"), "165"),  # 162.50: half-even would say 160
    ],
    ids=str,
)
def test_the_worked_rule_gives_the_published_asks(giving: Giving, asked: str) -> None:
    assert money.ask(giving, DYNAMIC) == (Decimal(asked),)


@pytest.mark.parametrize(
    ("base", "lowest"), [("highest", "90"), ("latest", "10"), ("average", "40")]
)
def test_a_ladder_starts_from_the_gift_that_the_rules_name(
    base: money.Base, lowest: str
) -> None:
    rules = money.Rules(base=money.Base(base))

    asks = money.ask(gave("90", "20", "10"), rules)

    assert asks[0] == Decimal(lowest)


def test_the_usual_ladder_multiplies_the_highest_gift() -> None:
    assert money.ask(gave("25"), money.Rules()) == amounts(25, 40, 50, 75, 125)


def test_people_who_never_gave_get_the_fallback() -> None:
    assert money.ask(NOBODY, money.Rules(fallback=(3, 10, 25))) == amounts(3, 10, 25)


def test_nobody_is_asked_for_more_than_the_limit_leaves() -> None:
    giving, rules = gave("1000"), money.Rules(cap=3300)

    assert money.ask(giving, rules) == amounts(1000, 1500, 2000, 3000, 3300)
    assert money.ask(giving, rules, left=Decimal(1700)) == amounts(1000, 1500, 1700)
    assert money.ask(giving, rules, left=300) == amounts(300)
    assert money.ask(giving, rules, left=0) == ()


@pytest.mark.parametrize("name", ["minimum", "percent", "flat", "step", "cap"])
def test_a_float_is_refused(name: str) -> None:
    with pytest.raises(errors.Invalid, match=name):
        money.Rules(**{name: 2.5})  # type: ignore[arg-type]


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(errors.Invalid, match="step"):
        money.Rules(step=0)


@pytest.mark.parametrize("value", [1.5, Decimal("NaN"), Decimal(-1)])
def test_what_is_no_amount_is_refused(value: Decimal) -> None:
    with pytest.raises(errors.Invalid, match="left"):
        money.ask(NOBODY, DYNAMIC, left=value)


AMOUNTS = st.decimals("0.01", "100000", places=2)


@given(
    gifts=st.lists(AMOUNTS, max_size=5),
    base=st.sampled_from(money.Base),
    step=st.sampled_from([1, 5, Decimal("0.5"), 25]),
    cap=st.none() | AMOUNTS,
    left=st.none() | AMOUNTS,
    fallback=st.lists(AMOUNTS, max_size=4).map(tuple),
)
def test_a_ladder_rises_and_stays_within_its_limits(
    gifts: list[Decimal],
    base: money.Base,
    step: Decimal,
    cap: Decimal | None,
    left: Decimal | None,
    fallback: tuple[Decimal, ...],
) -> None:
    rules = money.Rules(base=base, step=step, cap=cap, fallback=fallback)
    giving = gave(*map(str, gifts)) if gifts else NOBODY

    asks = money.ask(giving, rules, left=left)

    assert all(type(a) is Decimal and a > 0 for a in asks)
    assert list(asks) == sorted(set(asks))
    assert asks
    assert all(a <= limit for limit in (cap, left) if limit is not None for a in asks)


@given(gift=AMOUNTS, more=AMOUNTS)
def test_who_gave_more_is_never_asked_for_less(gift: Decimal, more: Decimal) -> None:
    rules = money.Rules()

    less = money.ask(gave(str(gift)), rules)

    assert less[0] <= money.ask(gave(str(gift + more)), rules)[0]
