"""One connection of a lane: chunks in, messages out, outcomes to the settler."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

import structlog

from mailer import errors, spool
from mailer.core import bounce, delivery, provider
from mailer.core.delivery import State, SubscriberId
from mailer.core.subscriber import Subscriber
from mailer.mail import message, smtp
from mailer.mail.session import Session
from mailer.pipeline.sending import journal
from mailer.pipeline.sending.content import Content
from mailer.pipeline.sending.settler import End, Return, Settler
from mailer.pipeline.sending.watch import Watch
from mailer.store import chunks, database, deliveries, lanes, subscribers

JITTER = 0.2  # share of a wait by which retries are spread
GRANT = 0.25  # seconds' worth of tokens that are asked for at once
HALT = timedelta(hours=1)  # of a lane whose provider wants a person to act
BREATH = timedelta(seconds=5)  # of a lane that is told to slow down
RECONNECTS = 3  # tries of one message over connections that end before its dot
BACKOFF = timedelta(seconds=30)  # of a lane whose server cannot be reached

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a carrier is told: where to send, by which rules, how often to retry."""

    lane: provider.Lane
    source: provider.Source
    rules: bounce.Rules
    retry: tuple[timedelta, ...]


class Closed(Exception):
    """The lane is closed for a while, or may start nothing any more."""

    def __init__(self, wait: timedelta) -> None:
        self.wait = wait


