"""Load the spools into the database: events, people, suppressions, gifts, counters.

One transaction a batch; a segment is unlinked after the commit.  Every event has its id
from its receipt, so a batch that is loaded twice changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from mailer import errors, spool
from mailer.core import event, feedback, preference, provider
from mailer.core.delivery import ANYBODY
from mailer.core.donation import Gift
from mailer.core.event import Event, Kind, Queue
from mailer.core.machine import Bursts
from mailer.core.patience import PATIENCE, Patience
from mailer.core.preference import Mode
from mailer.store import (
    confirmations,
    database,
    donations,
    events,
    preferences,
    privacy,
    reviews,
    suppressions,
    visits,
)
from mailer.store.events import Cell, Known, Person, Tally

PAUSE = 0.25  # seconds; unsubscribes and gifts are effective within half a second
BATCH = 1000  # events; larger ones gain little and let redirects wait for longer
AGAIN = 1.0  # seconds, when the database is away or another process loads
LAST = 10.0  # seconds for what is left when we stop; the spool keeps the rest

_LOADER = "loader"

_log = structlog.get_logger(__name__)


async def run(
    pool: database.Pool,
    root: Path,
    stop: asyncio.Event,
    *,
    loader: Loader | None = None,
) -> None:
    """Load what arrives under *root* until *stop*, then what is left.

    Of several processes on one folder one loads; the others stand by.
    """
    loader = loader or Loader(pool, root)
    with ExitStack() as stack:
        while not loader.is_ours:
            if stop.is_set():
                return
            try:
                stack.enter_context(spool.owned(root / _LOADER))
                loader.is_ours = True
            except errors.Conflict:
                await _wait(stop, AGAIN)
        while not stop.is_set():
            try:
                pause = 0.0 if await loader.step() else PAUSE
            except (errors.Unavailable, OSError) as error:
                loader.excuse()
                _log.warning("events wait for the database", error=str(error))
                pause = AGAIN
            except Exception as error:  # noqa: BLE001 -- redirects go on all the same
                said = str(error).partition("\n")[0]  # the rest quotes rows
                _log.error("events not loaded", kind=type(error).__name__, error=said)
                pause = AGAIN
            await _wait(stop, pause)
        try:
            async with asyncio.timeout(LAST):
                while await loader.step():
                    pass
        except (errors.Unavailable, TimeoutError) as error:
            _log.warning("events are left for the next start", error=str(error))
        loader.is_ours = False


async def drain(
    pool: database.Pool,
    root: Path,
    *,
    patience: Patience = PATIENCE,
) -> int:
    """Load all that is under *root* now, and return how many events were new.

    Raises Conflict when another process is loading there.
    """
    with spool.owned(root / _LOADER):
        loader = Loader(pool, root, patience=patience)
        while await loader.step():
            pass
        return loader.loaded


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


class Loader:
    """The reader of every spool under a folder, of the living and of the dead."""

    def __init__(
        self,
        pool: database.Pool,
        root: Path,
        *,
        patience: Patience = PATIENCE,
    ) -> None:
        self.is_ours = False
        self.loaded = 0  # events that were new
        self.unreadable = 0  # records that are no events
        self.rejected = 0  # events that the database refuses
        self._caught_up = time.monotonic()
        self._pool = pool
        self._root = root
        self._patience = patience
        self._tails: dict[Path, spool.Tail] = {}
        self._bursts = Bursts()

    @property
    def pending(self) -> int:
        """Return how many bytes wait to be loaded."""
        total = 0
        for folder in self._folders():
            tail = self._tails.get(folder)
            at = tail.position if tail is not None else spool.Position()
            for number, path in spool.segments(folder):
                if number >= at.segment:
                    total += path.stat().st_size
                if number == at.segment:
                    total -= at.offset
        return total

    @property
    def behind(self) -> float:
        """Return for how many seconds there was more to load than could be."""
        return time.monotonic() - self._caught_up if self.is_ours else 0.0

    def excuse(self) -> None:
        """Begin anew to count for how long it is behind: the database is away."""
        self._caught_up = time.monotonic()

    @property
    def damaged(self) -> int:
        """Return how many places of segments were damaged; a torn end is none."""
        return sum(tail.damaged for tail in self._tails.values())

    @property
    def lost(self) -> int:
        """Return how many ends of segments were torn, and places damaged."""
        return sum(tail.torn + tail.damaged for tail in self._tails.values())

    async def step(self) -> int:
        """Load a batch of what is urgent, then one of the rest; return how many.

        Raises Unavailable when the database is away: nothing is lost, try again.
        """
        dead = {
            folder
            for queue in Queue
            for folder in spool.leftovers(self._root / queue.value)
        }
        for folder in self._folders():
            tail = self._tails.setdefault(folder, spool.Tail(folder))
            tail.is_finished = folder in dead
        count = 0
        for queue in Queue:
            tails = [
                tail
                for folder, tail in self._tails.items()
                if folder.parent.name == queue.value
            ]
            count += await self._batch(tails)
        for folder in dead:
            if not spool.segments(folder):
                self._bury(folder)
        if count < BATCH:
            self._caught_up = time.monotonic()
        return count

    def _folders(self) -> list[Path]:
        return [
            folder
            for queue in Queue
            if (self._root / queue.value).is_dir()
            for folder in sorted((self._root / queue.value).iterdir())
        ]

    async def _batch(self, tails: list[spool.Tail]) -> int:
        before = [tail.position for tail in tails]
        records: list[bytes] = []
        for tail in tails:
            found = tail.read(BATCH - len(records))
            records += [record.payload for record in found]
        try:
            self.loaded += await self._load(self._events(records))
        except BaseException:  # the database is away, or we are told to stop
            for tail, position in zip(tails, before, strict=True):
                tail.position = position
            raise
        for tail in tails:
            tail.forget()
        return len(records)

    async def _load(self, given: list[Event]) -> int:
        """Load *given*; what the database refuses is set aside, the rest goes on."""
        if not given:
            return 0
        try:
            return await load(
                self._pool, given, patience=self._patience, bursts=self._bursts
            )
        except database.REFUSED as error:  # one record must not stop all others
            if len(given) > 1:
                half = len(given) // 2
                return await self._load(given[:half]) + await self._load(given[half:])
            self.rejected += 1
            _log.error("event refused", id=str(given[0].id), error=type(error).__name__)
            with (self._root / "refused.jsonl").open("ab") as file:
                file.write(event.encode(given[0]) + b"\n")
            return 0

    def _events(self, records: Iterable[bytes]) -> list[Event]:
        found = []
        for record in records:
            try:
                found.append(event.decode(record))
            except errors.Invalid as error:
                self.unreadable += 1
                _log.error("record skipped", error=str(error))
        return found

    def _bury(self, folder: Path) -> None:
        """Remove what a dead process left, once it is loaded."""
        with suppress(errors.Conflict), spool.owned(folder):
            spool.remove(folder)
        if not folder.exists():
            del self._tails[folder]


# ── One batch ───────────────────────────────────────────────────────────────


async def load(
    pool: database.Pool,
    given: list[Event],
    *,
    patience: Patience = PATIENCE,
    bursts: Bursts | None = None,
) -> int:
    """Write *given* and all that follows from them, and return how many were new.

    *bursts* is what came lately: visits are also judged by what came with them.
    """
    tallies: dict[Cell, Tally] = {}
    async with database.transaction(pool) as tx:
        strays = await reviews.add(tx, given)
        given = [one for one in given if one.stray is None]
        if any(one.gift is not None for one in given):
            await donations.lock(tx)
        bodies = {one.id: one.body for one in given if one.body is not None}
        given = [_without_address(one) for one in await _allowed(tx, given)]
        known = await events.add(tx, given)
        await privacy.count(tx, known)
        if not known:
            return strays
        changed = await visits.judge(tx, known, bursts or Bursts())
        await _engage(tx, [one for one in known if one.person not in changed], tallies)
        await _recount(tx, known, changed, tallies)
        gone = [
            one.person
            for one in known
            if one.kind is Kind.UNSUBSCRIBE and one.person is not None
        ]
        if gone:
            await events.suppress(tx, gone)
        await _heed(tx, known, given, patience)
        for one in sorted(known, key=lambda one: one.at):
            await _choose(tx, one, bodies.get(one.id, {}))
        gifts = {one.id: one.gift for one in given if one.gift is not None}
        for one in known:
            if one.id in gifts:
                await _give(tx, gifts[one.id], tallies)
        await events.add_to_rollup(tx, tallies)
    return len(known) + strays


async def _heed(
    tx: database.Connection,
    known: list[Known],
    given: list[Event],
    patience: Patience,
) -> None:
    """Suppress those whose mailbox is gone, and those who complained."""
    back = [one for one in known if one.kind in {Kind.BOUNCE, Kind.COMPLAINT}]
    if not back:
        return
    said = {one.id: one.body or {} for one in given}
    found = await events.returned(tx, back, within=patience.within)
    wanted = []
    for one in back:
        if one.id not in found:  # of a blast or a person that is gone
            continue
        about = found[one.id]
        follows = feedback.follow(
            one.kind, said[one.id], at=one.at, about=about.about, patience=patience
        )
        if follows is not None:
            wanted.append(
                suppressions.Wanted(
                    address=about.about.address,
                    reason=follows.reason,
                    note=f"blast {about.blast}: {follows.note}",
                    expires_at=follows.expires_at,
                )
            )
    if wanted:
        await suppressions.add(tx, wanted, source="mail that came back")


async def _allowed(tx: database.Connection, given: list[Event]) -> list[Event]:
    """Return what may be kept: a person's wish holds also for mail sent before it."""
    visits = {Kind.OPEN, Kind.CLICK}
    people = {one.subscriber for one in given if one.kind in visits and one.subscriber}
    modes = await privacy.modes(tx, people) if people else {}
    if not modes:
        return given
    found = []
    for one in given:
        mode = modes.get(one.subscriber or 0) if one.kind in visits else None
        if mode is Mode.AGGREGATE:
            found.append(replace(one, subscriber=ANYBODY, agent=None, ip=None))
        elif mode is not Mode.OFF:
            found.append(one)
    return found


