from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mailer import errors, settings
from mailer.core.provider import Rate


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            message = f"weight {self.weight:g}: write 0 or more"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    name: str
    rate: Rate = field(default_factory=lambda: Rate(1))
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    text: str = ""
    count: int = 0
    share: float = 0.0
    on: bool = False
    money: Decimal = Decimal(0)
    wait: timedelta = timedelta()
    waits: tuple[timedelta, ...] = ()
    at: datetime | None = None
    when: datetime | str = ""
    zone: ZoneInfo | None = None
    colour: Colour = Colour.RED
    from_: str = ""
    arm: tuple[Arm, ...] = ()
    lane: Mapping[str, Lane] = field(default_factory=dict)


def read(folder: Path, text: str) -> Everything:
    path = folder / "x.toml"
    path.write_text(text, "utf-8")
    return settings.read(path, Everything, file="x.toml")


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(errors.Invalid) as caught:
        read(folder, text)
    return [str(problem) for problem in caught.value.problems]


def test_every_type_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        text = "a"
        count = 3
        share = 2
        on = true
        money = 12.10
        wait = "2h"
        waits = ["15m", "1d"]
        at = 2026-12-31T23:59:59-05:00
        when = "deadline:q4"
        zone = "America/New_York"
        colour = "blue"
        from = "x"
        [[arm]]
        name = "b"
        weight = 0.5
        [lane.google]
        rate = "2/s"
        """,
    )
    assert found == Everything(
        text="a",
        count=3,
        share=2.0,
        on=True,
        money=Decimal("12.10"),
        wait=timedelta(hours=2),
        waits=(timedelta(minutes=15), timedelta(days=1)),
        at=datetime(2027, 1, 1, 4, 59, 59, tzinfo=UTC),
        when="deadline:q4",
        zone=ZoneInfo("America/New_York"),
        colour=Colour.BLUE,
        from_="x",
        arm=(Arm(name="b", weight=0.5),),
        lane={"google": Lane(name="google", rate=Rate(2))},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text = 1", "x.toml:1: text: 1: write text in quotes"),
        ('count = "25"', 'x.toml:1: count: "25": write a whole number'),
        ("count = true", "x.toml:1: count: true: write a whole number"),
        ("count = 1.5", "x.toml:1: count: 1.5: write a whole number"),
        ("on = 1", "x.toml:1: on: 1: write true or false"),
        ('share = "1"', 'x.toml:1: share: "1": write a number'),
        ("waits = 3", "x.toml:1: waits: 3: write a list: [ … ]"),
        ('waits = "1h"', 'x.toml:1: waits: "1h": write a list: [ … ]'),
        (
            'waits = [\n  "1h",\n  "soon",\n]',
            'x.toml:3: waits[2]: "soon" is no duration: '
            'write "90s", "15m", "2h" or "7d"',
        ),
        (
            "at = 2026-12-31T23:59:59",
            "x.toml:1: at: 2026-12-31 23:59:59: write an instant with its offset "
            "from UTC, 2026-12-31T23:59:59-05:00",
        ),
        (
            "when = 2026-12-31",
            "x.toml:1: when: 2026-12-31: write an instant with its offset from UTC, "
            "2026-12-31T23:59:59-05:00",
        ),
        (
            'zone = "Mars/Base"',
            'x.toml:1: zone: "Mars/Base" is no time zone: write "America/New_York"',
        ),
        ('colour = "bleu"', 'x.toml:1: colour: "bleu": did you mean "blue"?'),
        ('colour = "zzz"', 'x.toml:1: colour: "zzz": write one of blue, red'),
        ("arm = 1", "x.toml:1: arm: 1: write a list: [ … ]"),
        ("arm = [1]", "x.toml:1: arm[1]: 1: write a table"),
        ("[[arm]]\nweight = 1", "x.toml:1: arm[1].name: missing: it must be set"),
        (
            '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nweight = -1',
            "x.toml:3: arm[2]: weight -1: write 0 or more",
        ),
        ("[[arm]]\nname = 'a'\n[[arm]]\nname = 'a'", "x.toml:1: arm: two are named "),
        ("coutn = 3", 'x.toml:1: coutn: unknown key: did you mean "count"?'),
        (
            '[lane.google]\nrate = "100 per min"',
            'x.toml:2: lane.google.rate: "100 per min" is no rate: '
            'write "100/min", "6000/h", "2/s" or "unlimited"',
        ),
        (
            "[lane.google]\nrats = 1",
            'x.toml:2: lane.google.rats: unknown key: did you mean "rate"?',
        ),
        (
            "[lane.google]\nname = 'x'",
            'x.toml:1: lane: leave "name" out: the table is named "google"',
        ),
        ("count = ", "x.toml:1: not TOML: Invalid value"),
        ("count = 1\ncount = 2", "x.toml:2: not TOML: Cannot overwrite a value"),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(
    tmp_path: Path, text: str, message: str
) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(message)


def test_all_problems_are_named_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(tmp_path, 'count = "a"\non = "b"\n\n[lane.x]\nrate = "0/s"\nz = 1')
    assert [one.split(": ")[:2] for one in found] == [
        ["x.toml:1", "count"],
        ["x.toml:2", "on"],
        ["x.toml:5", "lane.x.rate"],
        ["x.toml:6", "lane.x.z"],
    ]


def test_a_secret_in_a_file_is_refused_and_never_shown(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "[lane.my-relay]\npassword = 'hunter2'")
    assert found == (
        "x.toml:2: lane.my-relay.password: a secret has no place in a file: "
        "set MAILER_LANE_MY_RELAY_PASSWORD or MAILER_LANE_MY_RELAY_PASSWORD_FILE"
    )


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match=r"^x\.toml: no such file$"):
        settings.read(tmp_path / "x.toml", Everything, file="x.toml")


def test_a_file_that_is_not_utf_8_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'text = "\xff"')
    with pytest.raises(errors.Invalid, match="not UTF-8"):
        settings.read(tmp_path / "x.toml", Everything, file="x.toml")
