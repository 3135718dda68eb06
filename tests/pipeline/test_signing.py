from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from mailer.core.delivery import BlastId, SubscriberId
from mailer.core.signature import Algorithm, Key
from mailer.core.subscriber import Subscriber
from mailer.core.tracking import Ring
from mailer.mail import message, template
from mailer.pipeline.scheduling import signing
from tests import given, signers

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
ADA = Subscriber(
    id=SubscriberId(1),
    email="ada@example.com",
    address="ada@example.com",
    domain="example.com",
    provider="other",
    signed_up_at=NOON,
)


def composer(keys: Sequence[Key], **changes: str) -> message.Composer:
    arm = given.variant("only", **changes)
    return message.Composer(
        template.Compiled.from_document(arm["compiled"]),
        blast=message.Blast(
            id=BlastId(1),
            name="eoq",
            topic="fundraising",
            organization={"organization": "Example for Congress"},
            public_url="https://track.test",
            ring=Ring(keys={1: bytes(range(32))}, current=1),
            signers=keys,
        ),
        variant=1,
        sender=arm["from"],
    )


def test_mail_that_nothing_signs_is_warned_of() -> None:
    other = composer([signers.key("example.com")])
    found = signing.sign([other, composer([signers.key()])], ADA, now=NOON)
    assert (found.is_ok, found.is_warning) == (False, True)
    assert found.text.startswith(
        "nothing signs mail from example.org: Gmail and Yahoo refuse unsigned bulk mail"
    )


def test_a_message_is_signed_and_verified() -> None:
    keys = [signers.key(), signers.key(selector="e", algorithm=Algorithm.ED25519)]
    found = signing.sign([composer(keys)], ADA, now=NOON)
    assert found.is_ok
    assert found.text.startswith(
        "signed by s2026._domainkey.example.org, e._domainkey.example.org:"
    )


@pytest.mark.parametrize("person", [None, ADA])
def test_whether_a_message_can_be_made_is_said_elsewhere(
    person: Subscriber | None,
) -> None:
    written = composer([signers.key()], html="{{ nothing }}")
    assert signing.sign([written], person, now=NOON).is_ok
