"""One mailing: what its file says, the states it goes through, the allowed moves.

The chart is in docs/states.md; a test compares it with `MOVES`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mailer import errors
from mailer.core import provider

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SUBJECT = 500  # characters of Jinja; people see 50 of what it makes
PRIORITY = 1000
LIFETIME = timedelta(hours=48)  # of a blast that names no expires_at


class State(StrEnum):
    """Where a blast stands."""

    DRAFT = "draft"
    PROOFED = "proofed"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    LAUNCHING = "launching"
    TESTING = "testing"
    DECIDING = "deciding"
    SENDING = "sending"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Move(StrEnum):
    """What may happen to a blast."""

    EDIT = "edit"
    PROOF = "proof"
    APPROVE = "approve"
    SCHEDULE = "schedule"
    LAUNCH = "launch"
    TEST = "test"
    DECIDE = "decide"
    SEND = "send"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RESEND = "resend"
    EXPIRE = "expire"
    FINISH = "finish"


BEFORE_LAUNCH = (State.DRAFT, State.PROOFED, State.APPROVED, State.SCHEDULED)
RUNNING = (State.LAUNCHING, State.TESTING, State.DECIDING, State.SENDING)
ENDED = (State.DONE, State.CANCELLED, State.EXPIRED)

# Move -> where it is allowed, where it leads.  RESUME leads to where PAUSE came from.
MOVES: Mapping[Move, tuple[tuple[State, ...], State | None]] = {
    Move.EDIT: (BEFORE_LAUNCH, State.DRAFT),
    Move.PROOF: ((State.DRAFT, State.PROOFED), State.PROOFED),
    Move.APPROVE: ((State.PROOFED,), State.APPROVED),
    Move.SCHEDULE: ((State.APPROVED, State.SCHEDULED), State.SCHEDULED),
    Move.LAUNCH: ((State.SCHEDULED,), State.LAUNCHING),
    Move.TEST: ((State.LAUNCHING,), State.TESTING),
    Move.DECIDE: ((State.TESTING,), State.DECIDING),
    Move.SEND: ((State.LAUNCHING, State.DECIDING), State.SENDING),
    Move.PAUSE: ((State.SCHEDULED, *RUNNING), State.PAUSED),
    Move.RESUME: ((State.PAUSED,), None),
    Move.CANCEL: ((*BEFORE_LAUNCH, *RUNNING, State.PAUSED), State.CANCELLED),
    # A person has messages in doubt sent again, also of a blast that was done.
    Move.RESEND: ((State.SENDING, State.DONE), State.SENDING),
    Move.EXPIRE: ((State.SCHEDULED, *RUNNING, State.PAUSED), State.EXPIRED),
    Move.FINISH: ((State.SENDING,), State.DONE),
}

# What a person who may not do this yet should do first.
_CURES = {
    (State.DRAFT, Move.APPROVE): "proof it first: mailer blast proof {name} --to YOU",
    (State.DRAFT, Move.SCHEDULE): "proof it first: mailer blast proof {name} --to YOU",
    (State.PROOFED, Move.SCHEDULE): "approve it first: mailer blast approve {name}",
    (State.SCHEDULED, Move.RESUME): "it is not paused; it waits for send_at",
    (State.PAUSED, Move.SCHEDULE): "let it go on: mailer blast resume {name}",
    **{
        (state, Move.SCHEDULE): "it goes out already: mailer blast watch {name}; other "
        "content or another time needs a new blast (mailer blast cancel {name} first)"
        for state in RUNNING
    },
    **{
        (state, Move.SCHEDULE): "a blast goes out once: begin another, "
        "mailer blast new NAME"
        for state in ENDED
    },
}


def after(move: Move, *, state: State, resumes: State | None, name: str) -> State:
    """Return the state that *move* leads to.  Raises Conflict if it is not allowed."""
    allowed, leads = MOVES[move]
    if state not in allowed:
        cure = _CURES.get((state, move), "").format(name=name)
        message = f"blast {name} is {state}: cannot {move}"
        raise errors.Conflict(f"{message}; {cure}" if cure else message)
    if leads is not None:
        return leads
    assert resumes is not None, "the schema keeps it while paused"
    return resumes


class Metric(StrEnum):
    """What the winner is chosen by."""

    REVENUE = "revenue"
    DONORS = "donors"
    CLICKS = "clicks"
    OPENS = "opens"


class Method(StrEnum):
    """How the variants share the audience."""

    SPLIT = "split"
    WINNER = "winner"
    HALVING = "halving"


class Undecided(StrEnum):
    """What goes to the remainder when the test cannot tell."""

    BEST = "best"
    CONTROL = "control"
    HOLD = "hold"


class Doubt(StrEnum):
    """What happens to a message whose reply was never seen."""

    HOLD = "hold"
    RESEND = "resend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One arm; what it does not say is the blast's."""

    name: str
    subject: str | None = None
    from_: str | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """How variants are split, judged and rolled out."""

    slice: str = "100%"
    metric: Metric = Metric.REVENUE
    method: Method = Method.SPLIT
    wait: str = "4h"
    decide_by: datetime | None = None
    undecided: Undecided = Undecided.BEST
    holdout: str = "0%"
    guard: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the file of a blast says."""

    name: str
    topic: str
    segment: str
    template: str
    from_: str | None = None  # else the organization's
    subject: str | None = None
    reply_to: str | None = None
    exclude: tuple[str, ...] = ()
    variant: tuple[Variant, ...] = ()
    experiment: Experiment | None = None
    send_at: datetime | None = None
    expires_at: datetime | str | None = None
    priority: int = 0
    pool: str = "default"
    in_doubt: Doubt = Doubt.HOLD

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return the arms, whole: a blast without any is its own only one."""
        arms = self.variant or (Variant(name="only"),)
        return tuple(
            Variant(
                name=arm.name,
                subject=arm.subject or self.subject,
                from_=arm.from_ or self.from_,
                template=arm.template or self.template,
            )
            for arm in arms
        )

    @property
    def holdout(self) -> float:
        """Return the share of the audience that gets nothing, from 0 to 1."""
        return share(self.experiment.holdout) if self.experiment else 0.0


