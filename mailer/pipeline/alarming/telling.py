"""Tell people of alarms: by webhook and by mail, until each notice has arrived.

A notice may arrive twice (its number stays the same), but not never: what was claimed
by a process that died is delivered by another when the lease ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from mailer import errors
from mailer.core import alarm, notice, provider
from mailer.core.alarm import Alarm, Event, Kind
from mailer.core.notice import Words
from mailer.mail import notice as letters
from mailer.mail import route
from mailer.settings import Settings, dns
from mailer.store import alarms, database

TIMEOUT = 60.0  # seconds for one notice; at the last dot of a mail 30 more
LEASE = timedelta(seconds=120)  # longer than that: nobody else begins while we may
AT_ONCE = 10  # notices

log = structlog.get_logger()


class Post(Protocol):
    """How a webhook is reached; raises Unavailable with what was answered."""

    async def __call__(
        self, url: str, *, body: bytes, headers: Mapping[str, str]
    ) -> None:
        """Post *body* once or a few times; return when it was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who speaks, and how people are reached."""

    settings: Settings
    post: Post

    @property
    def whose(self) -> str:
        """Return the name of the organization."""
        return self.settings.organization.name

    @property
    def sources(self) -> Sequence[provider.Source]:
        """Return what mails notices: the named source, else each, relays first."""
        wanted = self.settings.alarms.source
        found = [one for one in self.settings.sources if wanted in {None, one.name}]
        return sorted(found, key=lambda one: one.kind is provider.Kind.DIRECT)

    async def reach(
        self,
        channel: str,
        address: str,
        words: Words,
        *,
        id: str,
        thread: str,
        now: datetime,
    ) -> None:
        """Deliver one notice.  Raises Unavailable when it did not arrive."""
        try:
            async with asyncio.timeout(TIMEOUT):
                if channel == "webhook":
                    await self._post(address, words, id=id, now=now)
                else:
                    await self._mail(address, words, id=id, thread=thread, now=now)
        except errors.Unavailable:
            raise
        except errors.Invalid as error:
            raise errors.Unavailable(str(error)) from error
        except TimeoutError as error:
            message = f"not done within {TIMEOUT:.0f} s"
            raise errors.Unavailable(message) from error

    async def _post(self, url: str, words: Words, *, id: str, now: datetime) -> None:
        secret = self.settings.alarms.demand_secret()
        body = words.body
        headers = notice.signed(secret, id=id, at=now, body=body)
        await self.post(url, body=body, headers=headers)

    async def _mail(
        self, to: str, words: Words, *, id: str, thread: str, now: datetime
    ) -> None:
        letter = letters.write(
            id=id,
            thread=thread,
            date=now,
            sender=self.settings.organization.from_,
            to=to,
            subject=words.subject,
            text=words.text,
            signers=self.settings.signers,
        )
        asked = self.settings.dns
        router = route.routing(
            self.sources,
            servers=[dns.server(one) for one in asked.servers],
            inside=asked.inside,
        )
        await letters.send(letter, self.sources, router=router)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one notice; *error* is None when it arrived."""

    channel: str
    address: str
    error: str | None = None


async def deliver(pool: database.Pool, caller: Caller, *, now: datetime) -> list[Told]:
    """Say what is due, and deliver what is owed; return what became of it.

    Any number of processes may do this at once: each notice is delivered by one.
    """
    await announce(pool, caller)
    async with database.transaction(pool) as tx:
        mine = await alarms.claim(tx, lease=LEASE, limit=AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_deliver(pool, caller, one, now)) for one in mine]
    return [task.result() for task in tasks]


async def announce(pool: database.Pool, caller: Caller) -> int:
    """Owe everybody a notice of each alarm that is due; return how many alarms.

    Without anybody to tell, nothing is told: it will be once somebody is named.
    """
    addresses = caller.settings.alarms.addresses
    if not addresses:
        return 0
    async with database.transaction(pool) as tx:
        clock = await alarms.clock(tx)
        known = await alarms.unsettled(tx)
    repeat = caller.settings.alarms.repeat
    wanted = [one.id for one in known if alarm.due(one, repeat=repeat, now=clock)]
    return sum([await _announce(pool, caller, id) for id in wanted])


