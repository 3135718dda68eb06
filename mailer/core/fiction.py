"""Plainly fictional people for the demo, rehearsals and the bench.

Nobody can take them for somebody: every address begins with ``demo.`` and carries a
number.  The domains are those of real providers, so that lanes look as they would in
earnest; such mail is only ever delivered to our own simulated providers.

The shares of providers are those of a large list in the United States; gifts are
log-normal round $27.  The first people of a longer list are those of a shorter one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import numpy as np

# Column names of the file that an import takes.
COLUMNS = (
    "email", "first_name", "last_name", "street", "city", "state", "zip", "country",
    "time_zone", "language", "signed_up_at", "gift_count", "gift_sum", "highest_gift",
    "latest_gift", "latest_gift_at", "recurring", "joined_by",
)  # fmt: skip

DONORS = 0.12
MONTHLY = 0.08  # of the donors
INVALID = 0.001
SPANISH = 0.06
YEARS = 6.0  # that people have been signing up

_BLOCK = 1000  # people drawn at once

_DOMAINS: Mapping[str, float] = {
    "gmail.com": 52.0,
    "yahoo.com": 11.5, "aol.com": 3.6, "ymail.com": 0.8, "rocketmail.com": 0.3,
    "verizon.net": 0.8,
    "hotmail.com": 8.0, "outlook.com": 2.9, "live.com": 1.0, "msn.com": 1.1,
    "icloud.com": 4.3, "me.com": 1.2, "mac.com": 0.5,
    "comcast.net": 2.8,
    "att.net": 1.2, "sbcglobal.net": 1.1, "bellsouth.net": 0.5,
    "charter.net": 0.6, "cox.net": 0.6, "earthlink.net": 0.3, "proton.me": 0.4,
    "": 4.5,  # one of many small domains
}  # fmt: skip

# Code, millions of people, first and last three digits of its zips, zone, cities.
_STATES = [
    ("AL", 5.1, 350, 352, "America/Chicago", "Birmingham Huntsville"),
    ("AK", 0.7, 995, 997, "America/Anchorage", "Anchorage Fairbanks"),
    ("AZ", 7.4, 850, 853, "America/Phoenix", "Phoenix Mesa"),
    ("AR", 3.1, 716, 722, "America/Chicago", "Conway Jonesboro"),
    ("CA", 39.0, 900, 961, "America/Los_Angeles", "Fresno Oakland Pasadena"),
    ("CO", 5.9, 800, 806, "America/Denver", "Denver Boulder"),
    ("CT", 3.6, 60, 69, "America/New_York", "Hartford Norwalk"),
    ("DE", 1.0, 197, 199, "America/New_York", "Dover Wilmington"),
    ("DC", 0.7, 200, 203, "America/New_York", "Washington"),
    ("FL", 22.6, 327, 339, "America/New_York", "Orlando Tampa Naples"),
    ("GA", 11.0, 300, 303, "America/New_York", "Atlanta Roswell"),
    ("HI", 1.4, 967, 968, "Pacific/Honolulu", "Honolulu Hilo"),
    ("ID", 2.0, 836, 837, "America/Boise", "Boise Nampa"),
    ("IL", 12.5, 600, 629, "America/Chicago", "Chicago Peoria"),
    ("IN", 6.9, 460, 462, "America/Indiana/Indianapolis", "Carmel Muncie"),
    ("IA", 3.2, 500, 503, "America/Chicago", "Ames Dubuque"),
    ("KS", 2.9, 660, 662, "America/Chicago", "Topeka Olathe"),
    ("KY", 4.5, 400, 406, "America/New_York", "Louisville Frankfort"),
    ("LA", 4.6, 700, 708, "America/Chicago", "Lafayette Metairie"),
    ("ME", 1.4, 39, 49, "America/New_York", "Portland Bangor"),
    ("MD", 6.2, 206, 219, "America/New_York", "Baltimore Bethesda"),
    ("MA", 7.0, 10, 27, "America/New_York", "Boston Lowell"),
    ("MI", 10.0, 480, 497, "America/Detroit", "Detroit Flint"),
    ("MN", 5.7, 550, 559, "America/Chicago", "Duluth Rochester"),
    ("MS", 2.9, 390, 397, "America/Chicago", "Jackson Tupelo"),
    ("MO", 6.2, 630, 658, "America/Chicago", "Columbia Joplin"),
    ("MT", 1.1, 590, 599, "America/Denver", "Helena Bozeman"),
    ("NE", 2.0, 680, 685, "America/Chicago", "Omaha Lincoln"),
    ("NV", 3.2, 889, 891, "America/Los_Angeles", "Henderson Sparks"),
    ("NH", 1.4, 30, 38, "America/New_York", "Concord Nashua"),
    ("NJ", 9.3, 70, 89, "America/New_York", "Newark Trenton"),
    ("NM", 2.1, 870, 877, "America/Denver", "Taos Gallup"),
    ("NY", 19.6, 100, 149, "America/New_York", "Albany Brooklyn Yonkers"),
    ("NC", 10.8, 270, 289, "America/New_York", "Durham Asheville"),
    ("ND", 0.8, 580, 585, "America/Chicago", "Fargo Bismarck"),
    ("OH", 11.8, 430, 458, "America/New_York", "Akron Dayton Toledo"),
    ("OK", 4.1, 730, 749, "America/Chicago", "Tulsa Norman"),
    ("OR", 4.2, 970, 975, "America/Los_Angeles", "Salem Eugene"),
    ("PA", 13.0, 150, 196, "America/New_York", "Erie Scranton Reading"),
    ("RI", 1.1, 28, 29, "America/New_York", "Providence Warwick"),
    ("SC", 5.4, 290, 299, "America/New_York", "Columbia Aiken"),
    ("SD", 0.9, 570, 576, "America/Chicago", "Pierre Yankton"),
    ("TN", 7.1, 370, 372, "America/Chicago", "Nashville Clarksville"),
    ("TX", 30.5, 750, 797, "America/Chicago", "Austin Waco Houston"),
    ("UT", 3.4, 840, 847, "America/Denver", "Provo Ogden"),
    ("VT", 0.6, 50, 59, "America/New_York", "Burlington Rutland"),
    ("VA", 8.7, 220, 245, "America/New_York", "Richmond Roanoke"),
    ("WA", 7.8, 980, 993, "America/Los_Angeles", "Tacoma Spokane"),
    ("WV", 1.8, 247, 268, "America/New_York", "Wheeling Beckley"),
    ("WI", 5.9, 530, 549, "America/Chicago", "Madison Racine"),
    ("WY", 0.6, 820, 831, "America/Denver", "Casper Laramie"),
]

_FIRST_NAMES = """
Ada Alma Amir Anita Arlo Bea Benito Bo Carla Cedric Clara Cora Cyrus Dale Delia
Desmond Dora Edna Eli Elena Ellis Enid Esme Ezra Faye Felix Flora Gideon Gloria
Grant Greta Hal Hattie Hugo Ida Imani Inez Ira Iris Ivan Jada Joel Juno Kai
Keiko Lena Leo Lila Lorenzo Luz Mabel Marcus Mei Milo Mina Nadia Nell Noor
Octavia Odell Olga Omar Opal Otis Paloma Pearl Percy Priya Quinn Ramona Reuben
Rosa Roy Ruth Sadie Samir Selma Silas Soledad Stella Tariq Tess Theo Una Uri
Vera Vernon Viola Wade Wilma Xavier Yara Yusuf Zelda Zora
"""
_LAST_NAMES = """
Acorn Alder Applewood Ashgrove Barleyfield Bayberry Birchwater Bluestem Bramble
Brightwater Brookstone Cedarhill Clearwater Cloverdale Cottonwood Cranefield
Cresthaven Dewberry Driftwood Eastwind Elmcroft Fairweather Fernbrook Firestone
Foxglove Goldenrod Greenbriar Hartwell Hawthorne Hazelwood Heatherly Hollowell
Ironwood Juniper Kestrel Kingfisher Larkspur Lindenwood Longmeadow Maplewood
Marigold Meadowlark Millbrook Mistral Moonbeam Mossbank Nightingale Northstar
Oakhurst Orchard Osprey Partridge Pebblebrook Pinecrest Quailhollow Rainwater
Ravenswood Redbud Ridgeway Rivers Rosewater Sagebrush Sandpiper Silverleaf
Snowberry Sparrow Springfield Starling Stonebridge Summerfield Sunderland
Sycamore Tallgrass Thistle Thornbury Timberlake Underhill Vinewood Waterford
Weatherby Westbrook Whitecap Wildrose Willowbrook Winterbourne Woodruff Wren
Yarrow Yellowwood Zephyr
"""
_STREET_NAMES = """
Alder Birch Canal Depot Elm Fair Garden Hill Juniper King Lake Mill
"""
_WAYS = """
petition event donation friend volunteer
"""
_VILLAGE_NAMES = """
lake mill elm fair stone river hill oak
"""

_FIRST, _LAST = _FIRST_NAMES.split(), _LAST_NAMES.split()
_STREETS, _VILLAGES = _STREET_NAMES.split(), _VILLAGE_NAMES.split()
_JOINED_BY = _WAYS.split()


def people(count: int, *, seed: int, now: datetime) -> Iterator[Mapping[str, str]]:
    """Yield *count* people, a row of `COLUMNS` each; about 1 in 1,000 is invalid.

    The same seed and time give the same people.
    """
    for first in range(0, count, _BLOCK):
        draws = np.random.default_rng([seed, first])
        block = _Block(draws)
        for offset in range(min(_BLOCK, count - first)):
            yield _person(block, offset, number=first + offset + 1, now=now)


def lines(count: int, *, seed: int, now: datetime) -> Iterator[str]:
    """Yield the same people as the lines of a CSV file, the header first."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for person in people(count, seed=seed, now=now):
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        writer.writerow([person[name] for name in COLUMNS])
    yield buffer.getvalue()