def share(text: str) -> float:
    """Read ``"20%"`` as 0.2.  ValueError if it is none, or not from 0 to 100."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if match is None or float(match[1]) > 100:
        message = f'"{text}" is no share: write "20%"'
        raise ValueError(message)
    return float(match[1]) / 100


def check(spec: Spec, *, file: str) -> list[errors.Problem]:
    """Return what is wrong with *spec* that its types alone do not show."""
    found: list[errors.Problem] = []

    def wrong(key: str, message: str) -> None:
        found.append(errors.Problem(file=file, key=key, message=message))

    for key, name in (("name", spec.name), ("topic", spec.topic)):
        if not NAME.fullmatch(name):
            wrong(key, f'"{name}": use lower-case letters, digits and "-"')
    _check_variants(spec, wrong)
    if abs(spec.priority) > PRIORITY:
        wrong("priority", f"{spec.priority}: write -{PRIORITY} to {PRIORITY}")
    for key, instant in (("send_at", spec.send_at), ("expires_at", spec.expires_at)):
        if isinstance(instant, datetime) and instant.tzinfo is None:
            wrong(key, f'{instant.isoformat()} has no offset: add one, like "-05:00"')
    if isinstance(spec.expires_at, str) and not spec.expires_at.startswith("deadline:"):
        wrong("expires_at", f'"{spec.expires_at}": write an instant or "deadline:NAME"')
    if spec.experiment is not None:
        _check_experiment(spec, spec.experiment, wrong)
    _check_release(spec, wrong)
    return found


def _check_variants(spec: Spec, wrong: Any) -> None:
    names = [arm.name for arm in spec.variant]
    for name in sorted({name for name in names if names.count(name) > 1}):
        wrong("variant.name", f'"{name}" is there twice: every variant needs its own')
    for arm in spec.variant:
        if not NAME.fullmatch(arm.name):
            wrong("variant.name", f'"{arm.name}": use lower-case letters, digits, "-"')
    for arm in spec.variants:
        if arm.subject is not None and not 0 < len(arm.subject) <= SUBJECT:
            count = f"{len(arm.subject)} characters"
            wrong("subject", f"{count}: write 1 to {SUBJECT}")
        elif arm.subject is not None and not arm.subject.isprintable():
            wrong("subject", f'"{arm.subject!a}": write one line of text')
    if len(names) > 64:
        wrong("variant", f"{len(names)} variants: at most 64")


def _check_experiment(spec: Spec, plan: Experiment, wrong: Any) -> None:
    for key, text in (("slice", plan.slice), ("holdout", plan.holdout)):
        try:
            found = share(text)
        except ValueError as error:
            wrong(f"experiment.{key}", str(error))
        else:
            if key == "holdout" and found > 0.5:
                wrong("experiment.holdout", f'"{text}": hold out half at most')
    try:
        provider.duration(plan.wait)
    except ValueError as error:
        wrong("experiment.wait", str(error))
    for key, text in plan.guard.items():
        if key not in {"unsubscribe", "complaint"}:
            wrong(f"experiment.guard.{key}", 'is unknown: "unsubscribe" or "complaint"')
        try:
            share(text)
        except ValueError as error:
            wrong(f"experiment.guard.{key}", str(error))
    if len(spec.variant) < 2:
        wrong("experiment", "needs at least two [[variant]]")


def _check_release(spec: Spec, wrong: Any) -> None:
    """Refuse what a file may say and this release does not do: never silently."""
    plan = spec.experiment or Experiment()
    if plan.guard:
        wrong("experiment.guard", "this release watches none: leave it out")
    if plan.method is not Method.SPLIT:
        wrong(
            "experiment.method",
            f'"{plan.method}": this release splits the whole audience: write "split"',
        )
    elif plan.slice != "100%":
        wrong("experiment.slice", f'"{plan.slice}": a split takes all: leave it out')


def canonical(body: object) -> str:
    """Return *body* (plain values) as the one JSON text that is hashed."""
    return json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(body: object) -> str:
    """Return the SHA-256 of the canonical JSON of *body*, in hex."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()
