"""Delivery status notifications: RFC 3464, and RFC 6533 for addresses in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mailer.core.feedback import parts

TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
BLOCKS = 50  # recipients of one report; ours have one

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 §3
_ADDRESS = re.compile(r"<([^<>\s]+@[^<>\s]+)>|([^<>\s;()]+@[^<>\s;()]+)")
_ABOUT_ONE = ("final-recipient", "original-recipient", "action", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a report says of one recipient."""

    action: str  # failed, delayed, delivered, relayed, expanded
    status: str  # "5.1.1", or nothing
    diagnostic: str  # what the server said, with its type: "smtp; 550 5.1.1 …"
    recipient: str  # the last address that was tried
    original: str  # the one that we gave
    remote: str  # the server that said it


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report, and what it says of the whole message."""

    envelope_id: str = ""
    reporter: str = ""
    records: tuple[Record, ...] = ()


def read(part: parts.Part) -> Report:
    """Read the fields of a report part, however it was transferred."""
    report = Report()
    records: list[Record] = []
    for block in _blocks(part):
        if "reporting-mta" in block or "original-envelope-id" in block:
            report = Report(
                envelope_id=block.get("original-envelope-id", "")[: parts.TEXT],
                reporter=_name(block.get("reporting-mta", "")),
            )
        if any(key in block for key in _ABOUT_ONE) and len(records) < BLOCKS:
            records.append(_record(block))
    return Report(
        envelope_id=report.envelope_id,
        reporter=report.reporter,
        records=tuple(records),
    )


def _blocks(part: parts.Part) -> Iterator[Mapping[str, str]]:
    text = part.content
    for block in re.split(rb"\n[ \t]*\n", text.strip(b"\n"), maxsplit=2 * BLOCKS):
        found: dict[str, str] = {}
        for name, value in parts.fields(block):
            found.setdefault(name, value)
        if found:
            yield found


def _record(block: Mapping[str, str]) -> Record:
    word = re.match(r"[a-z]+", block.get("action", "").strip().lower())
    return Record(
        action=word[0] if word else "",
        status=code(block.get("status", "")),
        diagnostic=parts.clean(block.get("diagnostic-code", "")),
        recipient=address(block.get("final-recipient", "")),
        original=address(block.get("original-recipient", "")),
        remote=_name(block.get("remote-mta", "")),
    )


def code(text: str) -> str:
    """Return the first enhanced status code (RFC 3463) of *text*, or nothing."""
    match = _STATUS.search(text[: parts.TEXT])
    return match[0] if match else ""


def address(text: str) -> str:
    """Return the address of ``rfc822; ada@example.org`` or ``utf-8; …``, or nothing."""
    kind, semicolon, rest = text[: parts.TEXT].partition(";")
    plain = rest if semicolon else kind
    if kind.strip().lower() == "utf-8":
        plain = _ESCAPED.sub(_character, plain)
    match = _ADDRESS.search(plain)
    return parts.clean(match[1] or match[2], 320).strip("\"'") if match else ""


def _character(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number < 0x110000 else ""


def _name(text: str) -> str:
    return parts.clean(text.rpartition(";")[2], 255)
