"""One connection of a lane: chunks in, messages out, outcomes to the settler."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

import structlog

from mailer import errors, spool
from mailer.core import bounce, delivery, evidence, provider
from mailer.core.delivery import State, SubscriberId
from mailer.core.subscriber import Subscriber
from mailer.mail import message, smtp
from mailer.mail.route import Key, Route
from mailer.mail.session import Session
from mailer.pipeline.sending.content import Content
from mailer.pipeline.sending.load import RECONNECTS, Item, Load
from mailer.pipeline.sending.meter import Closed, Meter
from mailer.pipeline.sending.outcomes import Outcomes
from mailer.pipeline.sending.routing import Guide, Way
from mailer.pipeline.sending.settler import Return, Settler
from mailer.pipeline.sending.steering import Steering, Tally
from mailer.pipeline.sending.watch import Watch
from mailer.store import chunks, database, subscribers

AHEAD = 16  # messages that are composed in a row: what they need stays in the caches
LOW = 4  # … and so many are left when the next are composed
IDLE = 10.0  # seconds without a token, until a connection is not kept any more
BREATH = timedelta(seconds=5)  # of a lane that is told to slow down
BACKOFF = timedelta(seconds=30)  # of a lane whose server cannot be reached

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a carrier is told: where to send, by which rules, how often to retry."""

    lane: provider.Lane
    guide: Guide
    rules: bounce.Rules
    retry: tuple[timedelta, ...]
    patience: float  # seconds that others wait behind an answer that is missing

    @property
    def key(self) -> tuple[str, str]:
        """Return what the lane is known by."""
        return self.lane.provider, self.lane.source

    @property
    def is_shared(self) -> bool:
        """Tell whether many domains share the lane, each with servers of its own."""
        return self.guide.is_direct and self.lane.provider == provider.OTHER