class _Block:
    """The draws for a thousand people, made at once."""

    def __init__(self, draws: np.random.Generator) -> None:
        def chosen(weights: list[float]) -> list[int]:
            shares = np.array(weights) / sum(weights)
            return list(map(int, draws.choice(len(weights), size=_BLOCK, p=shares)))

        def below(limit: int) -> list[int]:
            return list(map(int, draws.integers(limit, size=_BLOCK)))

        self.first = below(len(_FIRST))
        self.last = below(len(_LAST))
        self.domain = chosen(list(_DOMAINS.values()))
        self.village = below(len(_VILLAGES) * 40)
        self.state = chosen([state[1] for state in _STATES])
        self.place = below(1_000_000_000)
        self.spanish = (draws.random(_BLOCK) < SPANISH).tolist()
        # lists grow: half of the people came in the last third of the time
        self.age = (YEARS * draws.random(_BLOCK) ** 1.6).tolist()
        self.joined_by = below(len(_JOINED_BY))
        self.donor = (draws.random(_BLOCK) < DONORS).tolist()
        self.gifts = draws.geometric(0.35, _BLOCK).tolist()
        self.typical = draws.lognormal(np.log(27), 0.8, _BLOCK).tolist()
        self.spread = draws.lognormal(0, 0.35, (_BLOCK, 3)).tolist()
        self.since = (draws.random(_BLOCK) ** 1.5).tolist()
        self.monthly = (draws.random(_BLOCK) < MONTHLY).tolist()
        self.invalid = (draws.random(_BLOCK) < INVALID).tolist()


