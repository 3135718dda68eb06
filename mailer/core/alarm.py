"""What needs a person now: kinds of alarms, what is said, and when it is repeated.

Two severities, by what the person is asked to do: ``critical`` is worth waking
somebody for, ``warning`` can wait until morning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

REPEAT = timedelta(minutes=15)  # between two notices of a critical alarm
SELDOM = 4  # a warning repeats so many times less often
CALM = timedelta(minutes=1)  # without its cause, until people are told that it is gone
AGAIN = timedelta(minutes=15)  # what comes back so soon is the same alarm
FORGOTTEN = timedelta(hours=12)  # after which a taken alarm that is silent is over

_BACKOFF = timedelta(seconds=20)  # after a notice that could not be delivered
_LONGEST = timedelta(minutes=5)


class Severity(StrEnum):
    """How soon a person is needed."""

    CRITICAL = "critical"  # wake somebody
    WARNING = "warning"  # look in the morning


class Kind(StrEnum):
    """What has happened."""

    STALLED = "blast_stalled"
    FAILING = "blast_failing"
    UNWANTED = "blast_unwanted"
    IN_DOUBT = "deliveries_in_doubt"
    MISSED = "blast_expired"
    LANE = "lane_held"
    JOURNAL = "journal_failing"
    CRASHING = "process_crashing"
    OUTDATED = "worker_outdated"
    DATABASE = "database_away"
    SPOOL = "spool_failing"
    BEHIND = "events_behind"
    DAMAGED = "spool_damaged"
    SETTINGS = "settings_differ"
    MOVED = "domain_moved"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lore:
    """What mailer says of a kind; ``{subject}`` is whole, ``{name}`` its last word."""

    severity: Severity
    happened: str
    did: str
    cure: str


LORE: Mapping[Kind, Lore] = {
    Kind.STALLED: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} stands still: messages are owed and none goes out",
        did="Everybody who is owed a message keeps it; nothing goes out after the "
        "blast expires. It goes on by itself when what stops it is gone.",
        cure="See which provider waits: mailer blast watch {name}. Is a worker running "
        "(`mailer run` or `mailer work`), and what does its log say of the relay?",
    ),
    Kind.FAILING: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} is paused: too many messages cannot be written",
        did="The blast was paused. Other blasts go on. Nobody who failed got a broken "
        "message.",
        cure="See whom and why: mailer blast show {name} --state failed. Then resume "
        "it (mailer blast resume {name}) or cancel it and send a corrected one.",
    ),
    Kind.UNWANTED: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} is paused: too much of it bounces, or is not wanted",
        did="The blast was paused before providers close their doors to all of our "
        "mail. Other blasts go on. Whoever bounced or complained is suppressed.",
        cure="See where it comes from: mailer report {name}. An old or bought list "
        "bounces; people who never asked complain. Mend the segment and send a new "
        "blast; or resume this one (mailer blast resume {name}): what came back so far "
        "is let pass then.",
    ),
    Kind.IN_DOUBT: Lore(
        severity=Severity.WARNING,
        happened="{subject} has messages of which nobody knows whether they arrived",
        did="They are not counted as sent, and are sent again only if the blast or a "
        "person says so. Most have usually arrived. All others go on.",
        cure="List them and decide: mailer blast doubt {name}.",
    ),
    Kind.MISSED: Lore(
        severity=Severity.WARNING,
        happened="{subject} has expired before everybody was sent to",
        did="Nothing of it goes out any more. Whoever got it keeps it; the others "
        "are told apart as expired.",
        cure="See whom it missed: mailer blast show {name} --state expired. Who should "
        "have it all the same needs a new blast; see why it was late: mailer blast "
        "watch {name} --once.",
    ),
    Kind.LANE: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} is closed: the provider refuses our mail as not authentic "
        "or not wanted",
        did="Nothing more goes out on this lane until a person opens it. Nobody was "
        "lost: they wait. Other providers go on.",
        cure="Read what the provider said. Compare what is published with what is "
        "sent: mailer doctor. When it is repaired: mailer provider release {name}. If "
        "the content is the reason, pause the blast.",
    ),
    Kind.JOURNAL: Lore(
        severity=Severity.CRITICAL,
        happened="the journal of {subject} cannot be written: disk full or broken",
        did="Its workers stopped sending at once, so that nobody gets two copies. They "
        "go on by themselves when the disk takes data again.",
        cure="Free or repair the disk that holds .mailer/journal: df -h .mailer",
    ),
    Kind.CRASHING: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} dies again and again",
        did="It is started again, each time after a longer wait. What it had begun is "
        "settled from its journal; nobody gets a second copy.",
        cure="Read the last lines that `mailer run` printed on that machine. If it "
        "came with a new release, go back to the one before.",
    ),
    Kind.OUTDATED: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} runs an older mailer than the database",
        did="Its workers ended what was open and stopped sending. Other machines go "
        "on.",
        cure="Install the new release there and start `mailer run` again.",
    ),
    Kind.DATABASE: Lore(
        severity=Severity.CRITICAL,
        happened="{subject} does not reach the database",
        did="Sending waits. Links, opens and unsubscribes still work: they are kept on "
        "the disk. Everything goes on by itself when the database is back.",
        cure="Look at the database server and the network. This repeats until it "
        "answers: nobody can take it while there is no database.",
    ),
    Kind.SPOOL: Lore(
        severity=Severity.CRITICAL,
        happened="the event spool of {subject} cannot be written: disk full or broken",
        did="Links still lead on. Opens and clicks are lost and counted; unsubscribes "
        "and gifts are answered 'try again'.",
        cure="Free or repair the disk that holds .mailer/spool: df -h .mailer",
    ),
    Kind.BEHIND: Lore(
        severity=Severity.CRITICAL,
        happened="events of {subject} come into the database late",
        did="They are safe on the disk. Until they are read, an unsubscribe or a gift "
        "of the last minutes may not yet keep a message back.",
        cure="Consider pausing what goes out (mailer blast pause NAME). Look at the "
        "log of `mailer serve` and at the load of the database.",
    ),
    Kind.DAMAGED: Lore(
        severity=Severity.WARNING,
        happened="the event spool of {subject} has damaged or refused records",
        did="They were set aside and everything else was read: .mailer/spool.",
        cure="Check that disk. Refused records are in .mailer/spool/refused.jsonl.",
    ),
    Kind.SETTINGS: Lore(
        severity=Severity.WARNING,
        happened="{subject} runs with other settings or keys than the scheduler",
        did="It goes on; a preflight does not pass until they are the same.",
        cure="Copy config/ and the keys to every machine, and restart what is old.",
    ),
    Kind.MOVED: Lore(
        severity=Severity.WARNING,
        happened="{subject} is received by another provider now",
        did="Blasts that are launched from now on send its people on the lane of the "
        "new one, at that one's rate.",
        cure="Look at it: mailer provider resolve {name}. If it stays, move it in "
        "config/providers.toml.",
    ),
    Kind.TEST: Lore(
        severity=Severity.CRITICAL,
        happened="this is a test of the alarms, asked for by {name}",
        did="Nothing has happened. mailer sent this to see that it reaches you.",
        cure="Nothing. If it did not wake you, it would not on the night either.",
    ),
}


class Event(StrEnum):
    """What a notice says of its alarm."""

    RAISED = "raised"
    REPEATED = "repeated"
    TAKEN = "taken"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that needs a person; of one kind and subject one is open at most."""

    id: int
    kind: Kind
    subject: str
    detail: str  # as it was last seen
    count: int
    first_at: datetime
    last_at: datetime
    taken_by: str | None = None
    taken_at: datetime | None = None
    note: str | None = None
    cleared_at: datetime | None = None
    cleared_why: str | None = None
    reopened: int = 0  # so often it came back soon after it was gone
    told: Event | None = None  # what people know
    told_at: datetime | None = None
    rounds: int = 0  # so often they were told

    @property
    def severity(self) -> Severity:
        """Return how soon a person is needed."""
        return LORE[self.kind].severity

    @property
    def is_open(self) -> bool:
        """Tell whether its cause may still be there."""
        return self.cleared_at is None

    @property
    def happened(self) -> str:
        """Return what has happened, in a clause."""
        return _filled(LORE[self.kind].happened, self.subject)

    @property
    def did(self) -> str:
        """Return what mailer did about it."""
        return _filled(LORE[self.kind].did, self.subject)

    @property
    def cure(self) -> str:
        """Return what a person should do about it."""
        return _filled(LORE[self.kind].cure, self.subject)


