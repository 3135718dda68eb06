"""Ways to choose the rate of a lane: the product's, two others, and one that knows."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailer.core import controller, evidence, lane, throttle
from mailer.core.bounce import Action, Verdict
from mailer.core.delivery import Accepted
from mailer.core.evidence import Evidence, Signal
from mailer.core.lane import Limits, Transition
from mailer.core.provider import Rate
from mailer.core.throttle import Bucket
from mailer.mail.place import Place
from rig import given
from rig.virtual import CLIENT, RECONNECTS, is_turned_away

START = given.NOW
PAUSE = timedelta(seconds=30)  # of a lane whose connections are closed at once


def instant(now: float) -> datetime:
    """Return virtual seconds as a time."""
    return START + timedelta(seconds=now)


def seconds(when: datetime) -> float:
    """Return a time as virtual seconds, not before it."""
    return (when - START).total_seconds()


class Controlled:
    """The product's: `core.controller`, advanced once a second by each worker."""

    def __init__(
        self, limits: Limits, *, messages: int, seed: int = 1, workers: int = 2
    ) -> None:
        self.limits = limits
        self.state = lane.begun(limits, START)
        self.bucket = Bucket(rate=Rate(self.state.rate))
        self.changes: list[Transition] = []
        self._messages = messages
        self._seen: list[list[tuple[Verdict, datetime]]] = [[] for _ in range(workers)]
        self._turn = 0
        self._away = 0
        self._random = random.Random(seed)

    def connections(self, now: float) -> int:
        return self.state.connections

    def messages(self, now: float) -> int:
        return self._messages

    def take(self, now: float) -> float:
        at = instant(now)
        if not lane.is_open(self.state, at):
            return now + 1.0
        tokens, self.bucket = throttle.take(self.bucket, 1, at)
        if tokens:
            return now
        return max(now + 1e-3, seconds(throttle.ready_at(self.bucket, at)))

    def saw(self, verdict: Verdict, now: float) -> None:
        self._turn = (self._turn + 1) % len(self._seen)
        self._seen[self._turn].append((verdict, instant(now)))
        if isinstance(verdict.outcome, Accepted):
            self._away = 0
        elif is_turned_away(verdict):
            self._away += 1

    def tick(self, now: float) -> None:
        for worker in range(len(self._seen)):
            found = evidence.gathered(self._seen[worker])
            self._seen[worker] = []
            if self._away >= 2 * RECONNECTS:
                self._away = 0
                found = Evidence(
                    tried=found.tried, accepted=found.accepted,
                    signals=(*found.signals, Signal(
                        at=instant(now), action=Action.SUSPEND, wait=PAUSE,
                        reply="closed each time",
                    )),
                )  # fmt: skip
            self._advance(found, instant(now))

    def _advance(self, seen: Evidence, at: datetime) -> None:
        before = self.state.rate
        self.state, changes = controller.advance(
            self.state, seen, limits=self.limits, now=at,
            jitter=self._random.uniform(-1, 1),
        )  # fmt: skip
        self.changes += changes
        if self.state.rate != before:
            self.bucket = throttle.change(self.bucket, Rate(self.state.rate), at)


@dataclass(slots=True)
class Fixed:
    """A rate that somebody found right: that of the provider when the run began."""

    rate: float
    limit: int
    each: int
    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = Bucket(rate=Rate(self.rate))

    def connections(self, now: float) -> int:
        return self.limit

    def messages(self, now: float) -> int:
        return self.each

    def take(self, now: float) -> float:
        at = instant(now)
        tokens, self.bucket = throttle.take(self.bucket, 1, at)
        if tokens:
            return now
        return max(now + 1e-3, seconds(throttle.ready_at(self.bucket, at)))

    def saw(self, verdict: Verdict, now: float) -> None:
        pass

    def tick(self, now: float) -> None:
        pass


class SnapBack(Fixed):
    """The same rate, and rules as KumoMTA's community ones: a while slower, then back.

    Three replies in an hour that say "too fast" bring 10 a minute for half an hour, or
    what the rule says; a rule that suspends closes for its time.
    """

    HITS = 3
    SLOWER = 10 / 60
    WHILE = 1800.0

    def __init__(self, rate: float, limit: int, each: int) -> None:
        super().__init__(rate, limit, each)
        self.closed_until = self.slow_until = self.single_until = 0.0
        self.hits: deque[float] = deque()

    def connections(self, now: float) -> int:
        return 1 if now < self.single_until else self.limit

    def take(self, now: float) -> float:
        if now < self.closed_until:
            return min(now + 1.0, self.closed_until)
        return super().take(now)

    def tick(self, now: float) -> None:
        rate = Rate(self.SLOWER if now < self.slow_until else self.rate)
        if rate != self.bucket.rate:
            self.bucket = throttle.change(self.bucket, rate, instant(now))

    def saw(self, verdict: Verdict, now: float) -> None:
        wait = verdict.wait.total_seconds() if verdict.wait else self.WHILE
        if verdict.action in {Action.FEWER, Action.SINGLE}:
            self.single_until = now + wait
        if verdict.action not in {Action.CUT, Action.SUSPEND}:
            return
        self.hits.append(now)
        while self.hits[0] < now - 3600:
            self.hits.popleft()
        needed = verdict.suspend_after or self.HITS
        if len(self.hits) < needed or now < max(self.slow_until, self.closed_until):
            return
        if verdict.action is Action.SUSPEND or verdict.suspend_after:
            self.closed_until = now + wait
        else:
            self.slow_until = now + wait
        self.hits.clear()


@dataclass(slots=True)
class Oracle:
    """Knows the provider's hidden limits at each moment, and keeps them."""

    place: Place
    limits: Limits
    each: int

    def connections(self, now: float) -> int:
        allowed = self.place.at(now).connections
        most = self.limits.connections
        return most if allowed is None else min(allowed, most)

    def messages(self, now: float) -> int:
        allowed = self.place.at(now).messages
        return self.each if allowed is None else min(self.each, allowed)

    def take(self, now: float) -> float:
        part, account = self.place.at(now), self.place.account(CLIENT)
        if part.closed:
            return now + 1.0
        rate = self.place.rate(account, now)
        ready = max(account.due, now) + 1 / rate - max(1, part.burst) / rate
        return now if ready <= now + 1e-9 else ready

    def saw(self, verdict: Verdict, now: float) -> None:
        pass

    def tick(self, now: float) -> None:
        pass
