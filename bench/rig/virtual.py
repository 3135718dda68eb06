"""A lane that sends to a simulated provider in virtual time: hours in seconds.

The provider is `mailer.mail.place`, the replies are read by the shipped rules, and what
is tried next is the product's: here are only a clock, connections and a queue that
never ends.  There is one event for a message and one for each wait.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from mailer.core import bounce, delivery
from mailer.core.bounce import Action, Rules, Verdict
from mailer.core.delivery import Reply, Stage
from mailer.core.evidence import ASKS
from mailer.mail.place import Place
from mailer.mail.sink import Act, Then

CLIENT = "192.0.2.25"
TRIP = 0.04  # seconds to the provider and back
OPENING = 4 * TRIP  # TCP, greeting, EHLO, STARTTLS and EHLO again, by and large
AGAIN = 1.0  # seconds until a connection that was refused is tried once more
RETRY = timedelta(minutes=15)  # of a message that its recipient's server put off
RECONNECTS = 3  # messages in a row that are turned away by a bare 421 close the lane


class Policy(Protocol):
    """Decides when a message may go, over how many connections."""

    def connections(self, now: float) -> int:
        """Return how many may be open."""

    def messages(self, now: float) -> int:
        """Return how many may go over one of them."""

    def take(self, now: float) -> float:
        """Take a token and return *now*; else return when to ask again."""

    def saw(self, verdict: Verdict, now: float) -> None:
        """Learn what came of a message."""

    def tick(self, now: float) -> None:
        """Let a second pass."""


@dataclass(slots=True)
class Tally:
    """What came of it, from `since` on."""

    since: float
    tried: int = 0
    accepted: int = 0
    limited: int = 0  # replies about the lane: too fast, too many, closed

    def add(self, verdict: Verdict, now: float) -> None:
        """Count the end of a message."""
        is_accepted = isinstance(verdict.outcome, delivery.Accepted)
        if now < self.since:
            return
        self.tried += 1
        self.accepted += is_accepted
        self.limited += verdict.action in ASKS or verdict.rule in {"closing", "later"}

    @property
    def deferred(self) -> float:
        """Return the share of tries that the provider refused for being too many."""
        return self.limited / self.tried if self.tried else 0.0


@dataclass(slots=True)
class _Line:
    """A connection."""

    is_open: bool = False
    messages: int = 0


class Sending:
    """One lane, sending as fast as its policy lets it."""

    def __init__(
        self, place: Place, policy: Policy, *, rules: Rules, warm: float
    ) -> None:
        self.place = place
        self.policy = policy
        self.tally = Tally(since=warm)
        self._rules = rules
        self._provider = place.part.name
        self._now = 0.0
        self._turn = itertools.count()
        self._events: list[tuple[float, int, _Line | None, Verdict | None]] = []
        self._idle: deque[_Line] = deque()
        self._lines = 0
        self._wake = 0.0  # when the next token is there
        self._fresh = (
            f"p{number}@{self._provider}.test" for number in itertools.count()
        )
        self._again: list[tuple[float, str]] = []
        self._front: deque[str] = deque()
        self._verdicts: dict[tuple[str, Stage], Verdict] = {}

    def run(self, seconds: float) -> Tally:
        """Send for so long."""
        for second in range(int(seconds)):
            self._now = float(second)
            self.policy.tick(self._now)
            self._adjust()
            self._work(until=second + 1.0)
        return self.tally

    def _work(self, until: float) -> None:
        events = self._events
        while events and events[0][0] < until:
            self._now, _, line, verdict = heapq.heappop(events)
            if verdict is not None:
                self.tally.add(verdict, self._now)
                self.policy.saw(verdict, self._now)
            if line is not None:
                self._idle.append(line)
            self._start()

    def _adjust(self) -> None:
        """Have as many connections as the policy wants."""
        wanted = self.policy.connections(self._now)
        while self._lines < wanted:
            self._lines += 1
            self._idle.append(_Line())
        self._start()

    def _start(self) -> None:
        """Let idle connections carry what may go."""
        now = self._now
        while self._idle:
            if self._lines > self.policy.connections(now):
                self._close(self._idle.pop())
                self._lines -= 1
                continue
            if now < self._wake - 1e-9:
                return
            ready = self.policy.take(now)
            if ready > now:
                self._wake = min(ready, now + 1.0)
                self._push(self._wake, None)
                return
            self._send(self._idle.popleft(), now)

    def _send(self, line: _Line, now: float) -> None:
        """Carry one message over *line*, and say when it will be known what came."""
        begin = now
        if line.is_open and line.messages >= self.policy.messages(now):
            self._close(line)
        if not line.is_open:
            begin += OPENING
            if (act := self.place.join(CLIENT, now=now)) is not None:
                self._push(begin + AGAIN, line, self._judge(act, Stage.RCPT))
                return
            line.is_open, line.messages = True, 0
        address = self._address(now)
        act = self.place.rcpt(address, messages=line.messages, now=now, client=CLIENT)
        begin += TRIP + act.delay
        stage = Stage.RCPT
        if act.reply.startswith("250"):
            act = self.place.take(address, now=now, client=CLIENT)
            begin += TRIP + act.delay
            stage = Stage.DOT
        verdict = self._judge(act, stage)
        if isinstance(verdict.outcome, delivery.Accepted):
            line.messages += 1
        elif isinstance(verdict.outcome, delivery.Throttled):
            self._front.append(address)
        elif isinstance(verdict.outcome, delivery.Deferral):
            heapq.heappush(self._again, (now + RETRY.total_seconds(), address))
        if act.then is Then.CLOSE:
            self._close(line)
        self._push(begin, line, verdict)

    def _close(self, line: _Line) -> None:
        if line.is_open:
            self.place.leave(CLIENT)
        line.is_open = False

    def _address(self, now: float) -> str:
        if self._again and self._again[0][0] <= now:
            return heapq.heappop(self._again)[1]
        return self._front.popleft() if self._front else next(self._fresh)

    def _judge(self, act: Act, stage: Stage) -> Verdict:
        """Read a reply as the product does; the same one only once."""
        key = (act.reply, stage)
        found = self._verdicts.get(key)
        if found is None:
            found = self._verdicts[key] = bounce.classify(
                heard(act.reply), stage=stage, provider=self._provider,
                rules=self._rules,
            )  # fmt: skip
        return found

    def _push(
        self, at: float, line: _Line | None, verdict: Verdict | None = None
    ) -> None:
        heapq.heappush(self._events, (at, next(self._turn), line, verdict))


def heard(text: str) -> Reply:
    """Join the lines of a reply."""
    lines = text.split("\n")
    return Reply(code=int(text[:3]), text=" ".join(line[4:] for line in lines))


def is_turned_away(verdict: Verdict) -> bool:
    """Tell whether a connection was closed without a reason that a rule knows."""
    return verdict.action is Action.RECONNECT and verdict.rule == "closing"