def _filled(text: str, subject: str) -> str:
    name = subject.rpartition(" ")[2]
    return text.replace("{subject}", subject).replace("{name}", name)


def due(alarm: Alarm, *, repeat: timedelta, now: datetime) -> Event | None:
    """Return what people should be told of *alarm* now; None: nothing yet.

    Told at once, then every *repeat* until somebody takes it or its cause is gone.
    What was over, or taken, before anybody was told is told to nobody.
    """
    if alarm.told_at is None:
        is_news = alarm.is_open and alarm.taken_at is None
        return Event.RAISED if is_news else None
    if alarm.cleared_at is not None:
        # What comes and goes would else be told twice a minute.
        calm = repeat if alarm.reopened else CALM
        is_calm = now >= alarm.cleared_at + calm
        return Event.CLEARED if is_calm and alarm.told is not Event.CLEARED else None
    if alarm.taken_at is not None:
        return None if alarm.told is Event.TAKEN else Event.TAKEN
    if alarm.told is Event.CLEARED:  # it is back, and everybody believes it gone
        return Event.RAISED
    wait = repeat if alarm.severity is Severity.CRITICAL else repeat * SELDOM
    return Event.REPEATED if now >= alarm.told_at + wait else None


def retry(attempts: int) -> timedelta:
    """Return how long a notice waits that could not be delivered *attempts* times."""
    return min(_LONGEST, _BACKOFF * (1 << min(attempts - 1, 10)))
