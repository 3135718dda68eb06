"""One variant's message to one person: context, links, rendering, headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from mailer.core import money, signature, verp
from mailer.core.delivery import ANYBODY, BlastId
from mailer.core.preference import Mode
from mailer.core.subscriber import Giving, Subscriber
from mailer.core.tracking import Purpose, Ring, Sealer
from mailer.mail import dkim, header, mime, template

_FIELDS = (
    "first_name",
    "last_name",
    "email",
    "street",
    "city",
    "state",
    "zip",
    "country",
    "language",
    "time_zone",
)


_HEADER = "unsubscribe_url"  # stands in the header, whatever the template shows
_URLS = (
    ("pixel_url", "o", Purpose.OPEN),
    (_HEADER, "u", Purpose.UNSUBSCRIBE),
    ("preferences_url", "p", Purpose.PREFERENCES),
    ("view_url", "v", Purpose.VIEW),
)

# postmarkapp.com/support/article/1125-custom-metadata-faq: comes back with a bounce.
METADATA = b"X-PM-Metadata-mailer: %s\r\n"
_NO_PIXEL = (  # the pixel itself: nothing is asked for
    "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
)

ASK = money.Rules()  # amounts of at least $20, in steps of $5, from the highest gift


class Letter(NamedTuple):
    """A message as it goes on the wire, and its envelope."""

    sender: str
    recipient: str
    data: bytes
    html_size: int  # bytes; Gmail clips at about 102 KB
    is_dotless: bool = False  # no line begins with a dot: none is to be stuffed
    id: str = ""  # what a bounce may say instead of to whom it was


class Draft(NamedTuple):
    """A message that is written and not yet signed; all that `signed` needs."""

    sender: str
    recipient: str
    written: mime.Written
    more: tuple[bytes, ...]  # fields that nobody signs
    html_size: int
    id: str
    date: datetime
    signers: Sequence[signature.Key]


def signed(draft: Draft) -> Letter:
    """Sign a message as it stands, if a key is there for the domain of its From.

    Most of the time goes by without Python's lock: in another thread it does not
    hold up whoever sends.
    """
    fields, body, _ = draft.written
    own = dkim.signatures(fields, body, draft.signers, at=draft.date)
    return Letter(
        sender=draft.sender,
        recipient=draft.recipient,
        data=b"".join((*own, *fields, *draft.more, b"\r\n", *body)),
        html_size=draft.html_size,
        is_dotless=draft.written.is_dotless,
        id=draft.id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blast:
    """What all variants of a blast share."""

    id: BlastId
    name: str
    topic: str
    organization: Mapping[str, str]
    public_url: str
    ring: Ring
    signers: Sequence[signature.Key] = ()  # those of every domain
    bounce_domain: str | None = None  # of the return path; None: that of the sender
    has_metadata: bool = False  # the token stands in a field, too
    deadline: datetime | None = None
    tracking: Mode = Mode.FULL  # unless a person chose otherwise


def context(person: Subscriber) -> dict[str, Any]:
    """Return what a template may know of *person*; what is unknown is left out."""
    known: dict[str, Any] = dict(person.attributes)
    for name in _FIELDS:
        value = getattr(person, name)
        if value:
            known[name] = value
    giving = person.giving
    known["gift_count"] = giving.count
    known["gift_sum"] = giving.sum
    known["recurring"] = giving.recurring
    if giving.highest is not None:
        known["highest_gift"] = giving.highest
    if giving.latest is not None:
        known["latest_gift"] = giving.latest
    if giving.latest_at is not None:
        known["latest_gift_at"] = giving.latest_at
    known["ask_amounts"] = _ask(giving)
    return known


@lru_cache(maxsize=1024)  # most have given nothing, or gave the same as others
def _ask(giving: Giving) -> tuple[Decimal, ...]:
    return money.ask(giving, ASK)


class Composer:
    """Writes the messages of one variant; made once, used for everybody."""

    def __init__(
        self,
        compiled: template.Compiled,
        *,
        blast: Blast,
        variant: int,
        sender: str,
        reply_to: str | None = None,
        name: str = "",
    ) -> None:
        self.blast = blast
        self.variant = variant
        self.template = name
        self.sender = header.Mailbox.parse(sender)
        self.renderer = template.Renderer(compiled, is_for_mail=True)
        self.domain = self.sender.address.rpartition("@")[2]
        self.signers = signature.signing(blast.signers, self.domain)
        self._letterhead = mime.Letterhead(
            sender=self.sender,
            reply_to=header.Mailbox.parse(reply_to) if reply_to else None,
            list_id=(
                f"{blast.organization['organization']} {blast.topic}",
                f"{blast.topic}.{self.domain}",
            ),
            feedback_id=feedback_id(blast, variant=variant, domain=self.domain),
        )
        self._sealer = Sealer(blast.ring, blast=blast.id)
        self._shared: dict[str, Any] = {
            **blast.organization,
            "blast_name": blast.name,
            "topic": blast.topic,
        }
        shown = [
            (name, f"{blast.public_url}/{place}/", purpose)
            for name, place, purpose in _URLS
            if name in self.renderer.names or name == _HEADER
        ]
        clicked = f"{blast.public_url}/c/"
        alike = sorted(self.renderer.static)  # the same for everybody but the token
        self._urls = [(name, base) for name, base, _ in shown] + [
            (f"link_{index}", clicked) for index in alike
        ]
        self._sheet = self._sealer.sheet(
            [
                *((purpose, 0) for _, _, purpose in shown),
                *((Purpose.CLICK, index) for index in alike),
            ]
        )
        if blast.deadline is not None:
            self._shared["deadline"] = blast.deadline

    def render(self, person: Subscriber) -> template.Rendered:
        """Fill the template for *person*.  Invalid: it cannot be, and why."""
        return self.renderer.render(self._context(person))

    def subject(self, person: Subscriber) -> str:
        """Fill the subject alone.  Invalid: it cannot be, and why."""
        return self.renderer.subject({**context(person), **self._shared})

    def view(self, person: Subscriber, urls: Mapping[int, str]) -> str:
        """Fill the HTML for *person* as a page that may be forwarded.

        Nothing in it counts a visit or speaks for the person: links lead where *urls*
        says, else where they were to lead, and the addresses of ours lead nowhere.
        """
        known = {**context(person), **self._shared}
        known.update(dict.fromkeys((name for name, _, _ in _URLS), "#"))
        known["pixel_url"] = _NO_PIXEL
        for index, values in self.renderer.values(known).items():
            known[f"link_{index}"] = self.renderer.destination(
                index, values, url=urls.get(index)
            )
        return self.renderer.render(known).html

    def compose(
        self,
        person: Subscriber,
        *,
        seq: int,
        date: datetime,
        to: str | None = None,
        subject: str = "{}",
        mark: str = "",
    ) -> Letter:
        """Write and sign the message to *person*; as `draft`, which raises the same."""
        drafted = self.draft(
            person, seq=seq, date=date, to=to, subject=subject, mark=mark
        )
        return signed(drafted)

    def draft(
        self,
        person: Subscriber,
        *,
        seq: int,
        date: datetime,
        to: str | None = None,
        subject: str = "{}",
        mark: str = "",
    ) -> Draft:
        """Write the message to *person*, the delivery *seq* of the blast.

        A retry has the same Message-ID and, given the same *date*, the same Date.
        *to*, *subject* (a frame round the rendered one) and *mark* (which makes the
        Message-ID another one) are for proofs.
        Raises Invalid when the template cannot be filled for this person.
        """
        known = self._context(person)
        rendered = self.renderer.render(known)
        recipient = to or person.email
        name = " ".join(
            part for part in (person.first_name, person.last_name) if part and not to
        )
        id = message_id(self.blast, seq=f"{seq}{mark}", domain=self.domain)
        written = mime.write(
            self._letterhead,
            mime.Message(
                id=id,
                date=date,
                to=header.Mailbox(name=name, address=recipient),
                subject=subject.format(rendered.subject),
                html=rendered.html,
                text=rendered.text,
                is_fit=rendered.is_fit,
                unsubscribe=known["unsubscribe_url"],
            ),
        )
        path = self._return_path(person)
        token = path.partition("@")[0]
        more = (METADATA % token.encode(),) if token and self.blast.has_metadata else ()
        return Draft(
            sender=path or self.sender.address,
            recipient=recipient,
            written=written,
            more=more,
            html_size=_size(rendered.html),
            id=token or id.strip("<>"),
            date=date,
            signers=self.signers,
        )

    def _return_path(self, person: Subscriber) -> str:
        """Return where a bounce of this message goes; empty: to its sender."""
        if self.blast.bounce_domain is None:
            return ""
        who = self._sealer.person(person.id)
        token = self._sealer.seal(Purpose.BOUNCE, who)
        return verp.address(token, self.blast.bounce_domain)

    def _context(self, person: Subscriber) -> dict[str, Any]:
        known = context(person)
        known.update(self._shared)
        tokens = self._sheet.seal(person.id)
        for (name, base), token in zip(self._urls, tokens, strict=True):
            known[name] = base + token
        mode = person.tracking or self.blast.tracking
        if mode is not Mode.FULL:
            self._track_less(known, mode)
            return known
        # A link whose values the person lacks is left out: the template fails if it
        # shows it after all.
        own = self.renderer.own_values(known)
        if own:
            base = f"{self.blast.public_url}/c/"
            seal, who = self._sealer.seal, self._sealer.person(person.id)
            for index, values in own.items():
                known[f"link_{index}"] = base + seal(Purpose.CLICK, who, index, values)
        return known

    def _track_less(self, known: dict[str, Any], mode: Mode) -> None:
        """Give *known* links and a pixel that name nobody, or that are none.

        The way to unsubscribe is a person's own, whatever is counted.
        """
        links = self.renderer.values(known).items()
        if mode is Mode.OFF:
            known["pixel_url"] = _NO_PIXEL
            for index, values in links:
                url = self.renderer.destination(index, values, name="")
                known[f"link_{index}"] = url
            return
        seal, who = self._sealer.seal, self._sealer.person(ANYBODY)
        home = self.blast.public_url
        known["pixel_url"] = f"{home}/o/{seal(Purpose.OPEN, who)}"
        for index, values in links:
            token = seal(Purpose.CLICK, who, index, values)
            known[f"link_{index}"] = f"{home}/c/{token}"


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def message_id(blast: Blast, *, seq: str, domain: str) -> str:
    """Return the Message-ID of a delivery: always the same, and not to be guessed."""
    return f"<{verp.name(blast.ring, blast.id, seq)}@{domain}>"


def feedback_id(blast: Blast, *, variant: int, domain: str) -> str:
    """Return the Feedback-ID: blast, variant, topic and a stable sender.

    Google wants a SenderId of 5 to 15 characters and nothing of the recipient:
    https://support.google.com/mail/answer/6254652
    """
    sender = hashlib.sha256(domain.encode()).hexdigest()[:10]
    return f"b{blast.id}:v{variant}:{blast.topic}:{sender}"