@dataclass(slots=True, kw_only=True)
class Carrier:
    """Carries the messages of chunks over one connection of a lane."""

    pool: database.Pool
    plan: Plan
    steering: Steering
    watch: Watch
    settler: Settler
    journal: spool.Writer
    stop: asyncio.Event
    _session: Session | None = None
    _key: Key | None = None  # of the route that the session was opened for
    _load: Load | None = None
    _meter: Meter = field(init=False)
    _tally: Tally = field(init=False)
    _is_recalled: bool = False

    def __post_init__(self) -> None:
        self._tally = self.steering.tally(self.plan.key)

    async def carry(
        self, chunk: chunks.Chunk, content: Content, *, meter: Meter
    ) -> bool:
        """Send what is owed of *chunk*; tell whether the lane may go on.

        However it ends, every row has its end or is given back.
        """
        wait, is_finished = timedelta(0), False
        self._meter = meter
        outcomes = Outcomes(
            chunk=chunk,
            rules=self.plan.rules,
            retry=self.plan.retry,
            is_shared=self.plan.is_shared,
            watch=self.watch,
            settler=self.settler,
            writer=self.journal,
            tally=self._tally,
        )
        load = Load(
            chunk,
            outcomes=outcomes,
            meter=meter,
            watch=self.watch,
            stop=self.stop,
            low=LOW,
            limit=self.plan.lane.messages,
        )
        self._load = load
        self.watch.leases.listen(chunk, load.wake.set)
        try:
            try:
                await self._carry(load, content)
                is_finished = True
            finally:
                load.is_over = True
                await _ended(load)
        except Closed:
            pass
        except errors.Unavailable as error:
            log.warning("carrier.unavailable", error=str(error))
            wait = timedelta(seconds=1)
        finally:
            self.watch.leases.listen(chunk, None)
            self.settler.put_back(
                Return(chunk=chunk, is_finished=is_finished, wait=wait)
            )
        return is_finished or load.is_outranked

    def leave(self) -> None:
        """End what is under way, give the chunk back and close the connection."""
        self._is_recalled = True
        if self._load is not None:
            self._load.is_over = True
            self._load.wake.set()

    def put_down(self, outranked: Collection[int]) -> None:
        """Give the chunk back if it is one of *outranked*, for one more urgent."""
        if self._load is not None and self._load.chunk.id in outranked:
            self._load.is_outranked = self._load.is_over = True
            self._load.wake.set()

    async def close(self) -> None:
        """Say goodbye to the server."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.quit()

    async def _carry(self, load: Load, content: Content) -> None:
        load.look = self.watch.looks
        async with database.connection(self.pool) as tx:
            owed = await chunks.rows(
                tx, load.chunk, topic=content.topic, excluded=content.excluded
            )
            people = await _people(tx, owed)
        ways = await self.plan.guide.ask(people.values())
        left = deque(await self._divert(load, owed, people, ways))
        while True:
            load.wake.clear()
            await self._obey(load)
            await self._grant(load, left)  # may take a while, in which people leave
            await self._ask_again(load, content)
            await self._compose(load, left, people, ways, content)
            if load.ready:
                await self._embark(load)
            elif not left and not load.changed and not load.is_under_way:
                return
            await self._wait(load, left)

    async def _wait(self, load: Load, left: deque[chunks.Owed]) -> None:
        """Wait for the session; who is behind a silent one is not kept waiting."""
        ended = load.ended
        try:
            async with asyncio.timeout(self.plan.patience):
                await load.wake.wait()
        except TimeoutError:
            if load.ended == ended and load.is_under_way:
                await self._hand_on(load, left)

    async def _hand_on(self, load: Load, left: deque[chunks.Owed]) -> None:
        """Give what was not started to other connections of the lane."""
        rest = [one.row.seq for one in (*load.ready, *load.changed)]
        rest += [row.seq for row in left]
        if not rest:
            return
        # Before any wait: what is handed on, the session must not start meanwhile.
        load.ready.clear()
        load.changed.clear()
        left.clear()
        async with database.transaction(self.pool) as tx:
            chunk = await chunks.divert(
                tx,
                load.chunk,
                owner=self.settler.owner,
                left=load.started(),
                moved={load.chunk.provider: sorted(rest)},
                start_at=self.watch.now(),
            )
        if chunk is None:
            raise Closed
        log.info("chunk.handed_on", chunk=chunk.id, rows=len(rest))
        load.chunk = load.outcomes.chunk = chunk

    async def _compose(
        self,
        load: Load,
        left: deque[chunks.Owed],
        people: Mapping[SubscriberId, Subscriber],
        ways: Mapping[str, Way],
        content: Content,
    ) -> None:
        """Write the next messages; no more than may start soon."""
        if len(load.ready) >= LOW:
            return
        ahead = self._meter.left(AHEAD) - len(load.ready)
        written: list[tuple[chunks.Owed, Subscriber, Route | None, message.Draft]] = []
        while left and len(written) < ahead:
            row = left.popleft()
            person = people.get(row.subscriber_id)
            if row.suppressed or row.excluded or person is None:
                load.outcomes.leave_out(row)
                continue
            way = self.plan.guide.way(ways.get(person.domain))
            if isinstance(way, bounce.Answered):
                load.outcomes.answer(row, way)
                continue
            date = row.dated_at or self.watch.now()
            try:
                draft = content.composers[row.variant].draft(
                    person, seq=row.seq, date=date
                )
            except errors.Invalid as error:
                load.outcomes.conclude(row, State.FAILED, reply=str(error)[:500])
                continue
            written.append((row, person, way, draft))
        letters = await _signed([draft for *_, draft in written])
        for (row, person, way, _), letter in zip(written, letters, strict=True):
            load.ready.append(Item(row, person, letter, look=load.look, route=way))

    async def _ask_again(self, load: Load, content: Content) -> None:
        """Ask about those of whom something was learned, and let the others go on."""
        changed, load.changed = load.changed, []
        for item in reversed(changed):
            item.look = self.watch.looks
            async with database.connection(self.pool) as tx:
                row = await chunks.row(
                    tx,
                    load.chunk,
                    item.row.seq,
                    topic=content.topic,
                    excluded=content.excluded,
                )
            item.row = row or item.row
            if item.row.suppressed or item.row.excluded:
                load.outcomes.leave_out(item.row)
            else:
                load.ready.appendleft(item)

    async def _obey(self, load: Load) -> None:
        """Do to the lane what replies ask for.  Raises Closed if nothing may start."""
        if load.outcomes.failure is not None:
            raise load.outcomes.failure
        if load.verdict is not None:
            verdict, load.verdict = load.verdict, None
            outcome = verdict.outcome
            reason = getattr(outcome, "reply", None) or getattr(outcome, "reason", "")
            if verdict.action is bounce.Action.RECONNECT:
                await _ended(load)
                await self.close()
            elif verdict.action in evidence.ASKS:
                await self.steering.tell(self.plan.key)
                if verdict.action is not bounce.Action.CUT:
                    raise Closed
            elif isinstance(outcome, delivery.Throttled):
                await self._pause(BREATH, str(reason))
        if load.is_turned_away:
            load.is_turned_away = False
            await self._pause(BACKOFF, f"closed {RECONNECTS} times before the dot")
        if load.is_over or self._is_recalled or self.stop.is_set():
            raise Closed

    async def _pause(self, wait: timedelta, reason: str) -> NoReturn:
        """Have the lane rest for a moment.  Raises Closed."""
        self._tally.pause(wait, reason)
        await self.steering.tell(self.plan.key)
        raise Closed

    async def _grant(self, load: Load, left: deque[chunks.Owed]) -> None:
        """Have the right to send a message; unlimited lanes ask nobody."""

        def is_wanted() -> bool:
            return not load.is_over and bool(left or load.ready)

        while is_wanted() and not self._meter.has() and not self.stop.is_set():
            try:
                async with asyncio.timeout(IDLE):
                    await self._meter.wait(self.stop, is_wanted)
            except TimeoutError:
                if not load.is_under_way:
                    await self.close()
        if self.stop.is_set():
            raise Closed

    async def _embark(self, load: Load) -> None:
        """Have an open session carry *load*: a new one when this has had its share."""
        key = load.ready[0].key
        if self._session is not None and (
            not load.has_room(self._session) or key != self._key
        ):
            if load.is_under_way:
                return  # it ends first: `wake` says when
            await self.close()
        if self._session is None:
            self._session, self._key = await self._connect(load), key
        if self._session is None:
            load.wake.set()  # the way of the first is closed: on to the next
        else:
            load.board(self._session, key)

    async def _connect(self, load: Load) -> Session | None:
        """Open a connection for the first message of *load*; None: it has its end."""
        guide, found = self.plan.guide, load.ready[0].route
        way = guide.way(found)  # others may have tried since it was composed
        if isinstance(way, bounce.Answered):
            load.answer_all(way)
            return None
        try:
            return await guide.open(found)
        except smtp.Refused as refused:
            if found is None or not self.plan.is_shared:
                verdict = load.outcomes.judge(refused.end)
                self._tally.note(
                    verdict._replace(
                        outcome=delivery.Throttled(
                            stage=refused.end.stage, reason=str(refused)
                        )
                    )
                )
                if verdict.action in evidence.ASKS - {bounce.Action.CUT}:
                    await self.steering.tell(self.plan.key)
                    raise Closed from refused
                await self._pause(BACKOFF, str(refused))
            guide.shut(found, refused.about_domain)
            load.answer_all(refused.about_domain)
            return None

    async def _divert(
        self,
        load: Load,
        owed: Sequence[chunks.Owed],
        people: Mapping[SubscriberId, Subscriber],
        ways: Mapping[str, Way],
    ) -> Sequence[chunks.Owed]:
        """Give what others receive to their lanes; return what stays in this one."""
        domains = {
            row.seq: people[row.subscriber_id].domain
            for row in owed
            if row.subscriber_id in people
        }
        moved = self.plan.guide.strays(load.chunk.provider, domains, ways)
        if not moved:
            return owed
        gone = {seq for seqs in moved.values() for seq in seqs}
        left = [row for row in owed if row.seq not in gone]
        async with database.transaction(self.pool) as tx:
            chunk = await chunks.divert(
                tx,
                load.chunk,
                owner=self.settler.owner,
                left=[row.seq for row in left],
                moved=moved,
                start_at=self.watch.now(),
            )
        if chunk is None:
            raise Closed
        log.info("chunk.diverted", chunk=chunk.id, rows=len(gone), to=sorted(moved))
        load.chunk = load.outcomes.chunk = chunk
        return left


async def _signed(drafts: Sequence[message.Draft]) -> list[message.Letter]:
    """Sign messages: many in a row, in another thread, where there is a key.

    RSA takes longer than all else of a message together, and needs other things in
    the caches.
    """
    if not any(draft.signers for draft in drafts):
        return [message.signed(draft) for draft in drafts]
    return await asyncio.to_thread(lambda: [message.signed(one) for one in drafts])


async def _ended(load: Load) -> None:
    """Wait until no message of *load* is under way."""
    while load.is_under_way:
        load.wake.clear()
        await load.wake.wait()


async def _people(
    tx: database.Connection, owed: Sequence[chunks.Owed]
) -> Mapping[SubscriberId, Subscriber]:
    found = await subscribers.by_ids(tx, [row.subscriber_id for row in owed])
    return {person.id: person for person in found}
