"""What our pages say, in the languages that they speak."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

Words = Mapping[str, str]

_FOLDER = Path(__file__).with_name("texts")

SPOKEN: Mapping[str, Words] = {
    path.stem: tomllib.loads(path.read_text("utf-8"))
    for path in sorted(_FOLDER.glob("*.toml"))
}
ENGLISH = SPOKEN["en"]


def spoken(known: str | None, accepted: str) -> Words:
    """Return the words in a person's language, else in one that the browser accepts.

    *known* is a BCP 47 tag, *accepted* an Accept-Language (RFC 9110 §12.5.4), whose
    order is taken for the wish: browsers write it so.
    """
    wanted = [known or ""] + [
        part.partition(";")[0] for part in accepted.split(",")[:8]
    ]
    for tag in wanted:
        primary = tag.strip().partition("-")[0].lower()
        if primary in SPOKEN:
            return SPOKEN[primary]
    return ENGLISH


def dated(say: Words, at: datetime) -> str:
    """Return the day of *at* as people write it."""
    month = say["date.months"].split()[at.month - 1]
    return say["date"].format(day=at.day, month=month, year=at.year)
