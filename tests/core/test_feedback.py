"""What comes back by mail: samples in real formats, and whatever strangers write."""

from __future__ import annotations

import email
import random
import sys
import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flufl.bounce import all_failures
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import settings as settings_of
from mailer.core import event, feedback, tracking, verp
from mailer.core.delivery import State
from mailer.core.feedback import Action, Class, Delivered, Identity, Kind
from mailer.core.feedback import parts as parts_of
from mailer.core.patience import Patience
from mailer.core.suppression import Reason
from mailer.core.tracking import Purpose, Ring, Token

SAMPLES = Path(__file__).parent / "feedback"
EXPECTED: dict[str, dict[str, str]] = tomllib.loads(
    (SAMPLES / "expected.toml").read_text("utf-8")
)
RING = Ring(keys={1: bytes(range(32)), 2: bytes(range(1, 33))}, current=2)
OTHERS = Ring(keys={1: bytes(range(2, 34)), 2: bytes(range(3, 35))}, current=2)
ADA = Token(blast=12, subscriber=7)
NOON = datetime(2026, 10, 13, 12, tzinfo=UTC)


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.eml").read_bytes()


def read(name: str) -> dict[str, str]:
    """Return what the reader makes of a sample, as expected.toml writes it."""
    reading = feedback.read(sample(name))
    found = {
        "kind": reading.kind.value,
        "action": reading.action.value,
        "status": reading.status,
        "recipient": reading.recipient,
    }
    return found if reading.class_ is None else {**found, "class": reading.class_.value}


# ── The samples ─────────────────────────────────────────────────────────────


def test_each_sample_has_its_reading() -> None:
    assert {path.stem for path in SAMPLES.glob("*.eml")} == EXPECTED.keys()
    assert len(EXPECTED) >= 80
    assert {one["class"] for one in EXPECTED.values() if "class" in one} == set(Class)
    assert {one["kind"] for one in EXPECTED.values()} == set(Kind)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_read_as_its_format_means(name: str) -> None:
    wanted = {key: value for key, value in EXPECTED[name].items() if key != "source"}

    assert read(name) == wanted


def test_more_samples_are_recognised_than_by_the_fallback_alone() -> None:
    """`pytest -s` shows the table."""
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for name, wanted in EXPECTED.items():
        kind = wanted["kind"]
        try:
            later, never = all_failures(email.message_from_bytes(sample(name)))
        except IndexError:  # it wants a From
            later = never = frozenset()
        ours[kind] += read(name)["kind"] == kind
        is_right = {"bounce": bool(never), "delay": bool(later) and not never}
        theirs[kind] += is_right.get(kind, False)
    total = Counter(one["kind"] for one in EXPECTED.values())
    lines = [f"{'kind':12}{'samples':>8}{'mailer':>8}{'flufl':>8}"]
    for kind, count in total.items():
        lines.append(f"{kind:12}{count:8}{ours[kind]:8}{theirs[kind]:8}")
    sys.stdout.write("\n".join(["", *lines, ""]))

    assert ours == total
    assert sum(theirs.values()) < sum(ours.values())


def test_nothing_of_a_stranger_steers_a_terminal() -> None:
    for name in EXPECTED:
        reading = feedback.read(sample(name))
        for text in (
            reading.diagnostic, reading.recipient, reading.subject, reading.sender,
            reading.remote, reading.reporter, reading.status, *reading.evidence,
        ):  # fmt: skip
            assert text.isprintable(), (name, text)


# ── Classes ─────────────────────────────────────────────────────────────────


def test_only_three_classes_suppress() -> None:
    assert {one for one in Class if one.suppresses} == {
        Class.BAD_ADDRESS, Class.INACTIVE, Class.BAD_DOMAIN,
    }  # fmt: skip
    assert not {one for one in Class if one.suppresses and one.is_counted}


def test_a_reply_means_by_mail_what_it_means_while_we_send() -> None:
    """The rules of config/bounces.toml and these agree on who is suppressed."""
    shipped = settings_of.read(
        settings_of.shipped(settings_of.BOUNCES), settings_of.Bounces
    )
    for name, rule in shipped.rule.items():
        for line in rule.samples:
            found = feedback.classify("", line)
            suppresses = rule.action.value == "suppress"
            assert (name, found.kind.suppresses) == (name, suppresses), line


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 spam", "550 5.1.1 blocked by policy", "550 5.2.1 poor reputation",
        "550 5.1.2 listed in an RBL", "550 5.1.1 user unknown; message is spam",
        "550 5.1.1 virus found", "550 5.1.1 DMARC", "550 5.2.1 rate limit",
        "550 5.1.1 sender rejected", "550 5.1.10 phishing",
    ],
)  # fmt: skip
def test_words_about_us_never_suppress_whatever_the_code(text: str) -> None:
    assert not feedback.classify("5.1.1", text).kind.suppresses


