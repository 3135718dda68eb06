"""How long a mailbox that cannot take mail is tried: in so many blasts, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a mailbox may be full: in so many blasts, within so long."""

    after: int = 3
    within: timedelta = timedelta(days=60)


PATIENCE = Patience()
