from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import errors
from mailer.core import cell

READ = [
    (cell.money, "25", "25.00"),
    (cell.money, "$1,250.50", "1250.50"),
    (cell.money, "$ 3", "3.00"),
    (cell.money, ".5", "0.50"),
    (cell.money, "25.5000", "25.50"),
    (cell.count, "3", "3"),
    (cell.count, "3.0", "3"),
    (cell.count, "1,200", "1200"),
    (cell.boolean, "Yes", "true"),
    (cell.boolean, "0", "false"),
    (cell.state, "wi", "WI"),
    (cell.state, "Wisconsin", "Wisconsin"),
    (cell.time_zone, "America/Chicago", "America/Chicago"),
    (cell.time_zone, "Eastern", "America/New_York"),
    (cell.language, "es_MX", "es-MX"),
    (cell.language, "English", "en"),
    (cell.instant, "2026-11-03", "2026-11-03T00:00:00+00:00"),
    (cell.instant, "11/3/2026", "2026-11-03T00:00:00+00:00"),
    (cell.instant, "11/03/2026 9:05", "2026-11-03T09:05:00+00:00"),
    (cell.instant, "2026-11-03 09:05:00Z", "2026-11-03T09:05:00+00:00"),
    (cell.instant, "2026-11-03T09:05-05:00", "2026-11-03T14:05:00+00:00"),
    (cell.instant, "2026-11-03T09:05+23:59", "2026-11-02T09:06:00+00:00"),
]

REFUSED = [
    (cell.money, "lots"),
    (cell.money, "$"),
    (cell.money, "-5"),
    (cell.money, "1.234,50"),
    (cell.money, "12,34"),
    (cell.money, "1e5"),
    (cell.money, "25.001"),
    (cell.money, "99999999999"),
    (cell.money, "1" + ",000" * 400),
    (cell.money, "٣"),  # a digit, but not one of ASCII
    (cell.count, "-1"),
    (cell.count, "2.5"),
    (cell.count, "9" * 1000),
    (cell.count, "²"),
    (cell.boolean, "maybe"),
    (cell.time_zone, "Mars/Olympus"),
    (cell.time_zone, "../../etc/passwd"),
    (cell.language, "e"),
    (cell.language, "en; DROP"),
    (cell.instant, "soon"),
    (cell.instant, "31/12/2026"),
    (cell.instant, "2026-02-30"),
    (cell.instant, "0001-01-01T00:00+12:00"),
]


@pytest.mark.parametrize(
    ("read", "text", "expected"), [pytest.param(*case, id=case[1]) for case in READ]
)
def test_a_cell_is_read(read: cell.Reader, text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [pytest.param(*case, id=ascii(case[1])[:20]) for case in REFUSED],
)
def test_a_cell_is_refused_with_what_would_be_right(
    read: cell.Reader, text: str
) -> None:
    with pytest.raises(errors.Invalid, match=r"write|neither"):
        read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" two\r\nlines\t", "two lines"),
        ("a\u202eb\u200b", "ab"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("bell\x07", "bell"),
        ("a\xa0b", "a b"),
    ],
)
def test_a_cell_is_one_line_of_what_can_be_seen(text: str, expected: str) -> None:
    assert cell.clean(text) == expected


@pytest.mark.parametrize("text", ["a\0b", "x" * 2001])
def test_a_cell_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid):
        cell.clean(text)


@given(st.decimals(0, 9_999_999_999, places=2))
def test_money_round_trips(amount: Decimal) -> None:
    assert Decimal(cell.money(f"{amount:f}")) == amount
    assert Decimal(cell.money(f"${amount:,f}")) == amount


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_round_trip(at: datetime) -> None:
    assert datetime.fromisoformat(cell.instant(at.isoformat())) == at


@given(
    st.sampled_from(
        [cell.money, cell.count, cell.boolean, cell.language, cell.instant, cell.state]
    ),
    st.text(min_size=1),
)
def test_hostile_cells_are_read_or_refused(read: cell.Reader, text: str) -> None:
    try:
        found = read(text)
    except errors.Invalid:
        return
    assert isinstance(found, str)