def _without_address(one: Event) -> Event:
    """Return what is kept of an event: addresses stand where they can be forgotten."""
    if one.kind is Kind.SIGNUP:
        return replace(one, body=None)
    if one.kind is Kind.PREFERENCES and one.body is not None:
        kept = {key: one.body[key] for key in one.body.keys() - {"email", "place"}}
        return replace(one, body=kept)
    return one


async def _recount(
    tx: database.Connection,
    known: list[Known],
    changed: set[Person],
    tallies: dict[Cell, Tally],
) -> None:
    """Count those whose labels changed by all that is known of them."""
    theirs = [one for one in known if one.person in changed]
    others = [one for one in theirs if one.kind not in {Kind.OPEN, Kind.CLICK}]
    await _engage(tx, others, tallies)
    await visits.recount(tx, changed, tallies)


async def _engage(
    tx: database.Connection, known: list[Known], tallies: dict[Cell, Tally]
) -> None:
    """Remember who reacted, and count people who had not."""
    by_person: dict[Person, list[Known]] = {}
    for one in known:
        if one.person is not None and event.count(one.kind, one.label) is not None:
            by_person.setdefault(one.person, []).append(one)
    if not by_person:
        return
    before = await events.lock_engagements(tx, by_person)
    after = {}
    for person, seen in by_person.items():
        after[person] = event.engaged(
            before[person],
            [
                (what, one.at)
                for one in seen
                if (what := event.count(one.kind, one.label)) is not None
            ],
        )
        some = seen[0]
        for what, hour, more in event.changes(before[person], after[person]):
            cell = Cell(person.blast, some.variant, some.provider, hour)
            people = tallies.setdefault(cell, Tally()).people
            people[what] = people.get(what, 0) + more
    await events.save_engagements(tx, after)


