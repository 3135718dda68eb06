"""Bounces and complaints that relays post: forged, altered, old and twice."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from mailer import errors, spool
from mailer.core import event, tracking, verp
from mailer.core.event import Event, Kind
from mailer.core.tracking import Purpose
from mailer.pipeline import receiving
from mailer.settings import Relays as Known
from mailer.web.hooks import Relays
from tests.web.conftest import ADA, NOON, RING

TOPIC = "arn:aws:sns:us-east-1:123456789012:bounces"
PEM = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-" + "0a" * 16
BEGIN = (
    "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="
    f"{TOPIC}&Token=2336412f37"
)
PATH = verp.seal(RING, ADA, "bounce.example.org")
NAME = f"<{verp.name(RING, 1, 34)}@example.org>"
LEAVE = tracking.seal(RING, Purpose.UNSUBSCRIBE, ADA)

AMAZON = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TWILIO = ec.generate_private_key(ec.SECP256R1())


def certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=NOON,
        not_valid_after=NOON + timedelta(days=9),
    ).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


@dataclass
class Web:
    """What is at Amazon, and what was asked for there."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise errors.Unavailable("answered 404")
        return self.pages[url]


@dataclass
class Post:
    """The door, and what was kept behind it."""

    client: TestClient[web.Request, web.Application]
    amazon: Web
    folder: Any
    now: datetime = NOON

    async def __call__(
        self, sender: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> int:
        answer = await self.client.post(
            f"/hooks/relay/{sender}", data=body, headers=headers
        )
        return answer.status

    def events(self) -> list[Event]:
        folders = [one for one in (self.folder / "urgent").iterdir() if one.is_dir()]
        return [
            event.decode(record.payload)
            for one in folders
            for record in spool.read(one)
        ]


@pytest.fixture
async def post(inbox: receiving.Inbox, tmp_path: Any) -> AsyncIterator[Post]:
    amazon = Web(pages={f"{PEM}.pem": certificate(AMAZON), BEGIN: b"ok"})
    key = TWILIO.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    door = Relays(
        ring=RING,
        inbox=inbox,
        now=lambda: NOON,
        known=Known(
            ses_topic=TOPIC,
            sendgrid_key=key,
            mailgun_key="key-of-nobody",
            postmark_password="correct horse battery",
        ),
        fetch=amazon.fetch,
    )
    app = web.Application()
    app.add_subapp("/hooks/relay", door.app())
    async with TestClient(
        TestServer(app, access_log=None), cookie_jar=aiohttp.DummyCookieJar()
    ) as client:
        yield Post(client=client, amazon=amazon, folder=tmp_path / "spool")


# ── How each sender proves itself ───────────────────────────────────────────


def sns(
    message: Any, *, key: rsa.RSAPrivateKey = AMAZON, version: str = "2",
    kind: str = "Notification", at: datetime = NOON, **changes: str,
) -> bytes:  # fmt: skip
    said = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000Z",
        "SignatureVersion": version,
        "SigningCertURL": f"{PEM}.pem",
    }
    names = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"]
    if kind == "SubscriptionConfirmation":
        said |= {"SubscribeURL": BEGIN, "Token": "2336412f37"}
        names = [*names, "SubscribeURL", "Token"]
    said |= {one: value for one, value in changes.items() if one == "TopicArn"}
    lines = "".join(f"{one}\n{said[one]}\n" for one in sorted(names))
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
    signature = key.sign(lines.encode(), padding.PKCS1v15(), algorithm)
    said["Signature"] = base64.b64encode(signature).decode()
    return json.dumps(said | changes).encode()


def twilio(body: bytes, *, at: datetime = NOON) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    signature = TWILIO.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
    }


def mailgun(data: Any, *, key: str = "key-of-nobody", at: datetime = NOON) -> bytes:
    stamp, token = str(int(at.timestamp())), "c0ffee" * 8
    code = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256)
    proof = {"timestamp": stamp, "token": token, "signature": code.hexdigest()}
    return json.dumps({"signature": proof, "event-data": data}).encode()


def basic(password: str = "correct horse battery", user: str = "mailer") -> Any:
    code = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {code}"}


# ── What they say, in the shapes of their pages; the people are nobody ──────

