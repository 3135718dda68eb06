"""A split that treats variants unlike is seen; one that does not is left alone."""

from __future__ import annotations

import itertools

import pytest

from mailer.core import balance, maturity


def test_one_variant_of_eighteen_that_delivers_less_is_seen() -> None:
    cells = [(11_111, 10_889)] * 17 + [(11_111, 10_555)]

    p = balance.uneven(cells)

    assert p is not None
    assert p < balance.ALARM


def test_equal_shares_are_no_alarm() -> None:
    assert balance.uneven([(5000, 4900), (5001, 4899), (4999, 4901)]) == pytest.approx(
        0.93, abs=0.06
    )


def test_small_providers_are_merged_until_they_can_be_compared() -> None:
    tables = {
        "google": [(1000, 950), (1000, 800)],
        "tiny": [(40, 38), (40, 37)],
        "small": [(90, 80), (90, 82)],
    }

    found = balance.uneven_by_provider(tables)

    assert set(found) == {"google", "small"}
    assert found["google"] < balance.ALARM
    assert found["small"] > 0.5


def test_a_provider_where_nothing_differs_is_left_out() -> None:
    assert balance.uneven_by_provider({"google": [(50, 50), (50, 50)]}) == {}


@pytest.mark.parametrize(
    ("hours", "share"),
    [(-1, 0), (0, 0), (0.5, 0.115), (4, 0.475), (6, 0.5375), (900, 1)],
)
def test_maturity_follows_the_assumed_curve(hours: float, share: float) -> None:
    assert maturity.share(hours) == pytest.approx(share)


def test_maturity_never_falls() -> None:
    found = [maturity.share(hours / 4) for hours in range(800)]

    assert all(one <= other for one, other in itertools.pairwise(found))
