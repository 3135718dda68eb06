"""Caps: limits that lanes share, beside their own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailer.core.provider import Lane, Rate

_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")
_DAILY = 2_000_000_000  # PostgreSQL's integer holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit of all lanes of a provider, a source, a domain of From, or all of these.

    What is left out is any: with a domain and no provider it holds for the mail of
    that domain wherever it goes.
    """

    name: str
    provider: str | None = None
    source: str | None = None
    domain: str | None = None
    rate: Rate | None = None
    daily: int | None = None  # messages a day, by UTC

    def __post_init__(self) -> None:
        if not (self.provider or self.source or self.domain):
            message = "of what? write provider, source or domain"
            raise ValueError(message)
        if self.rate is None and self.daily is None:
            message = 'how much? write rate, like "600/min", or daily'
            raise ValueError(message)
        if self.rate is not None and self.rate.is_unlimited:
            message = 'rate "unlimited" is no limit: leave the table out instead'
            raise ValueError(message)
        if self.daily is not None and not 1 <= self.daily <= _DAILY:
            message = f"daily {self.daily}: write a number from 1 to {_DAILY}"
            raise ValueError(message)
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            message = f'domain "{self.domain}": write a name like example.org'
            raise ValueError(message)

    def holds(self, lane: Lane) -> bool:
        """Tell whether *lane* shares it, be it for some domains of From only."""
        is_its_provider = self.provider in {None, lane.provider}
        return is_its_provider and self.source in {None, lane.source}
