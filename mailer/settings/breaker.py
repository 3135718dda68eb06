"""The table ``[breaker]``: which shares of a blast pause it."""

from __future__ import annotations

from dataclasses import dataclass

from mailer.core import blast
from mailer.core import breaker as limits_of

_LEAST = (100, 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Shares of what was attempted, at one provider or everywhere, that are too much.

    Bounces: Amazon SES reviews an account from 5 % and pauses it from 10 %
    (docs.aws.amazon.com/ses/latest/dg/reputationdashboard-bounce-rate.html).
    Complaints: Gmail wants less than 0.1 % and never 0.3 %
    (support.google.com/a/answer/81126).  Unsubscribes: nobody's rule; ten times what
    a good mailing has.
    """

    bounces: str = "10%"
    complaints: str = "0.3%"
    unsubscribes: str = "3%"
    least: int = 1000  # attempted messages before a share says anything

    def __post_init__(self) -> None:
        for name in ("bounces", "complaints", "unsubscribes"):
            text = getattr(self, name)
            if not 0 < blast.share(text) <= 1:
                message = f'{name} "{text}": write a share above 0, "0.3%"'
                raise ValueError(message)
        if not _LEAST[0] <= self.least <= _LEAST[1]:
            message = f"least {self.least}: write {_LEAST[0]} to {_LEAST[1]:,}"
            raise ValueError(message)

    @property
    def limits(self) -> limits_of.Limits:
        """Return the shares from 0 to 1."""
        return limits_of.Limits(
            bounces=blast.share(self.bounces),
            complaints=blast.share(self.complaints),
            unsubscribes=blast.share(self.unsubscribes),
            least=self.least,
        )