SES_BOUNCE: dict[str, Any] = {
    "notificationType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [
            {
                "emailAddress": "ada@example.test",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }
        ],
        "timestamp": "2026-10-01T11:59:58.000Z",
        "feedbackId": "0100017f-000000",
    },
    "mail": {"source": PATH, "messageId": "0100017f", "destination": []},
}
SES_COMPLAINT: dict[str, Any] = {
    "eventType": "Complaint",
    "complaint": {
        "complainedRecipients": [{"emailAddress": "ada@example.test"}],
        "complaintFeedbackType": "abuse",
        "feedbackId": "0100017f-000001",
    },
    "mail": {
        "source": "team@example.org",
        "headers": [
            {
                "name": "List-Unsubscribe",
                "value": f"<https://links.example.org/u/{LEAVE}>",
            }
        ],
    },
}
SENDGRID: list[dict[str, Any]] = [
    {
        "email": "ada@example.test", "timestamp": 1790000000, "smtp-id": NAME,
        "event": "bounce", "sg_event_id": "e1", "reason": "550 mailbox not found",
        "status": "5.0.0", "type": "bounce", "bounce_classification": "Invalid Address",
    },
    {"email": "ada@example.test", "event": "spamreport", "sg_event_id": "e2",
     "smtp-id": NAME},
    {"email": "ada@example.test", "event": "delivered", "sg_event_id": "e3",
     "smtp-id": NAME},
]  # fmt: skip
MAILGUN: dict[str, Any] = {
    "event": "failed", "severity": "permanent", "reason": "bounce", "id": "m1",
    "recipient": "ada@example.test",
    "envelope": {"sender": PATH, "targets": "ada@example.test"},
    "delivery-status": {"code": 550, "message": "5.1.1 The account does not exist",
                        "description": ""},
    "message": {"headers": {"message-id": NAME.strip("<>")}},
}  # fmt: skip
POSTMARK: dict[str, Any] = {
    "RecordType": "Bounce", "ID": 4323372036854775807, "Type": "HardBounce",
    "TypeCode": 1, "Email": "ada@example.test", "Details": "550 5.1.1 no such user",
    "BouncedAt": "2026-10-01T11:58:00Z", "Metadata": {"mailer": PATH[:47]},
}  # fmt: skip


async def test_a_bounce_of_ses_is_kept_once_it_is_amazons(post: Post) -> None:
    assert await post("ses", sns(SES_BOUNCE)) == 200
    assert await post("ses", sns(SES_BOUNCE, version="1")) == 200

    first, again = post.events()
    assert first.id == again.id  # twice the same is one event
    assert (first.kind, first.blast, first.subscriber) == (Kind.BOUNCE, 1, 7)
    assert first.body is not None
    assert (first.body["class"], first.body["action"]) == ("bad-address", "suppress")
    assert post.amazon.asked == [f"{PEM}.pem"]  # kept


async def test_a_complaint_of_ses_is_known_by_the_headers_we_wrote(post: Post) -> None:
    assert await post("ses", sns(SES_COMPLAINT)) == 200

    (found,) = post.events()
    assert (found.kind, found.subscriber) == (Kind.COMPLAINT, 7)


async def test_a_subscription_of_our_topic_is_confirmed_and_no_other(
    post: Post,
) -> None:
    kind = "SubscriptionConfirmation"

    assert await post("ses", sns("x", kind=kind)) == 200
    assert await post("ses", sns("x", kind=kind, TopicArn=f"{TOPIC}2")) == 401

    assert post.amazon.asked == [f"{PEM}.pem", BEGIN]
    assert post.events() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Message": json.dumps(SES_COMPLAINT)},
        {"Timestamp": "2026-10-01T12:00:01.000Z"},
        {"TopicArn": f"{TOPIC}2"},
        {"SignatureVersion": "3"},
        {"Signature": "AAAA"},
        {"Signature": "no base64"},
        {"Type": "Other"},
    ],
)
async def test_what_is_altered_on_the_way_from_amazon_is_refused(
    post: Post, changes: Any
) -> None:
    assert await post("ses", sns(SES_BOUNCE, **changes)) == 401
    assert post.events() == []


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.evil.test/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "https://sns.us-east-1.amazonaws.com.evil.test/"
        "SimpleNotificationService-" + "0a" * 16 + ".pem",
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-"
        + "0a" * 16 + ".pem",
        "https://s3.us-east-1.amazonaws.com/SimpleNotificationService-"
        + "0a" * 16 + ".pem",
        "https://sns.us-east-1.amazonaws.com@evil.test/SimpleNotificationService-"
        + "0a" * 16 + ".pem",
        "https://sns.us-east-1.amazonaws.com/?Action=x.pem",
        "https://127.0.0.1/SimpleNotificationService-" + "0a" * 16 + ".pem",
        "",
    ],
)  # fmt: skip
async def test_a_certificate_from_elsewhere_is_never_fetched(
    post: Post, url: str
) -> None:
    body = sns(SES_BOUNCE, key=STRANGER, SigningCertURL=url)

    assert await post("ses", body) == 401
    assert post.amazon.asked == []


async def test_a_stranger_cannot_sign_for_amazon(post: Post) -> None:
    assert await post("ses", sns(SES_BOUNCE, key=STRANGER)) == 401


@pytest.mark.parametrize("age", [timedelta(minutes=61), timedelta(minutes=-61)])
async def test_a_replay_of_amazon_is_refused_after_an_hour(
    post: Post, age: timedelta
) -> None:
    assert await post("ses", sns(SES_BOUNCE, at=NOON - age)) == 401


async def test_amazon_is_asked_to_come_again_when_its_certificate_is_away(
    post: Post,
) -> None:
    post.amazon.pages.clear()

    assert await post("ses", sns(SES_BOUNCE)) == 503