async def _choose(tx: database.Connection, one: Known, body: Mapping[str, Any]) -> None:
    """Do what a person chose about our mail."""
    if one.kind in {Kind.SIGNUP, Kind.CONFIRMATION}:
        await _sign_up(tx, one, body)
        return
    if one.person is None:
        return
    who, blast = one.person.subscriber, one.person.blast
    if one.kind is Kind.RETURN:
        await preferences.come_back(tx, subscriber=who, blast=blast)
    elif one.kind is Kind.PREFERENCES:
        choice = preference.from_json(body)
        await preferences.choose(tx, subscriber=who, choice=choice, at=one.at)
        if isinstance(body.get("place"), dict):
            await confirmations.add(
                tx, event=one.id, subscriber=who, asked=body["place"], at=one.at
            )


async def _sign_up(
    tx: database.Connection, one: Known, body: Mapping[str, Any]
) -> None:
    """Ask who wants our mail, or take their answer."""
    if one.kind is Kind.CONFIRMATION:
        await confirmations.confirm(tx, int(body["confirmation"]), at=one.at)
    elif body.get("confirm", True):
        asked = {**body, "agent": one.agent, "network": one.network}
        await confirmations.add(
            tx, event=one.id, subscriber=None, asked=asked, at=one.at
        )
    else:
        await confirmations.join(tx, body, at=one.at)


async def _give(
    tx: database.Connection, gift: Gift, tallies: dict[Cell, Tally]
) -> None:
    """Attribute a gift, add it, and count it; renewals are not news of a blast."""
    found = await donations.attribute(tx, gift)
    first = await donations.first(tx, gift, found)
    is_new = await donations.add(tx, gift, found)
    if not is_new or found.blast is None or gift.renewal:
        return

    blast, where = found.blast, found.provider or provider.OTHER

    def tally(variant: int | None, at: datetime) -> Tally:
        cell = Cell(blast, variant or 0, where, event.hour(at))
        return tallies.setdefault(cell, Tally())

    mine = tally(found.variant, gift.at)
    mine.gifts += 1
    mine.money += gift.amount
    if first is None:
        mine.donors += 1
    elif (gift.at, gift.external_id) < (first.at, first.external_id):
        mine.donors += 1
        tally(first.variant, first.at).donors -= 1
