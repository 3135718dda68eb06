"""The messages of one chunk between composing and settling: what its session pulls.

Everything here happens in the callback that read a reply, so that no task wakes for
a message: the last look before MAIL and before the body, the journal, the outcome.
What takes a question to the database is left to the carrier, whose event is `wake`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from mailer import errors
from mailer.core import bounce, delivery
from mailer.core.delivery import Stage, State
from mailer.core.subscriber import Subscriber
from mailer.mail import envelope, message
from mailer.mail.parcel import End as Ending
from mailer.mail.parcel import Parcel
from mailer.mail.route import Key, Route
from mailer.mail.session import Session
from mailer.pipeline.sending import journal
from mailer.pipeline.sending.meter import Meter
from mailer.pipeline.sending.outcomes import Outcomes
from mailer.pipeline.sending.watch import Watch
from mailer.store import chunks

_WISHES = frozenset({"dsn", "deliverby"})
RECONNECTS = 3  # tries of one message over connections that end before its dot


class Item:
    """A message that is composed, and whose it is."""

    __slots__ = (
        "key", "letter", "look", "mark", "person", "route", "row", "started", "tries",
    )  # fmt: skip

    def __init__(
        self,
        row: chunks.Owed,
        person: Subscriber,
        letter: message.Letter,
        *,
        look: int,
        route: Route | None = None,
    ) -> None:
        self.row = row
        self.person = person
        self.letter = letter
        self.route = route  # of a source that sends directly
        self.key = route.key if route is not None else None
        self.look = look  # when the database was asked about the person
        self.tries = 0
        self.mark = 0  # how many were accepted before the first of them
        self.started: journal.Started | None = None


class Load:
    """What is ready of a chunk, under way and ended; the cargo of one session."""

    def __init__(
        self,
        chunk: chunks.Chunk,
        *,
        outcomes: Outcomes,
        meter: Meter,
        watch: Watch,
        stop: asyncio.Event,
        low: int,
        limit: int,
    ) -> None:
        self.chunk = chunk
        self.outcomes = outcomes
        self.wake = asyncio.Event()
        self.ready: deque[Item] = deque()
        self.changed: list[Item] = []  # of whom something was learned: ask again
        self.ended = 0  # messages
        self.look = 0  # of the watch, before the database was asked for the chunk
        self.is_over = False  # nothing may start any more
        self.is_outranked = False  # … because a more urgent blast waits
        self.is_turned_away = False  # again and again, and nobody got through between
        self.verdict: bounce.Verdict | None = None  # asks something of the lane
        self._meter = meter
        self._tally = outcomes.tally
        self._watch = watch
        self._stop = stop
        self._low = low
        self._limit = limit
        self._key: Key | None = None  # of the route that the session takes
        self._asks = False  # the server offers what is wished for
        self._accepted = 0
        self._in_vain = 0  # refusals in a row, of whichever message
        self._open: dict[Parcel, Item] = {}
        self._session: Session | None = None

    @property
    def is_under_way(self) -> bool:
        """Tell whether a message was started and has no end yet."""
        return bool(self._open)

    def started(self) -> list[int]:
        """Return the places of those that were started and have no end yet."""
        return [item.row.seq for item in self._open.values()]

    def has_room(self, session: Session) -> bool:
        """Tell whether *session* may take one more message."""
        return session.is_open and session.begun < self._limit

    def board(self, session: Session, key: Key | None) -> None:
        """Have *session* carry what is ready and goes the way of *key*."""
        self._key = key
        if self._session is session:
            session.pull()
        else:
            self._session = session
            self._asks = not _WISHES.isdisjoint(session.extensions)
            session.carry(self)

    # ── What the session calls ──────────────────────────────────────────────

    def next(self) -> Parcel | None:
        """Return the next message that may start now, after a last look."""
        ready, session = self.ready, self._session
        assert session is not None
        while (
            ready
            and ready[0].key == self._key
            and self.verdict is None
            and session.begun < self._limit
        ):
            item = ready[0]
            if not self._may_start(item.row.seq):
                if self.is_over:
                    self.wake.set()
                return None
            is_changed = self._has_changed(item)
            if not is_changed and not self._meter.take():
                break
            ready.popleft()
            if len(ready) < self._low:
                self.wake.set()
            if is_changed:
                self.changed.append(item)
                self.wake.set()
                continue
            parcel = self._parcel(item)
            if parcel is not None:
                self._open[parcel] = item
                return parcel
        self.wake.set()
        return None

    def begin(self, parcel: Parcel) -> None:
        """Write down that a dot may follow, if it still may.

        Raises Conflict when it may not, Unavailable when there is no journal.
        """
        item = self._open[parcel]
        if (
            self.outcomes.failure is not None
            or not self._watch.may_start(self.chunk, item.row.seq)
            or self._has_changed(item)  # a slow server may have let minutes pass
        ):
            message = "it may not go out any more"
            raise errors.Conflict(message)
        row = item.row
        item.started = journal.Started(
            self.chunk.blast_id, row.seq, row.attempts + 1, self._watch.now()
        )
        self.outcomes.note(journal.write_started(item.started))

    def end(self, parcel: Parcel, end: Ending) -> None:
        """Judge how a message ended, and hand in what came of it."""
        item = self._open.pop(parcel)
        self.ended += 1
        verdict = self.outcomes.judge(end)
        match verdict.outcome:
            case delivery.Accepted():
                self._accepted += 1
                self._in_vain = 0
                self._tally.tried += 1
                self._tally.accepted += 1
            case delivery.Throttled() as outcome:
                self._tally.note(verdict)
                verdict = verdict._replace(outcome=self._put_off(item, outcome))
            case _:
                self._tally.note(verdict)
        self.outcomes.settle(item.row, verdict)
        if isinstance(verdict.outcome, delivery.Throttled):
            self._untake(item)
        if self.verdict is None and (self.is_turned_away or _concerns_lane(verdict)):
            self.verdict = verdict
        if self.verdict is not None or not self._open or self.outcomes.failure:
            self.wake.set()

    def closed(self, reason: str) -> None:
        """Have the carrier find another connection."""
        self.wake.set()

    # ── How it may start ────────────────────────────────────────────────────

    def _may_start(self, seq: int) -> bool:
        """Look at what forbids a message; `is_over` when it forbids all of them."""
        if self.is_over or self._stop.is_set() or self.outcomes.failure is not None:
            self.is_over = True
            return False
        self._watch.leases.ask(self.chunk, seq)
        may = self._watch.may_start(self.chunk, seq)
        if not may:  # or not yet: the ledger says when
            self.is_over = not self._watch.runs(self.chunk)
        return may

    def _has_changed(self, item: Item) -> bool:
        person = item.person
        return self._watch.has_changed(
            subscriber=person.id,
            address=person.address,
            domain=person.domain,
            since=item.look,
        )

    def _parcel(self, item: Item) -> Parcel | None:
        """Return *item* as this session sends it; None when that is its end."""
        assert self._session is not None
        letter = item.letter
        try:
            parcel = self._session.parcel(
                letter.sender,
                letter.recipient,
                letter.data,
                wish=self._wish(letter) if self._asks else envelope.NOTHING,
                is_clean=True,
                is_dotless=letter.is_dotless,
            )
        except errors.Invalid as error:
            self.outcomes.conclude(item.row, State.FAILED, reply=str(error)[:500])
            return None
        if isinstance(parcel, Parcel):
            return parcel
        self.outcomes.answer(item.row, parcel)
        return None

    def _wish(self, letter: message.Letter) -> envelope.Wish:
        assert self._session is not None
        seconds = None
        running = self._watch.running.get(self.chunk.blast_id)
        if running is not None and "deliverby" in self._session.extensions:
            seconds = (running.expires_at - self._watch.now()).total_seconds()
        return envelope.Wish(id=letter.id, seconds=seconds)

    # ── How it ends ─────────────────────────────────────────────────────────

    def _put_off(
        self, item: Item, outcome: delivery.Throttled
    ) -> delivery.Throttled | delivery.Deferral:
        """Put back what nobody took; return what came of it in the end.

        Once more at once, over a new connection; then after the others, who show
        whether it is the message or the lane.  What is refused each time has spent
        an attempt then, so that it stands in nobody's way.
        """
        if not item.tries:
            item.mark = self._accepted
        item.tries += 1
        self._in_vain += 1
        if self._in_vain >= 2 * RECONNECTS and not self.outcomes.is_shared:
            self.is_turned_away = True  # it is not the message
        if item.tries >= RECONNECTS and self.outcomes.is_shared:
            reason = f"4.4.2 {RECONNECTS} times before the dot: {outcome.reason}"
            reply = outcome.reply or delivery.Reply(code=450, text=reason)
            return delivery.Deferral(stage=outcome.stage, reply=reply)
        if item.tries >= RECONNECTS:
            said = outcome.reply if outcome.stage > Stage.MAIL else None
            has_company = said is None or bool(self.ready)
            if has_company and item.mark == self._accepted:
                self.is_turned_away = True
            if said is not None:
                return delivery.Deferral(stage=outcome.stage, reply=said)
        if item.tries == 1:
            self.ready.appendleft(item)
        else:
            self.ready.append(item)
        return outcome

    def _untake(self, item: Item) -> None:
        """Write down that what was started was taken by nobody."""
        if item.started is not None:
            started, item.started = item.started, None
            with suppress(errors.Unavailable):  # `failure` says so
                self.outcomes.note(journal.write_untaken(started))

    def answer_all(self, end: bounce.Answered) -> None:
        """Give their end to all that are ready to go the way of the first."""
        key = self.ready[0].key
        while self.ready and self.ready[0].key == key:
            self.outcomes.answer(self.ready.popleft().row, end)


def _concerns_lane(verdict: bounce.Verdict) -> bool:
    """Tell whether something is to be done before the next message."""
    return isinstance(verdict.outcome, delivery.Throttled) or verdict.action in {
        bounce.Action.RECONNECT,
        bounce.Action.HOLD,
        bounce.Action.SUSPEND,
        bounce.Action.SINGLE,
        bounce.Action.FEWER,
    }
