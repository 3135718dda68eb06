"""The table ``[alarms]``: who is told when something needs a person."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mailer import errors
from mailer.core import alarm, blast, notice
from mailer.core.provider import Source
from mailer.settings import document, secret

SECRET = "MAILER_ALARM_SECRET"  # noqa: S105 -- the name of the variable

_ADDRESS = re.compile(r"[^@<>\s,;]+@[^@<>\s,;]+\.[^@<>\s,;.]+")
# Unencrypted only to this machine: what is said names blasts and machines.
_WEBHOOK = re.compile(
    r"https://[A-Za-z0-9.:\[\]-]+(?:/[!-~]*)?"
    r"|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?:/[!-~]*)?"
)
_REPEAT = (timedelta(minutes=1), timedelta(days=1))
_STALLED = (timedelta(minutes=1), timedelta(hours=6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Who is told, how often, and from when something is worth it."""

    email: tuple[str, ...] = ()
    webhook: str | None = None
    secret: notice.Secret | None = field(default=None, repr=False)
    source: str | None = None  # what mails them; else each in turn
    repeat: timedelta = alarm.REPEAT
    stalled: timedelta = timedelta(minutes=5)
    failed: str = "5%"

    def __post_init__(self) -> None:
        for one in self.email:
            if not _ADDRESS.fullmatch(one):
                message = f'email "{one}": write addresses, ["ada@example.org"]'
                raise ValueError(message)
        if len({one.lower() for one in self.email}) < len(self.email):
            message = "email: an address is there twice: leave one out"
            raise ValueError(message)
        if self.webhook is not None and not _WEBHOOK.fullmatch(self.webhook):
            message = (
                f"webhook {errors.quote(self.webhook)}: write an https:// address "
                "(http:// only on this machine)"
            )
            raise ValueError(message)
        _demand("repeat", self.repeat, *_REPEAT)
        _demand("stalled", self.stalled, *_STALLED)
        if not 0 < self.share <= 1:
            message = f'failed "{self.failed}": write a share above 0, "5%"'
            raise ValueError(message)

    def demand_secret(self) -> notice.Secret:
        """Return what signs; only those who post need it.  Invalid: it is not set."""
        if self.secret is None:
            message = (
                f"[alarms] webhook: nothing to sign with: set {SECRET} (or "
                f"{SECRET}_FILE) to what `openssl rand -base64 32` prints, here and at "
                "the receiver"
            )
            raise errors.Invalid(message)
        return self.secret

    @property
    def share(self) -> float:
        """Return the share of failed messages that pauses a blast, from 0 to 1."""
        return blast.share(self.failed)

    @property
    def addresses(self) -> tuple[tuple[str, str], ...]:
        """Return channel and address of everybody who is told."""
        hooks = (("webhook", self.webhook),) if self.webhook else ()
        return (*hooks, *(("email", one) for one in self.email))


def _demand(key: str, value: timedelta, least: timedelta, most: timedelta) -> None:
    if not least <= value <= most:
        message = f"{key} {_short(value)}: write {_short(least)} to {_short(most)}"
        raise ValueError(message)


def _short(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def complete(
    root: Path,
    written: Alarms,
    *,
    sources: Mapping[str, Source],
    file: Path,
    environment: Mapping[str, str],
) -> Alarms:
    """Give *written* its secret.  Raises Invalid when it does not fit the rest."""
    problems = [
        errors.Problem(file=str(file), key=f"alarms.{key}", message=message)
        for key, message in _misfits(written, sources=sources)
    ]
    key = None
    text = secret.get(SECRET, environment=environment)
    if text is not None:
        try:
            key = notice.Secret.parse(text)
        except ValueError as error:
            problems.append(errors.Problem(message=f"{SECRET}: {error}"))
    if problems:
        _, places = document.load(root / file, file=str(file))
        raise document.relocated(errors.Invalid(problems), places)
    return dataclasses.replace(written, secret=key)


def _misfits(
    written: Alarms, *, sources: Mapping[str, Source]
) -> Iterator[tuple[str, str]]:
    if written.source is not None and written.source not in sources:
        yield (
            "source",
            f"there is no [source.{written.source}]: "
            f"{errors.nearest(written.source, sources)}",
        )