def test_what_is_not_for_good_never_suppresses() -> None:
    for status in ("4.1.1", "4.2.1", "4.1.2", "4.0.0"):
        for text in ("", "450 user unknown", "421 mailbox disabled"):
            assert not feedback.classify(status, text).kind.suppresses


@given(st.text(max_size=200), st.text(max_size=10))
def test_any_text_has_a_class(text: str, status: str) -> None:
    assert feedback.classify(status, text).kind in set(Class)


# ── Whose message it was ────────────────────────────────────────────────────


def test_a_return_path_fits_an_address_and_survives_its_case() -> None:
    path = verp.seal(RING, ADA, "bounce.example.org")

    assert len(path.partition("@")[0]) <= verp.LOCAL_PART
    assert verp.unseal(RING, path) == ADA
    assert verp.unseal(RING, f"<{path.upper()}>") == ADA
    assert verp.unseal(RING, path.partition("@")[0]) == ADA
    assert verp.unseal(OTHERS, path) is None


@given(st.integers(0, 46), st.integers(1, 255))
def test_no_changed_return_path_is_one(at: int, other: int) -> None:
    path = verp.seal(RING, ADA, "bounce.example.org")
    changed = path[:at] + chr(ord(path[at]) ^ other) + path[at + 1 :]

    assert verp.unseal(RING, changed) in {None, ADA}  # ADA: the other case of a letter
    if verp.unseal(RING, changed) == ADA:
        assert changed.lower() == path


@pytest.mark.parametrize("purpose", sorted(set(Purpose) - {Purpose.BOUNCE}))
def test_a_token_of_another_purpose_is_no_return_path(purpose: Purpose) -> None:
    token = tracking.seal(RING, purpose, ADA)

    assert verp.unseal(RING, verp.address(token, "bounce.example.org")) is None


def test_a_message_id_names_a_delivery_only_if_it_is_ours() -> None:
    name = verp.name(RING, 12, 34)

    assert verp.named(RING, f"<{name}@example.org>") == (12, 34)
    assert verp.named(OTHERS, f"<{name}@example.org>") is None
    assert verp.named(RING, f"<{name.replace('34', '35', 1)}@example.org>") is None
    assert verp.named(RING, f"<{verp.name(RING, 12, '0-abc')}@example.org>") is None


PATH = verp.seal(RING, ADA, "bounce.example.org")
REPORT = """\
From: MAILER-DAEMON@mx.example.test
To: {to}
Message-ID: <r1@mx.example.test>
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.test
{envelope}
Final-Recipient: rfc822; ada@example.test
Action: failed
Status: 5.1.1

--b
Content-Type: text/rfc822-headers

{original}

--b--
"""


def report(*, to: str = "x@y.test", envelope: str = "", original: str = "") -> bytes:
    return REPORT.format(to=to, envelope=envelope, original=original).encode()


LEAVE = tracking.seal(RING, Purpose.UNSUBSCRIBE, ADA)
BY_PERSON = {
    "the return path": report(to=PATH),
    "the envelope id": report(envelope=f"Original-Envelope-Id: {PATH[:47]}\n"),
    "List-Unsubscribe": report(
        original=f"List-Unsubscribe: <https://links.example.org/u/{LEAVE}>"
    ),
}


@pytest.mark.parametrize("by", BY_PERSON)
def test_what_we_sealed_says_whose_message_it_was(by: str) -> None:
    found = feedback.identify(RING, feedback.read(BY_PERSON[by]).carriers)

    assert found == Identity(blast=12, subscriber=7, by=by)
    assert feedback.identify(OTHERS, feedback.read(BY_PERSON[by]).carriers) is None


def test_the_message_id_of_what_is_attached_names_the_delivery() -> None:
    name = verp.name(RING, 12, 34)
    raw = report(original=f"Message-ID: <{name}@example.org>")

    found = feedback.identify(RING, feedback.read(raw).carriers)

    assert found == Identity(blast=12, seq=34, by="the Message-ID")


