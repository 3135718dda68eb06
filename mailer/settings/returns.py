"""The table ``[bounces]``: where what could not be delivered comes back to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mailer.core.patience import PATIENCE, Patience

# Room for "b-", a token of 45 characters and "@" in the 254 of an address.
_DOMAIN = re.compile(r"(?=.{1,190}$)[a-z0-9-]+(\.[a-z0-9-]+)+")
_ADDRESS = re.compile(r"[^@<>\s,;]+@[^@<>\s,;]+\.[^@<>\s,;.]+")
_AFTER = (2, 20)
_WITHIN = (timedelta(days=1), timedelta(days=365))


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """The return path, what listens there, and when a full mailbox is left alone."""

    domain: str | None = None  # "bounce.example.org"; None: bounces go to the sender
    metadata: bool = False  # say whose a message is in a field that Postmark hands back
    addresses: tuple[str, ...] = ()  # of ours that complaints come to
    host: str = "127.0.0.1"
    smtp: int | None = None  # port; None: does not listen
    lmtp: int | None = None
    maildir: str | None = None  # a folder that another server delivers to
    full_after: int = PATIENCE.after
    full_within: timedelta = PATIENCE.within

    def __post_init__(self) -> None:
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            message = f'domain "{self.domain}": write a name like "bounce.example.org"'
            raise ValueError(message)
        for one in self.addresses:
            if not _ADDRESS.fullmatch(one):
                message = f'addresses "{one}": write addresses, ["fbl@example.org"]'
                raise ValueError(message)
        for name, port in self.ports:
            if not 0 <= port <= 65535:
                message = f"{name} {port}: write a port from 0 to 65535"
                raise ValueError(message)
        if self.metadata and self.domain is None:
            message = "metadata: the token is that of the return path: set domain"
            raise ValueError(message)
        if self.listens and self.domain is None and not self.addresses:
            message = "nobody writes here: set domain, or addresses for complaints"
            raise ValueError(message)
        if not _AFTER[0] <= self.full_after <= _AFTER[1]:
            message = f"full_after {self.full_after}: write {_AFTER[0]} to {_AFTER[1]}"
            raise ValueError(message)
        if not _WITHIN[0] <= self.full_within <= _WITHIN[1]:
            message = 'full_within: write "1d" to "365d"'
            raise ValueError(message)

    @property
    def ports(self) -> tuple[tuple[str, int], ...]:
        """Return protocol and port of what listens."""
        given = (("smtp", self.smtp), ("lmtp", self.lmtp))
        return tuple((name, port) for name, port in given if port is not None)

    @property
    def listens(self) -> bool:
        """Tell whether `mailer run` has something to do here."""
        return bool(self.ports) or self.maildir is not None

    @property
    def patience(self) -> Patience:
        """Return when a mailbox that cannot take mail is left alone."""
        return Patience(after=self.full_after, within=self.full_within)

    @property
    def shared(self) -> tuple[object, ...]:
        """Return what must be the same on every machine."""
        return (self.domain, self.metadata, self.full_after, self.full_within)

    def folder(self, root: Path) -> Path | None:
        """Return the Maildir, from the workspace at *root*."""
        return None if self.maildir is None else root / self.maildir
