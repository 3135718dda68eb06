"""What a session carries: one transaction each, pulled when there is room for it."""

from __future__ import annotations

from typing import Protocol

from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Stage

End = Answered | Lost


class Parcel:
    """One transaction: the commands and the body that are not written yet."""

    __slots__ = ("commands", "data", "is_dotless", "is_ended")

    def __init__(
        self,
        commands: list[tuple[Stage, bytes]],
        data: bytes,
        *,
        is_dotless: bool = False,
    ) -> None:
        self.commands = commands
        self.data = data
        self.is_dotless = is_dotless  # no line begins with a dot
        self.is_ended = False


class Cargo(Protocol):
    """What a session carries.  It is called between two reads and must not wait."""

    def next(self) -> Parcel | None:
        """Return the parcel whose MAIL is written now; None: there is none to send."""

    def begin(self, parcel: Parcel) -> None:
        """Note that a body is written now whose dot may follow.

        The server has said 354.  Whatever is raised keeps the body from being
        written; only closing the connection does, so it is closed.
        """

    def end(self, parcel: Parcel, end: End) -> None:
        """Take over how it ended."""

    def closed(self, reason: str) -> None:
        """Learn that the connection is closed; every parcel has its end."""