def test_the_envelope_is_believed_before_what_is_written() -> None:
    bo = verp.seal(RING, Token(blast=12, subscriber=8), "bounce.example.org")

    found = feedback.identify(RING, feedback.read(report(to=bo), to=[PATH]).carriers)

    assert found == Identity(blast=12, subscriber=7, by="the return path")


def test_an_abuse_report_without_an_address_still_says_who() -> None:
    raw = (
        sample("arf-minimal")
        .replace(b"b12.34.0123456789ab", b"x")
        .replace(b"AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_", LEAVE.encode())
    )

    found = feedback.identify(RING, feedback.read(raw).carriers)

    assert found == Identity(blast=12, subscriber=7, by="List-Unsubscribe")


def test_no_sample_of_the_files_names_anybody() -> None:
    for name in EXPECTED:
        assert feedback.identify(RING, feedback.read(sample(name)).carriers) is None


# ── What is kept ────────────────────────────────────────────────────────────


def kept(raw: bytes, *, ring: Ring = RING, to: str = PATH) -> event.Event | None:
    reading = feedback.read(raw, to=[to])
    who = feedback.identify(ring, reading.carriers)
    return feedback.as_event(reading, who, raw=raw, to=to, at=NOON)


def test_a_bounce_is_an_event_whose_id_is_that_of_the_report() -> None:
    found = kept(sample("gmail-no-such-user"))

    assert found is not None
    assert (found.kind, found.blast, found.subscriber) == (event.Kind.BOUNCE, 12, 7)
    assert found.body is not None
    assert found.body["class"] == "bad-address"
    again = kept(sample("gmail-no-such-user").replace(b"\n", b"\r\n"))
    assert again is not None
    assert again.id == found.id
    assert event.decode(event.encode(found)) == found


def test_a_forged_bounce_is_for_review_and_names_nobody() -> None:
    found = kept(sample("gmail-no-such-user"), ring=OTHERS)

    assert found is not None
    assert (found.blast, found.subscriber) == (None, None)
    assert found.stray is not None
    assert found.stray.why == (
        "bounce: nothing says whose message it was (ada@gmail.test)"
    )
    assert found.stray.raw == sample("gmail-no-such-user")
    assert event.decode(event.encode(found)) == found


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("arf-abuse", "complaint"), ("arf-opt-out", "unsubscribe"),
        ("arf-not-spam", None), ("vacation-rfc3834", None),
        ("postfix-delay-full", None), ("delivered-with-5xx-text", None),
        ("a-person-writes", "stray"), ("arf-virus", "stray"),
        ("gmail-unsolicited", "bounce"),
    ],
)  # fmt: skip
def test_each_kind_is_kept_as_what_it_is(name: str, what: str | None) -> None:
    found = kept(sample(name))

    if what is None:
        assert found is None
        return
    assert found is not None
    assert (what if found.stray is None else "stray") == what
    if found.stray is None:
        assert found.kind.value == what


# ── What follows ────────────────────────────────────────────────────────────

SENT = Delivered(
    address="ada@example.test", state=State.SENT, settled_at=NOON, blasts=1
)


def follow(
    kind: event.Kind = event.Kind.BOUNCE, *, days: float = 0, **said: str
) -> Any:
    about = SENT
    if "blasts" in said:
        blasts = int(said.pop("blasts"))
        about = Delivered(
            address=SENT.address, state=State.SENT, settled_at=NOON, blasts=blasts
        )
    return feedback.follow(
        kind, said, at=NOON + timedelta(days=days), about=about, patience=Patience()
    )


def test_a_bad_address_is_suppressed_at_once() -> None:
    found = follow(action="suppress", recipient="Ada@Example.test")

    assert (found.reason, found.expires_at) == (Reason.BOUNCE, None)


def test_a_full_mailbox_is_left_alone_for_a_while_the_third_time() -> None:
    once: dict[str, Any] = {"action": "count", "class": "full-mailbox"}

    assert follow(**once, blasts="2") is None
    found = follow(**once, blasts="3")
    assert found.reason is Reason.BOUNCE
    assert found.expires_at == NOON + feedback.HOLD
    assert found.note == "full-mailbox; in 3 blasts"


def test_whoever_forwards_their_mail_is_there() -> None:
    assert follow(action="suppress", recipient="old@elsewhere.test") is None


