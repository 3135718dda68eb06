"""One simulated mailbox provider at work: what it answers to whom, and when.

It knows no clock: every question brings its time, in seconds from anywhere, so that
hours can be played in a moment.  What it counts against a client it counts by the
client's address, as real providers do by IP.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mailer.mail.scenario import Part
from mailer.mail.sink import Act, Then

MEMORY = 600.0  # seconds for which `slow` replies are held against the client
STICKY = 120.0  # seconds in the tarpit after one


@dataclass(slots=True, kw_only=True)
class Count:
    """What one provider saw."""

    provider: str
    connections: int = 0
    accepted: int = 0
    unknown: int = 0
    full: int = 0
    greylisted: int = 0
    slowed: int = 0
    banned: int = 0
    closed: int = 0
    crowded: int = 0
    refused: int = 0
    broken: int = 0
    dropped: int = 0
    most_connections: int = 0  # at once, of one client
    most_in_a_second: int = 0  # accepted
    clients: int = 0  # addresses


@dataclass(slots=True)
class Account:
    """What a provider remembers of one client address."""

    open: int = 0  # connections
    due: float = 0.0  # GCRA: when the bucket is empty again
    banned_until: float = 0.0
    slow: deque[float] = field(default_factory=deque)  # when it was told to slow down
    seen: dict[str, float] = field(default_factory=dict)  # address, first try
    known: float = 0.0  # messages/s that it is trusted with, where that grows
    since: float = 0.0  # the period in which it is looked at
    taken: int = 0  # in that period
    put_off: int = 0


@dataclass(slots=True)
class Place:
    """One provider at work: its part and what it remembers."""

    part: Part  # as it is now: phases change it
    count: Count
    accounts: dict[str, Account] = field(default_factory=dict)
    _begun: float | None = None
    _phase: int = 0
    _broken: set[str] = field(default_factory=set)
    _second: tuple[int, int] = (0, 0)

    def at(self, now: float) -> Part:
        """Return the part that is played at *now*; time does not run backwards."""
        if self._begun is None:
            self._begun = now
        phases = self.part.phase
        while self._phase < len(phases):
            phase = phases[self._phase]
            if now - self._begun < phase.at.total_seconds():
                break
            self.part = phase.changed(self.part)
            self._phase += 1
        return self.part

    def account(self, client: str) -> Account:
        """Return what is remembered of *client*."""
        found = self.accounts.get(client)
        if found is None:
            found = self.accounts[client] = Account()
            self.count.clients += 1
        return found

    def join(self, client: str = "", *, now: float) -> Act | None:
        """Count a connection; refuse it when there are too many."""
        part, account = self.at(now), self.account(client)
        if part.connections is not None and account.open >= part.connections:
            self.count.crowded += 1
            return Act(told(part.says.crowded, client), Then.CLOSE)
        account.open += 1
        self.count.connections += 1
        self.count.most_connections = max(self.count.most_connections, account.open)
        return None

    def leave(self, client: str = "") -> None:
        """Forget a connection."""
        self.account(client).open -= 1

    def rcpt(self, address: str, *, messages: int, now: float, client: str = "") -> Act:
        """Answer RCPT TO, after *messages* on this connection."""
        part, account = self.at(now), self.account(client)
        if part.messages is not None and messages >= part.messages:
            return Act(told(part.says.enough, client), Then.CLOSE)
        delay = self._delay(account, now)
        if (reply := self._pace(account, now)) is not None:
            ends = reply.startswith("421") or now < account.banned_until
            closes = Then.CLOSE if ends else Then.GO_ON
            return Act(told(reply, client), closes, delay=delay)
        return Act(self._recipient(account, address, now), delay=delay)

    def _recipient(self, account: Account, address: str, now: float) -> str:
        """Return what there is to say of the recipient."""
        part, count, says = self.part, self.count, self.part.says
        if part.unknown.has(address, "unknown"):
            count.unknown += 1
            return says.unknown
        if part.full.has(address, "full"):
            count.full += 1
            return says.full
        if part.greylisted.has(address, "greylisted"):
            first = account.seen.setdefault(address, now)
            if first == now or now < first + part.greylisting.total_seconds():
                count.greylisted += 1
                return says.greylisted
        return "250 2.1.5 OK"

    def _delay(self, account: Account, now: float) -> float:
        """Return the seconds before an answer; who was too fast waits in the tarpit."""
        part = self.part
        delay = part.latency.total_seconds()
        if part.tarpit and account.slow and account.slow[-1] > now - STICKY:
            delay += part.tarpit.total_seconds()
        return delay

    def _pace(self, account: Account, now: float) -> str | None:
        """Refuse what comes too fast, and for a while who does not listen."""
        part, count = self.part, self.count
        if now < account.banned_until:
            count.banned += 1
            return part.says.banned
        if part.closed:
            count.closed += 1
            return part.closed
        rate = self.rate(account, now)
        due = max(account.due, now) + 1 / rate
        if due - now <= max(1, part.burst) / rate + 1e-9:
            account.due = due
            account.taken += 1
            return None
        count.slowed += 1
        account.put_off += 1
        account.slow.append(now)
        while account.slow and account.slow[0] < now - MEMORY:
            account.slow.popleft()
        if part.penalty and len(account.slow) > part.patience:
            account.banned_until = now + part.penalty.total_seconds()
            account.slow.clear()
        return part.says.slow

    def rate(self, account: Account, now: float) -> float:
        """Return the messages a second that the client is trusted with now.

        Where trust is earned, a period in which at least half of what was allowed was
        sent, and fewer than three in a hundred were too fast, brings the next step.
        """
        part, trust = self.part, self.part.trust
        if trust is None:
            return part.rate.per_second
        if not account.known:
            account.known, account.since = trust.start.per_second, now
        every = trust.every.total_seconds()
        while now >= account.since + every:
            tries = account.taken + account.put_off
            has_sent = account.taken >= account.known * every / 2
            if has_sent and account.put_off < 0.03 * tries:
                account.known *= float(trust.factor)
            account.since += every
            account.taken = account.put_off = 0
        return min(account.known, part.rate.per_second)

    def breaks(self, address: str) -> bool:
        """Tell whether the connection is cut while this first try comes in."""
        if address in self._broken or not self.part.broken.has(address, "broken"):
            return False
        self._broken.add(address)
        self.count.broken += 1
        return True

    def take(self, address: str, *, now: float, client: str = "") -> Act:
        """Answer the final dot; 2xx or silence means that the message is in."""
        part, count = self.at(now), self.count
        delay = self._delay(self.account(client), now)
        if part.refused.has(address, "refused"):
            count.refused += 1
            return Act(told(part.says.refused, client), delay=delay)
        count.accepted += 1
        second, so_far = self._second
        self._second = (int(now), so_far + 1 if second == int(now) else 1)
        count.most_in_a_second = max(count.most_in_a_second, self._second[1])
        if part.dropped.has(address, "dropped"):
            count.dropped += 1
            return Act(then=Then.DROP)
        return Act(told(part.says.accepted, client), delay=delay)


def told(text: str, client: str) -> str:
    """Return what is said to *client*, whose address the text may hold."""
    return text.replace("{client}", client or "192.0.2.1") if "{" in text else text
