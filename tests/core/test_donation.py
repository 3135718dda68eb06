from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mailer import errors
from mailer.core import donation, tracking
from mailer.core.donation import Gift
from mailer.core.tracking import Ring, Token

RING = Ring(keys={1: bytes(range(32))}, current=1)
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
GIVER = Token(blast=12, subscriber=3456, link=4)


def test_a_refcode_names_blast_and_variant() -> None:
    text = donation.refcode(blast=4821, variant=2)

    assert donation.read_refcode(text) == (4821, 2)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "em_4821", "em_4821_B", "em_0_1", "em_1_0", "EM_1_1", "xem_1_1"),
        *("em_1_1 ", "em_1_1\n", "em_99999999999_1", "em_\u0661_1", "website-footer"),
    ],
)
def test_a_foreign_refcode_is_nobody_of_ours(text: str | None) -> None:
    assert donation.read_refcode(text) is None


def test_refcode2_names_the_giver_in_either_case() -> None:
    text = tracking.refcode2(RING, GIVER)

    assert donation.read_refcode2(RING, text) == GIVER
    assert donation.read_refcode2(RING, text.upper()) == GIVER


@pytest.mark.parametrize("change", ["none", "link", "bit", "foreign"])
def test_a_foreign_refcode2_names_nobody(change: str) -> None:
    text = tracking.refcode2(RING, GIVER)
    given = {
        "none": None,
        "link": "5" + text[1:],
        "bit": text[:10] + ("a" if text[10] != "a" else "b") + text[11:],
        "foreign": "btn25_Zk3xQ9",
    }

    assert donation.read_refcode2(RING, given[change]) is None


@pytest.mark.parametrize(
    "amount", ["0", "-5", "NaN", "Infinity", "10000000000", "0.001"]
)
def test_an_amount_that_is_none_is_refused(amount: str) -> None:
    with pytest.raises(errors.Invalid, match="amount"):
        Gift(sender="actblue", external_id="1", at=NOON, amount=Decimal(amount))


def test_money_is_never_a_float() -> None:
    with pytest.raises(TypeError, match="Decimal"):
        Gift(sender="actblue", external_id="1", at=NOON, amount=2.5)  # type: ignore[arg-type]


def test_a_gift_comes_back_from_json() -> None:
    gift = Gift(
        sender="actblue",
        external_id="500000001",
        at=NOON,
        amount=Decimal("25.10"),
        recurring=True,
        email="ada@example.org",
        refcode="em_12_1",
        giver=GIVER,
    )

    assert donation.from_json(donation.as_json(gift)) == gift