@dataclass(slots=True, kw_only=True)
class Carrier:
    """Carries the messages of chunks over one connection of a lane."""

    pool: database.Pool
    plan: Plan
    watch: Watch
    settler: Settler
    journal: spool.Writer
    stop: asyncio.Event
    _session: Session | None = None
    _tokens: int = 0
    _random: random.Random = field(default_factory=random.Random)

    async def carry(self, chunk: chunks.Chunk, content: Content) -> bool:
        """Send what is owed of *chunk*; tell whether the lane may go on.

        However it ends, every row has its end or is given back.
        """
        wait, is_finished = timedelta(0), False
        try:
            await self._carry(chunk, content)
            is_finished = True
        except Closed as closed:
            wait = closed.wait
        except errors.Unavailable as error:
            log.warning("carrier.unavailable", error=str(error))
            wait = timedelta(seconds=1)
        finally:
            self.settler.put_back(
                Return(chunk=chunk, is_finished=is_finished, wait=wait)
            )
        return is_finished

    async def close(self) -> None:
        """Say goodbye to the server."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.quit()

    async def _carry(self, chunk: chunks.Chunk, content: Content) -> None:
        async with database.connection(self.pool) as tx:
            owed = await chunks.rows(
                tx, chunk, topic=content.topic, excluded=content.excluded
            )
            people = await _people(tx, owed)
        for row in owed:
            person = people.get(row.subscriber_id)
            if person is not None and not row.suppressed and not row.excluded:
                # Both may take a while, in which the person may leave: they come
                # before the last look at what was learned.
                await self._granted()
                await self._connected()
                await self._reached(chunk, row.seq)
            if person is not None and self._has_changed(person):
                row = await self._again(chunk, content, row)  # noqa: PLW2901 -- fresher
            if row.suppressed or row.excluded or person is None:
                why = "excluded" if row.excluded else "suppressed"
                self._end(chunk, row, State.SUPPRESSED, reply=f"{why} when leased")
                continue
            await self._deliver(chunk, content, row, person)

    async def _reached(self, chunk: chunks.Chunk, seq: int) -> None:
        """Wait until the ledger knows that we may come so far."""
        self.watch.leases.ask(chunk, seq)
        if not await self.watch.leases.reach(chunk, seq):
            raise Closed(timedelta(0))

    def _has_changed(self, person: Subscriber) -> bool:
        return self.watch.has_changed(
            subscriber=person.id, address=person.address, domain=person.domain
        )

    async def _again(
        self, chunk: chunks.Chunk, content: Content, row: chunks.Owed
    ) -> chunks.Owed:
        """Ask once more about somebody of whom something was learned meanwhile."""
        async with database.connection(self.pool) as tx:
            found = await chunks.row(
                tx, chunk, row.seq, topic=content.topic, excluded=content.excluded
            )
        return found or row

    async def _deliver(
        self,
        chunk: chunks.Chunk,
        content: Content,
        row: chunks.Owed,
        person: Subscriber,
    ) -> None:
        """Render, journal, send, and hand in what came of it."""
        date = row.dated_at or self.watch.now()
        try:
            letter = content.composers[row.variant].compose(
                person, seq=row.seq, date=date
            )
        except errors.Invalid as error:
            self._end(chunk, row, State.FAILED, reply=str(error)[:500])
            return
        for _ in range(RECONNECTS):
            verdict = await self._try(chunk, row, letter)
            self._settle(chunk, row, verdict)
            await self._obey(verdict)
            if not isinstance(verdict.outcome, delivery.Throttled):
                return
        await self._hold(BACKOFF, f"closed {RECONNECTS} times before the dot")

    async def _try(
        self, chunk: chunks.Chunk, row: chunks.Owed, letter: message.Letter
    ) -> bounce.Verdict:
        """Send *letter* once, if it may still start, and judge how it ended."""
        await self._granted()
        self._tokens -= 1
        session = await self._connected()
        if self.stop.is_set() or not self.watch.may_start(chunk, row.seq):
            raise Closed(timedelta(0))
        started = journal.Started(
            chunk.blast_id, row.seq, row.attempts + 1, self.watch.now()
        )

        async def begin() -> None:
            if not self.watch.may_start(chunk, row.seq):
                raise Closed(timedelta(0))
            self.journal.write(journal.write_started(started))

        end = await session.send(
            letter.sender, letter.recipient, letter.data, before_body=begin
        )
        if not session.is_open:
            self._session = None
        verdict = bounce.judge(end, provider=chunk.provider, rules=self.plan.rules)
        if isinstance(verdict.outcome, delivery.Throttled):
            self.journal.write(journal.write_untaken(started))
        return verdict

    def _settle(
        self, chunk: chunks.Chunk, row: chunks.Owed, verdict: bounce.Verdict
    ) -> None:
        """Write down what became of the delivery; being throttled is no attempt."""
        outcome = verdict.outcome
        match outcome:
            case delivery.Accepted(reply=reply):
                self._end(chunk, row, State.SENT, tried=True, code=reply.code)
            case delivery.Bounce(reply=reply, suppress=suppress):
                self._end(
                    chunk,
                    row,
                    State.BOUNCED,
                    tried=True,
                    code=reply.code,
                    reply=str(reply),
                    is_bad_address=suppress,
                )
            case delivery.Deferral(reply=reply):
                self._end(
                    chunk,
                    row,
                    State.DEFERRED,
                    tried=True,
                    code=reply.code,
                    reply=str(reply),
                    retry_at=self.watch.now() + self._wait(row.attempts),
                )
            case delivery.InDoubt(reason=reason):
                self._end(chunk, row, State.IN_DOUBT, tried=True, reply=reason)
            case delivery.Throttled():
                pass  # the row stays owed: the chunk is given back with it
            case _:
                assert_never(outcome)

    def _end(  # noqa: PLR0913 -- the columns of one result
        self,
        chunk: chunks.Chunk,
        row: chunks.Owed,
        state: State,
        *,
        tried: bool = False,
        code: int | None = None,
        reply: str | None = None,
        retry_at: datetime | None = None,
        is_bad_address: bool = False,
    ) -> None:
        result = deliveries.Result(
            seq=row.seq,
            state=state,
            attempts=row.attempts + tried,
            at=self.watch.now(),
            code=code,
            reply=reply,
        )
        # First in memory: what is known is settled even if the journal fails now.
        self.settler.put(
            End(
                chunk=chunk,
                result=result,
                subscriber_id=row.subscriber_id,
                retry_at=retry_at,
                is_bad_address=is_bad_address,
            )
        )
        if tried:
            ended = journal.Ended(chunk.blast_id, result)
            self.journal.write(journal.write_ended(ended))

    def _wait(self, attempts: int) -> timedelta:
        """Return how long a message waits that was put off for the nth time."""
        wait = self.plan.retry[min(attempts, len(self.plan.retry) - 1)]
        return wait * self._random.uniform(1 - JITTER, 1 + JITTER)

    async def _obey(self, verdict: bounce.Verdict) -> None:
        """Do to the lane what the reply asks for."""
        outcome = verdict.outcome
        if verdict.action is bounce.Action.RECONNECT:
            await self.close()
            return  # the next try opens a new connection
        reason = getattr(outcome, "reply", None) or getattr(outcome, "reason", "")
        if verdict.action is bounce.Action.HOLD:
            await self._hold(verdict.wait or HALT, str(reason))
        if verdict.action is bounce.Action.SUSPEND:
            await self._hold(verdict.wait or BACKOFF, str(reason))
        if isinstance(outcome, delivery.Throttled):
            await self._hold(BREATH, str(reason))

    async def _hold(self, wait: timedelta, reason: str) -> None:
        async with database.transaction(self.pool) as tx:
            await lanes.hold(
                tx,
                provider=self.plan.lane.provider,
                source=self.plan.lane.source,
                wait=wait,
                reason=reason[:500],
            )
        log.info("lane.held", lane=self.plan.lane.provider, reason=reason[:200])
        raise Closed(wait)

    async def _granted(self) -> None:
        """Wait for the right to send one message; unlimited lanes ask nobody."""
        rate = self.plan.lane.rate
        if rate.is_unlimited:
            self._tokens = 1
            return
        while self._tokens < 1:
            if self.stop.is_set():
                raise Closed(timedelta(0))
            async with database.transaction(self.pool) as tx:
                self._tokens = await lanes.grant(
                    tx,
                    provider=self.plan.lane.provider,
                    source=self.plan.lane.source,
                    want=max(1, int(rate.per_second * GRANT)),
                )
            if self._tokens < 1:
                await asyncio.sleep(min(0.5, 1 / rate.per_second))

    async def _connected(self) -> Session:
        """Return the open session, or a new one when it has carried its share."""
        if self._session is not None and (
            not self._session.is_open
            or self._session.accepted >= self.plan.lane.messages
        ):
            await self.close()
        if self._session is None:
            try:
                self._session = await smtp.connect(self.plan.source)
            except smtp.Refused as refused:
                await self._hold(BACKOFF, str(refused))
                raise  # _hold never returns
        return self._session


async def _people(
    tx: database.Connection, owed: Sequence[chunks.Owed]
) -> Mapping[SubscriberId, Subscriber]:
    found = await subscribers.by_ids(tx, [row.subscriber_id for row in owed])
    return {person.id: person for person in found}
