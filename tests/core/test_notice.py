import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.core import notice
from mailer.core.alarm import Alarm, Event, Kind
from mailer.core.notice import Secret
from tests.receiver import SECRET, is_ours

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
STALLED = Alarm(
    id=7,
    kind=Kind.STALLED,
    subject="blast eoq",
    detail="Nothing was sent for 6 minutes: 40 of 100 are owed a message.",
    count=1,
    first_at=NOON - timedelta(minutes=6),
    last_at=NOON,
)


def test_a_person_who_is_woken_reads_what_happened_what_was_done_and_what_to_do() -> (
    None
):
    words = notice.words(STALLED, Event.RAISED, whose="Example for Congress", now=NOON)

    assert words.subject == (
        "[mailer] CRITICAL: blast eoq stands still: messages are owed and none goes out"
    )
    assert words.text == (
        "CRITICAL: blast eoq stands still: messages are owed and none goes out.\n\n"
        "Nothing was sent for 6 minutes: 40 of 100 are owed a message.\n\n"
        "What mailer did: Everybody who is owed a message keeps it; nothing goes out "
        "after the blast expires. It goes on by itself when what stops it is gone.\n\n"
        "What to do: See which provider waits: mailer blast watch eoq. Is a worker "
        "running (`mailer run` or `mailer work`), and what does its log say of the "
        "relay?\n\n"
        "Since 2026-10-01 11:54 UTC (6 minutes ago).\n\n"
        "This is repeated until somebody takes it. On the machine of mailer:\n\n"
        "    mailer alarm take 7 --by YOUR-NAME\n\n"
        "-- \nmailer, Example for Congress\n"
    )


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("event", Event)
def test_everything_that_is_told_can_be_written(kind: Kind, event: Event) -> None:
    about = replace(
        STALLED,
        kind=kind,
        count=3,
        taken_by="Ada",
        note="calling them",
        cleared_at=NOON,
        cleared_why="it goes on",
    )

    words = notice.words(about, event, whose="Example", now=NOON)

    assert "None" not in words.subject + words.text
    assert words.payload["type"] == f"alarm.{event}"
    assert json.loads(words.body)["data"]["kind"] == kind


def test_what_nobody_can_take_does_not_ask_for_it() -> None:
    about = replace(STALLED, id=0, kind=Kind.DATABASE, subject="host-1")

    words = notice.words(about, Event.REPEATED, whose="Example", now=NOON)

    assert "alarm take" not in words.text + words.payload["text"]
    assert words.subject.startswith("[mailer] STILL CRITICAL: host-1 does not reach")


@given(st.binary(min_size=24, max_size=64), st.text(max_size=50), st.booleans())
def test_a_signature_is_what_the_standard_says_and_any_other_body_breaks_it(
    key: bytes, text: str, has_prefix: bool
) -> None:
    written = base64.b64encode(key).decode()
    secret = Secret.parse(("whsec_" if has_prefix else "") + written)
    body = json.dumps({"text": text}).encode()

    headers = notice.signed(secret, id="alarm-1", at=NOON, body=body)

    assert is_ours(body, headers, secret=written)
    assert not is_ours(body + b" ", headers, secret=written)
    later = {**headers, "webhook-timestamp": str(int(NOON.timestamp()) + 1)}
    assert not is_ours(body, later, secret=written)
    assert not is_ours(body, {**headers, "webhook-id": "alarm-2"}, secret=written)


def test_the_signature_of_the_reference_implementation() -> None:
    """The example of standardwebhooks.com's own libraries' tests."""
    secret = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    headers = notice.signed(
        secret,
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=datetime.fromtimestamp(1614265330, UTC),
        body=b'{"test": 2432232314}',
    )

    assert headers["webhook-signature"] == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("text", ["", "whsec_", "short", "!" * 40, "QUJD", SECRET * 2])
def test_a_secret_that_is_none_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32") as caught:
        Secret.parse(text)
    assert not text or text not in str(caught.value)
    assert re.search(r"key|b'", repr(Secret.parse(SECRET))) is None