def _person(block: _Block, at: int, *, number: int, now: datetime) -> dict[str, str]:
    first, last = _FIRST[block.first[at]], _LAST[block.last[at]]
    code, _, low, high, zone, cities = _STATES[block.state[at]]
    place = block.place[at]
    towns = cities.split()
    signed_up_at = now - timedelta(days=365.25 * block.age[at])
    domain = _domain(block, at)
    person = {
        "email": f"demo.{first}.{last}.{number:05}@{domain}".lower(),
        "first_name": first,
        "last_name": last,
        "street": f"{1 + place % 989} {_STREETS[place % len(_STREETS)]} Street",
        "city": towns[place % len(towns)],
        "state": code,
        "zip": f"{low + place % (high - low + 1):03}{place // 1000 % 100:02}",
        "country": "US",
        "time_zone": zone,
        "language": "es" if block.spanish[at] else "en",
        "signed_up_at": signed_up_at.isoformat(timespec="seconds"),
        **_giving(block, at, signed_up_at=signed_up_at, now=now),
        "joined_by": _JOINED_BY[block.joined_by[at]],
    }
    if block.invalid[at]:
        person |= _mistake(person, place)
    return person


def _domain(block: _Block, at: int) -> str:
    known = list(_DOMAINS)[block.domain[at]]
    if known:
        return known
    village = block.village[at]
    return f"{_VILLAGES[village % len(_VILLAGES)]}{village // len(_VILLAGES)}.example"


def _giving(
    block: _Block, at: int, *, signed_up_at: datetime, now: datetime
) -> dict[str, str]:
    """Return what one person gave; most gave nothing."""
    if not block.donor[at]:
        return dict.fromkeys(
            ("gift_count", "gift_sum", "highest_gift", "latest_gift",
             "latest_gift_at", "recurring"), "",
        )  # fmt: skip
    count = block.gifts[at]
    amounts = [_round(block.typical[at] * factor) for factor in block.spread[at]]
    amounts = amounts[: min(count, 3)]
    total = sum(amounts) + (count - len(amounts)) * min(amounts)
    latest_at = now - (now - signed_up_at) * block.since[at]
    return {
        "gift_count": str(count),
        "gift_sum": f"{total}.00",
        "highest_gift": f"{max(amounts)}.00",
        "latest_gift": f"{amounts[0]}.00",
        "latest_gift_at": latest_at.isoformat(timespec="seconds"),
        "recurring": "yes" if block.monthly[at] else "no",
    }


def _round(amount: float) -> int:
    """Return what people really give: whole dollars, and fives beyond ten."""
    return max(3, round(amount)) if amount < 10 else 5 * round(amount / 5)


def _mistake(person: Mapping[str, str], place: int) -> dict[str, str]:
    """Return what somebody typed wrongly."""
    email = person["email"]
    mistakes = [
        {"email": email.replace("@", "")},
        {"email": email.replace(".com", ",com").replace(".net", ",net")},
        {"email": email.replace("demo.", "demo..")},
        {"email": ""},
        {"email": f"{email.partition('@')[0]}@localhost"},
        {"signed_up_at": "last summer"},
        {"latest_gift": "a lot"},
    ]
    return mistakes[place % len(mistakes)]