async def _announce(pool: database.Pool, caller: Caller, id: int) -> bool:
    async with database.transaction(pool) as tx:
        held = await alarms.lock(tx, id)
        if held is None:
            return False  # another process tells it
        clock = await alarms.clock(tx)
        event = alarm.due(held, repeat=caller.settings.alarms.repeat, now=clock)
        if event is None:
            return False
        said = notice.words(held, event, whose=caller.whose, now=clock)
        await alarms.owe(
            tx,
            id,
            round=await alarms.tell(tx, id, event),
            addresses=caller.settings.alarms.addresses,
            body={"subject": said.subject, "text": said.text, "payload": said.payload},
        )
    log.info("alarm.told", alarm=id, kind=held.kind.value, what=event.value)
    return True


async def _deliver(
    pool: database.Pool, caller: Caller, one: alarms.Notice, now: datetime
) -> Told:
    words = Words(**_plain(one.body))
    try:
        await caller.reach(
            one.channel,
            one.address,
            words,
            id=f"alarm-{one.id.hex[:16]}",  # a Message-ID must be short
            thread=f"alarm-{one.alarm_id}",
            now=now,
        )
    except errors.Unavailable as error:
        said = str(error)
        log.warning("notice.unsent", alarm=one.alarm_id, to=one.channel, error=said)
        await _note(pool, one, error=said)
        return Told(channel=one.channel, address=one.address, error=said)
    await _note(pool, one, error=None)
    return Told(channel=one.channel, address=one.address)


async def _note(pool: database.Pool, one: alarms.Notice, *, error: str | None) -> None:
    """Write down what became of a notice; what cannot be is tried again later."""
    try:
        async with database.transaction(pool) as tx:
            if error is None:
                await alarms.sent(tx, one.id)
            else:
                wait = alarm.retry(one.attempts)
                await alarms.unsent(tx, one.id, error=error, wait=wait)
    except (errors.Unavailable, TimeoutError) as failure:
        log.warning("notice.unnoted", alarm=one.alarm_id, error=str(failure))


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("subject", "text", "payload")}


async def speak(
    caller: Caller, about: Alarm, event: Event, *, id: str, now: datetime
) -> list[Told]:
    """Tell everybody at once of what is in no database; return what became of it.

    *id* is a word without spaces, of at most 20 characters.
    """
    words = notice.words(about, event, whose=caller.whose, now=now)
    addresses = caller.settings.alarms.addresses
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                _speak(caller, channel, address, words, id=f"{id}-{number}", now=now)
            )
            for number, (channel, address) in enumerate(addresses, 1)
        ]
    return [task.result() for task in tasks]


async def _speak(
    caller: Caller, channel: str, address: str, words: Words, *, id: str, now: datetime
) -> Told:
    try:
        thread = id.rpartition("-")[0]
        await caller.reach(channel, address, words, id=id, thread=thread, now=now)
    except errors.Unavailable as error:
        return Told(channel=channel, address=address, error=str(error))
    return Told(channel=channel, address=address)


async def try_out(caller: Caller, *, who: str, id: str, now: datetime) -> list[Told]:
    """Send a test alarm to everybody; it needs no database and leaves nothing there.

    Raises Conflict when nobody would be told.
    """
    if not caller.settings.alarms.addresses:
        message = (
            "nobody is told of alarms: set email or webhook in [alarms] of "
            "config/settings.toml"
        )
        raise errors.Conflict(message)
    about = Alarm(
        id=0,
        kind=Kind.TEST,
        subject=who,
        detail="If you read this, alarms of this kind reach you.",
        count=1,
        first_at=now,
        last_at=now,
    )
    return await speak(caller, about, Event.RAISED, id=id, now=now)
