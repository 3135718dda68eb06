"""What a message is that came back, and what would follow.

In this order: delivery status (RFC 3464, 6533), abuse report (RFC 5965), the formats
from before there was a standard (flufl.bounce), automatic reply (RFC 3834).  The
automatic reply is asked last because bounces carry its fields, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mailer.core.feedback import cause, complaint, older, parts, status
from mailer.core.feedback.texts import Class

_FAILED = "5.0.0"  # what failed and has no code, failed for good
_ATTACHED = 5  # messages that are looked into
_PATHS = 10  # recipients that are tried
_CARRIERS = 5

_TO = ("x-original-to", "delivered-to", "envelope-to", "x-envelope-to", "to")
_AUTOMATIC = re.compile(
    r"^\s*(re:\s*)?(auto(matic|matische)?[ -]?(reply|response|answer|antwort)|auto:|"
    r"out of (the )?office|ooo\b|vacation|away from|abwesen|r.ponse automatique|"
    r"absence du|respuesta autom|fuera de|risposta automatica|autosvar|fr.nvaro)",
    re.IGNORECASE,
)
_WORDS = re.compile(r"auto[_-]?reply|bulk|junk", re.IGNORECASE)
_URL = re.compile(r"/u/([A-Za-z0-9_-]{30,200})")


class Kind(StrEnum):
    """What a message is."""

    BOUNCE = "bounce"
    DELAY = "delay"  # its server goes on trying
    DELIVERED = "delivered"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"  # asked for by a feedback report
    NOT_SPAM = "not-spam"
    AUTO_REPLY = "auto-reply"
    UNREADABLE = "unreadable"


class Action(StrEnum):
    """What follows."""

    SUPPRESS = "suppress"  # at once
    COUNT = "count"  # and suppress for a while when it happens often
    RECORD = "record"  # it says nothing about the address
    UNSUBSCRIBE = "unsubscribe"
    IGNORE = "ignore"
    REVIEW = "review"  # a person looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriers:
    """What may say whose message it was, in the order in which it is believed."""

    paths: tuple[str, ...] = ()  # where it came to
    envelope_ids: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    unsubscribes: tuple[str, ...] = ()  # tokens of List-Unsubscribe


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the reader makes of a message."""

    kind: Kind
    class_: Class | None = None
    action: Action
    status: str = ""  # enhanced, RFC 3463
    recipient: str = ""
    evidence: tuple[str, ...] = ()
    diagnostic: str = ""
    remote: str = ""  # the server that refused
    reporter: str = ""  # the server that wrote this
    subject: str = ""
    sender: str = ""
    report_id: str = ""  # of this message: twice the same is one
    carriers: Carriers = field(default_factory=Carriers, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one of the readers found."""

    kind: Kind
    action: Action
    cause: cause.Cause | None = None
    status: str = ""
    recipient: str = ""
    evidence: tuple[str, ...] = ()
    diagnostic: str = ""
    remote: str = ""
    reporter: str = ""
    envelope_ids: tuple[str, ...] = ()  # tokens or paths, of the report itself


def read(raw: bytes, *, to: Sequence[str] = ()) -> Reading:
    """Read a message that came to *to*, as its envelope said."""
    whole = parts.parse(raw)
    every = list(whole.walk())
    attached = _attached(every)
    said = (
        _status(every)
        or _complaint(every, attached)
        or _fallback(raw, whole)
        or _automatic(whole)
        or _nothing(whole, every)
    )
    if len(raw) > parts.SIZE:
        looked = f"only the first {parts.SIZE:,} of {len(raw):,} bytes were read"
        said_of_size: tuple[str, ...] = (looked,)
    else:
        said_of_size = ()
    because = said.cause
    return Reading(
        kind=said.kind,
        class_=because.kind if because else None,
        action=said.action,
        status=said.status,
        recipient=said.recipient,
        evidence=(
            *said.evidence, *((because.evidence,) if because else ()), *said_of_size,
        ),
        diagnostic=said.diagnostic,
        remote=said.remote,
        reporter=said.reporter,
        subject=parts.clean(whole.get("subject"), 200),
        sender=parts.clean(whole.get("from"), 200),
        report_id=_report_id(raw, whole),
        carriers=_carriers(whole, attached, said, to),
    )  # fmt: skip


def _report_id(raw: bytes, whole: parts.Part) -> str:
    given = parts.clean(whole.get("message-id"), 300)
    return given or hashlib.sha256(raw).hexdigest()


# ── Whose message it was ────────────────────────────────────────────────────


def _attached(every: Sequence[parts.Part]) -> list[parts.Part]:
    """Return the messages, or their fields alone, that this one is about."""
    found = []
    for one in every:
        is_message = one.type in {"message/rfc822", "message/global"}
        if is_message or one.type.endswith(("rfc822-headers", "global-headers")):
            inner, body = parts.split(one.content.lstrip(b"\n"))
            found.append(parts.Part(fields=inner, body=body, type=one.type))
    return found[:_ATTACHED]


def _carriers(
    whole: parts.Part,
    attached: Sequence[parts.Part],
    said: _Said,
    to: Sequence[str],
) -> Carriers:
    paths = list(to)[:_PATHS]
    for name in _TO:
        for value in whole.all(name):
            paths += [one.strip() for one in value[: parts.TEXT].split(",")]
    ids: list[str] = []
    paths_of = list(said.envelope_ids)
    tokens: list[str] = []
    for one in attached:
        paths_of += one.all("return-path")
        ids += one.all("message-id")
        for value in one.all("list-unsubscribe"):
            tokens += _URL.findall(value[: parts.TEXT])
    return Carriers(
        paths=tuple(status.address(one) or one for one in paths[:_PATHS] if one),
        envelope_ids=tuple(one for one in paths_of[:_CARRIERS] if one),
        message_ids=tuple(ids[:_CARRIERS]),
        unsubscribes=tuple(tokens[:_CARRIERS]),
    )


# ── RFC 3464, RFC 6533 ──────────────────────────────────────────────────────


def _status(every: Sequence[parts.Part]) -> _Said | None:
    for one in every:
        if one.type in status.TYPES:
            report = status.read(one)
            if report.records:
                return _reported(report)
    return None


def _reported(report: status.Report) -> _Said:
    """Take the recipient whose message came back; ours have one."""
    failed = [one for one in report.records if one.action.startswith(("fail", "error"))]
    if failed:
        return _failed(failed[0], report)
    first = report.records[0]
    if first.action in {"delayed", "delivered", "relayed", "expanded"}:
        kind = Kind.DELAY if first.action == "delayed" else Kind.DELIVERED
        return _Said(
            kind=kind,
            action=Action.IGNORE,
            status=first.status,
            recipient=first.recipient or first.original,
            evidence=(f"the report says {first.action}",),
            diagnostic=first.diagnostic,
            remote=first.remote,
            reporter=report.reporter,
            envelope_ids=(report.envelope_id,),
        )
    # RFC 3464 §2.3.3 demands an action; what has none may say it by its status.
    if first.status.startswith("5"):
        return _failed(first, report)
    return _Said(
        kind=Kind.UNREADABLE,
        action=Action.REVIEW,
        status=first.status,
        recipient=first.recipient or first.original,
        evidence=(f'a report with the action "{first.action}"',),
        diagnostic=first.diagnostic,
        envelope_ids=(report.envelope_id,),
    )


def _failed(record: status.Record, report: status.Report) -> _Said:
    because = cause.classify(record.status or _FAILED, record.diagnostic)
    return _Said(
        kind=Kind.BOUNCE,
        action=_follows(because.kind),
        cause=because,
        status=status.code(record.diagnostic) or record.status,
        recipient=record.recipient or record.original,
        evidence=("a delivery status report (RFC 3464) says failed",),
        diagnostic=record.diagnostic,
        remote=record.remote,
        reporter=report.reporter,
        envelope_ids=(report.envelope_id,),
    )


def _follows(kind: Class) -> Action:
    if kind.suppresses:
        return Action.SUPPRESS
    return Action.COUNT if kind.is_counted else Action.RECORD


# ── RFC 5965 ────────────────────────────────────────────────────────────────

_MEANS = {
    "abuse": (Kind.COMPLAINT, Action.SUPPRESS),
    "fraud": (Kind.COMPLAINT, Action.SUPPRESS),
    "opt-out": (Kind.UNSUBSCRIBE, Action.UNSUBSCRIBE),
    "opt-out-list": (Kind.UNSUBSCRIBE, Action.UNSUBSCRIBE),
    "not-spam": (Kind.NOT_SPAM, Action.IGNORE),
}


def _complaint(
    every: Sequence[parts.Part], attached: Sequence[parts.Part]
) -> _Said | None:
    found = next(
        (complaint.read(one) for one in every if one.type == complaint.TYPE),
        None,
    ) or complaint.junk(attached)
    if found is None:
        return None
    kind, action = _MEANS.get(found.kind, (Kind.UNREADABLE, Action.REVIEW))
    return _Said(
        kind=kind,
        action=action,
        recipient=found.recipient,
        evidence=(f'a feedback report (RFC 5965) of type "{found.kind}"',),
        reporter=found.reporter,
        envelope_ids=(found.mail_from, found.envelope_id),
    )


# ── Formats from before there was a standard ────────────────────────────────


def _fallback(raw: bytes, whole: parts.Part) -> _Said | None:
    """Ask flufl.bounce, which finds addresses but knows no reason.

    What it finds suppresses nobody at once: it takes replies of people who quote a
    bounce for one.
    """
    later, never = older.scan(raw)
    if not (later or never):
        return None
    who = min(never or later)
    recipient = parts.clean(who.decode("ascii", "replace"), 320)
    evidence = ("flufl.bounce knows the format, which has no report",)
    if not never:
        return _Said(
            kind=Kind.DELAY,
            action=Action.IGNORE,
            recipient=recipient,
            evidence=evidence,
        )
    line = older.reason(whole, recipient)
    because = cause.classify(status.code(line) or _FAILED, line)
    return _Said(
        kind=Kind.BOUNCE,
        action=Action.COUNT,
        cause=because,
        status=status.code(line),
        recipient=recipient,
        evidence=evidence,
        diagnostic=line,
    )


# ── RFC 3834 ────────────────────────────────────────────────────────────────


def _automatic(whole: parts.Part) -> _Said | None:
    """Tell an automatic reply from what a person must look at."""
    submitted = whole.get("auto-submitted").partition(";")[0].strip().lower()
    evidence = ""
    if submitted and submitted != "no":
        evidence = f"Auto-Submitted: {submitted[:40]}"
    elif whole.get("x-autoreply") or whole.get("x-autorespond"):
        evidence = "X-Autoreply or X-Autorespond"
    elif _WORDS.search(whole.get("precedence")[:40]):
        evidence = f"Precedence: {parts.clean(whole.get('precedence'), 40)}"
    elif "disposition-notification" in whole.get("content-type").lower():
        evidence = "a receipt (RFC 8098)"
    elif _AUTOMATIC.search(whole.get("subject")[:200]):
        evidence = "its subject is that of an automatic reply"
    if not evidence:
        return None
    return _Said(kind=Kind.AUTO_REPLY, action=Action.IGNORE, evidence=(evidence,))


def _nothing(whole: parts.Part, every: Sequence[parts.Part]) -> _Said:
    types = sorted({one.type for one in every} - {whole.type})
    shown = ", ".join([whole.type, *types])[:200]
    return _Said(
        kind=Kind.UNREADABLE,
        action=Action.REVIEW,
        evidence=(f"no report, no known bounce, no automatic reply ({shown})",),
    )