def test_a_bounce_long_after_the_message_suppresses_nobody() -> None:
    assert follow(action="suppress", days=10) is not None
    assert follow(action="suppress", days=11) is None


def test_a_complaint_may_come_late() -> None:
    found = follow(event.Kind.COMPLAINT, action="suppress", days=60)

    assert found.reason is Reason.COMPLAINT


@pytest.mark.parametrize(
    "action", sorted(set(Action) - {Action.SUPPRESS, Action.COUNT})
)
def test_nothing_else_suppresses_however_often(action: Action) -> None:
    assert follow(action=action.value, blasts="99") is None


@pytest.mark.parametrize("kind", [event.Kind.BOUNCE, event.Kind.COMPLAINT])
@pytest.mark.parametrize(
    "state", sorted(set(State) - {State.SENT, State.IN_DOUBT, State.BOUNCED})
)
def test_nothing_follows_for_what_was_never_sent(
    kind: event.Kind, state: State
) -> None:
    about = Delivered(address="a@b.test", state=state, settled_at=NOON, blasts=99)

    assert (
        feedback.follow(
            kind, {"action": "suppress"}, at=NOON, about=about, patience=Patience()
        )
        is None
    )


# ── Strangers ───────────────────────────────────────────────────────────────


@settings(max_examples=200)
@given(st.binary(max_size=2000))
def test_any_bytes_are_read(raw: bytes) -> None:
    found = kept(raw)

    if found is not None:
        event.decode(event.encode(found))


def test_a_damaged_sample_never_stops_the_reader() -> None:
    """Bytes flipped, cut out, doubled and put elsewhere: a thousand and more."""
    chance = random.Random(5965)
    for name in EXPECTED:
        whole = sample(name)
        for _ in range(12):
            raw = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                at, size = chance.randrange(len(raw) + 1), chance.randint(1, 60)
                piece = bytes(raw[at : at + size])
                match chance.randrange(4):
                    case 0:
                        raw[at : at + size] = chance.randbytes(len(piece))
                    case 1:
                        del raw[at : at + size]
                    case 2:
                        raw[at:at] = piece * chance.randint(1, 5)
                    case _:
                        raw[chance.randrange(len(raw) + 1) : 0] = piece
            found = kept(bytes(raw))
            if found is not None:
                assert event.decode(event.encode(found)) == found


def test_a_damaged_report_names_the_one_it_came_to_or_nobody() -> None:
    chance = random.Random(3464)
    whole = report(to=PATH)
    for _ in range(500):
        raw = bytearray(whole)
        for _ in range(4):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        who = feedback.identify(RING, feedback.read(bytes(raw)).carriers)
        assert who is None or who.subscriber == 7


HEAD = b"From: a@b.test\nMessage-ID: <x@b.test>\n"
HUGE = {
    "one line": HEAD + b"\n" + b"a" * 2_000_000,
    "50 MB after a report": report(to=PATH) + b"x" * 50_000_000,
    "nested parts": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at)
        for at in range(20_000)
    ),
    "many parts": b"Content-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\n\nx\n" * 100_000,
    "many fields": b"a: b\n" * 300_000,
    "a long fold": b"Subject: x" + b"\n y" * 300_000,
    "many recipients": report(envelope="\nAction: failed\n" * 50_000),
    "words of the fallback": HEAD
    + b"\nYour message could not be delivered\n"
    + (b"a@" * 99 + b"\n") * 5000,
}


@pytest.mark.parametrize("what", HUGE)
def test_a_message_of_any_size_is_read_within_bounds(what: str) -> None:
    reading = feedback.read(HUGE[what], to=[PATH])

    assert feedback.identify(RING, reading.carriers) is not None
    assert len(reading.diagnostic) <= parts_of.TEXT
    found = kept(HUGE[what])
    assert found is None or len(event.encode(found)) < 1 << 20
    if what.startswith("50 MB"):
        assert (reading.kind, reading.class_) == (Kind.BOUNCE, Class.BAD_ADDRESS)
        assert "were read" in reading.evidence[-1]


def test_parts_are_not_followed_deeper_than_a_report_goes() -> None:
    def depth(part: parts_of.Part) -> int:
        return 1 + max((depth(one) for one in part.parts), default=0)

    assert depth(parts_of.parse(HUGE["nested parts"])) == parts_of.DEPTH + 1