async def test_events_of_sendgrid_are_kept_by_our_message_id(post: Post) -> None:
    body = json.dumps(SENDGRID).encode()

    assert await post("sendgrid", body, twilio(body)) == 200

    bounce, complaint = post.events()
    assert (bounce.kind, bounce.blast, bounce.seq) == (Kind.BOUNCE, 1, 34)
    assert bounce.body is not None
    assert bounce.body["class"] == "bad-address"
    assert complaint.kind is Kind.COMPLAINT


async def test_what_sendgrid_did_not_sign_of_late_is_refused(post: Post) -> None:
    body = json.dumps(SENDGRID).encode()
    old = twilio(body, at=NOON - timedelta(minutes=6))
    other = twilio(body) | {
        "X-Twilio-Email-Event-Webhook-Timestamp": str(int(NOON.timestamp()) + 1)
    }

    for headers in (twilio(body + b" "), old, other, {}):
        assert await post("sendgrid", body, headers) == 401
    assert post.events() == []


async def test_an_event_of_mailgun_is_kept_by_its_envelope(post: Post) -> None:
    assert await post("mailgun", mailgun(MAILGUN)) == 200
    assert await post("mailgun", mailgun(MAILGUN | {"severity": "temporary"})) == 200
    complaint = MAILGUN | {"event": "complained", "id": "m2"}
    assert await post("mailgun", mailgun(complaint)) == 200

    bounce, second = post.events()
    assert bounce.body is not None
    assert (bounce.body["class"], bounce.body["status"]) == ("bad-address", "5.1.1")
    assert (bounce.subscriber, second.kind) == (7, Kind.COMPLAINT)


async def test_what_mailgun_did_not_sign_of_late_is_refused(post: Post) -> None:
    old = mailgun(MAILGUN, at=NOON - timedelta(minutes=6))

    for body in (mailgun(MAILGUN, key="other"), old, b'{"event-data": {}}'):
        assert await post("mailgun", body) == 401
    assert post.events() == []


async def test_an_event_of_postmark_is_kept_by_its_metadata(post: Post) -> None:
    body = json.dumps(POSTMARK).encode()

    assert await post("postmark", body, basic()) == 200

    (found,) = post.events()
    assert (found.kind, found.subscriber) == (Kind.BOUNCE, 7)


async def test_postmark_shows_its_password_and_tells_no_old_news(post: Post) -> None:
    body = json.dumps(POSTMARK).encode()
    old = json.dumps(POSTMARK | {"BouncedAt": "2026-09-30T11:58:00Z"}).encode()

    for headers in (basic("other"), basic(user="x"), {}, {"Authorization": "Basic ?"}):
        assert await post("postmark", body, headers) == 401
    assert await post("postmark", old, basic()) == 401
    assert post.events() == []


async def test_whom_the_post_names_counts_for_nothing_without_our_token(
    post: Post,
) -> None:
    body = json.dumps(POSTMARK | {"Metadata": {"mailer": "b-" + "a" * 45}}).encode()

    assert await post("postmark", body, basic()) == 200

    (found,) = post.events()
    assert found.stray is not None
    assert found.stray.raw == body
    assert (found.blast, found.subscriber) == (None, None)


SHAPES = [
    b"", b"[]", b"{}", b"null", b"1", b'"x"', b"\xff\xfe", b"[" * 10_000,
    b'{"event-data": 5, "signature": []}', b'[{"event": ["bounce"]}]',
]  # fmt: skip


@pytest.mark.parametrize("sender", ["ses", "sendgrid", "mailgun", "postmark"])
async def test_no_shape_of_a_body_is_our_fault(post: Post, sender: str) -> None:
    for body in SHAPES:
        for headers in (twilio(body), basic(), None):
            assert await post(sender, body, headers) in {200, 400, 401}
    for message in ("", "[]", "null", {"notificationType": "Bounce", "bounce": 5}):
        assert await post("ses", sns(message)) in {200, 400}
    shapes: list[Any] = [5, [], {"event": "failed", "severity": "permanent"}]
    for data in shapes:
        assert await post("mailgun", mailgun(data)) in {200, 400, 401}


async def test_a_body_that_is_too_large_is_not_read(post: Post) -> None:
    answer = await post.client.post(
        "/hooks/relay/sendgrid", data=io.BytesIO(b"x" * (1 << 20 | 1))
    )

    assert answer.status == 413


@pytest.mark.parametrize("sender", ["ses", "sendgrid", "mailgun", "postmark"])
async def test_a_sender_that_is_not_set_up_is_refused(
    inbox: receiving.Inbox, sender: str
) -> None:
    door = Relays(ring=RING, inbox=inbox, now=lambda: NOON, known=Known())
    async with TestClient(TestServer(door.app(), access_log=None)) as client:
        answer = await client.post(f"/{sender}", data=mailgun(MAILGUN))

    assert answer.status == 401
