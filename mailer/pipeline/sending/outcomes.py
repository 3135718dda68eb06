"""What becomes of the messages of a chunk: judged, journalled, settled."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from mailer import errors, spool
from mailer.core import bounce, delivery
from mailer.core.delivery import State
from mailer.mail.parcel import End
from mailer.pipeline.sending import journal, settler
from mailer.pipeline.sending.steering import Tally
from mailer.pipeline.sending.watch import Watch
from mailer.store import chunks, deliveries

JITTER = 0.2  # share of a wait by which retries are spread


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """Takes the ends of the messages of a chunk to the journal and the ledger."""

    chunk: chunks.Chunk
    rules: bounce.Rules
    retry: tuple[timedelta, ...]
    is_shared: bool  # the lane's servers are those of many domains
    watch: Watch
    settler: settler.Settler
    writer: spool.Writer
    tally: Tally  # of the lane: for its controller
    failure: errors.Unavailable | None = None  # of the journal: nothing starts any more
    _random: random.Random = field(default_factory=random.Random)

    def judge(self, end: End) -> bounce.Verdict:
        """Decide what the end of a transaction means."""
        verdict = bounce.judge(end, provider=self.chunk.provider, rules=self.rules)
        return bounce.about_domain(verdict) if self.is_shared else verdict

    def answer(self, row: chunks.Owed, end: bounce.Answered) -> None:
        """Hand in what became of a message that no server was asked to take."""
        self.settle(row, self.judge(end))

    def settle(self, row: chunks.Owed, verdict: bounce.Verdict) -> None:
        """Hand in what became of a message; being throttled is no attempt."""
        outcome = verdict.outcome
        match outcome:
            case delivery.Accepted(reply=reply):
                self.conclude(row, State.SENT, tried=True, code=reply.code)
            case delivery.Bounce(reply=reply, suppress=suppress):
                self.conclude(
                    row,
                    State.BOUNCED,
                    tried=True,
                    code=reply.code,
                    reply=str(reply),
                    is_bad_address=suppress,
                )
            case delivery.Deferral(reply=reply):
                self.conclude(
                    row,
                    State.DEFERRED,
                    tried=True,
                    code=reply.code,
                    reply=str(reply),
                    retry_at=self.watch.now() + self._wait(row.attempts, verdict),
                )
            case delivery.InDoubt(reason=reason):
                self.conclude(row, State.IN_DOUBT, tried=True, reply=reason)
            case delivery.Throttled():
                pass  # the row stays owed: the chunk is given back with it
            case _:
                assert_never(outcome)

    def leave_out(self, row: chunks.Owed) -> None:
        """Hand in that somebody must not be mailed."""
        why = "excluded" if row.excluded else "suppressed"
        self.conclude(row, State.SUPPRESSED, reply=f"{why} when leased")

    def conclude(
        self,
        row: chunks.Owed,
        state: State,
        *,
        tried: bool = False,
        code: int | None = None,
        reply: str | None = None,
        retry_at: datetime | None = None,
        is_bad_address: bool = False,
    ) -> None:
        """Hand in the end of a delivery; `failure` says if the journal is full now."""
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
            settler.End(
                chunk=self.chunk,
                result=result,
                subscriber_id=row.subscriber_id,
                retry_at=retry_at,
                is_bad_address=is_bad_address,
            )
        )
        if tried:
            ended = journal.Ended(self.chunk.blast_id, result, retry_at)
            with suppress(errors.Unavailable):
                self.note(journal.write_ended(ended))

    def note(self, record: bytes) -> None:
        """Write into the journal.  Raises Unavailable; nothing starts after that."""
        try:
            self.writer.write(record)
        except errors.Unavailable as error:
            self.failure = error
            raise

    def _wait(self, attempts: int, verdict: bounce.Verdict) -> timedelta:
        """Return how long a message waits that was put off for the nth time.

        As long as the rule of its reply says, at least: greylisting wants its time.
        """
        wait = self.retry[min(attempts, len(self.retry) - 1)]
        least = 1 - JITTER
        if verdict.action is bounce.Action.RETRY and verdict.wait is not None:
            wait, least = max(wait, verdict.wait), 1.0
        return wait * self._random.uniform(least, 1 + JITTER)
