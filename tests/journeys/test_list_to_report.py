"""From a CSV file to the last number of a report: the story that mailer is for."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dkim as dkimpy
import pytest

from mailer import runtime
from tests.journeys import letters
from tests.journeys.letters import PROVIDERS, Letter, Person
from tests.journeys.tracker import APPLE, GMAIL_AHEAD, SCANNER, Tracker, tracking
from tests.program import Program
from tests.sink import Act, Received, Sink, Then

HOSTILE = 'Zoë "Z" <z@example.org>, =?utf-8?q?x=0d=0aBcc:_e@example.org?= 🎉'
NEWS = "https://news.example.net/%7Ejo/a+b?x=%2f%2F&y=1&y=2;z=0#top"
LETTER = f"""
{{% extends "layouts/base.mjml" %}}
{{% block content %}}
<mj-section css-class="card"><mj-column><mj-text css-class="text">
<p>{{{{ first_name | default("Friend") }}}}, we are close — thank you.</p>
<p><a href="{NEWS.replace("&", "&amp;")}">News</a></p>
<p><a href="https://example.org/give?amount={{{{ ask_amounts[0] }}}}">Give</a></p>
</mj-text></mj-column></mj-section>
{{% endblock %}}
"""
BLAST = """
name = "tonight"
topic = "fundraising"
segment = "wisconsin"
exclude = ["major-donors"]
template = "letter"
from = "Jo Example <jo@example.org>"
reply_to = "help@example.org"
expires_at = "deadline:tonight"

[[variant]]
name = "hours"
subject = "Hours left — {{ city | default('nearby') }}"

[[variant]]
name = "outspent"
subject = "{{ first_name | default('Friend') }}, we will be outspent"

[[variant]]
name = "midnight"
subject = "Before midnight"
template = "deadline"
"""
VARIANTS = ("hours", "outspent", "midnight")
COUNTS = (
    "recipients", "sent", "deferrals", "bounced", "in_doubt", "suppressed",
    "held_out", "expired", "cancelled", "failed", "opens", "machine_opens",
    "clicks", "machine_clicks", "unsubscribes", "complaints", "donors", "gifts",
    "returned",
)  # fmt: skip


@pytest.mark.timeout(120)
async def test_from_a_list_of_people_to_the_last_number_of_the_report(
    house: Program, sink: Sink
) -> None:
    people = crowd()
    records = await keyed(house)
    await prepared(house, sink, people)
    trouble = Trouble.among(people, sink)
    tally = Tally()

    async with at_work(house) as tracker:
        inbox = received(sink, people, trouble)
        await counted(house, inbox, trouble, tally)
        await reacted(tracker, inbox, tally)
        await gave(tracker, inbox, tally)
        leaving = await unsubscribed(tracker, inbox, tally)
        await from_the_proof(tracker, sink)
        await tracker.loaded()

    assert [one for one in sink.accepted if not is_signed(one, records)] == []
    await reported(house, tally)
    await remembered(house, leaving, trouble)


# ── Before: a list, a blast, an approval ────────────────────────────────────


def crowd() -> list[Person]:
    """Return 300 people of nowhere."""
    domains = [*PROVIDERS, "example.org"]
    return [
        Person(
            email=f"p{n:03}@{'blocked.test' if n in {20, 40} else domains[n % 4]}",
            first_name=HOSTILE if n == 30 else "" if n % 7 == 0 else f"Ada{n}",
            state="MI" if n % 10 == 9 else "WI",
            highest=500 if n % 50 == 7 else 20 + n % 5,
        )
        for n in range(300)
    ]


async def keyed(house: Program) -> Mapping[bytes, bytes]:
    """Make a key that signs, and return what was published of it."""
    signer = ("--domain", "example.org", "--selector", "tonight")
    made = await house.tell("keys", "dkim", *signer)
    table = (
        '\n[dkim.tonight]\ndomain = "example.org"\nselector = "tonight"\n'
        f'key = "{made["file"]}"\n'
    )
    path = house.root / "config/settings.toml"
    house.write("config/settings.toml", house.read(path) + table)
    return {f"{made['host']}.".encode(): made["record"].encode()}


def is_signed(letter: Received, records: Mapping[bytes, bytes]) -> bool:
    """Ask another program whether it is as it was signed."""
    return bool(
        dkimpy.verify(letter.content, dnsfunc=lambda name, timeout=0: records[name])
    )


def write(people: Sequence[Person], path: Path) -> None:
    """Write the file as a fundraising platform exports it, with rows that are none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Email Address", "First Name", "State", "HPC", "Last Gift Date"])
        for one in people:
            gift = [one.highest, "2026-03-01"]
            rows.writerow([one.email, one.first_name, one.state, *gift])
        rows.writerow(["nobody", "No", "WI", 5, ""])
        rows.writerow(["two@at@example.org", "Two", "WI", 5, ""])
        rows.writerow(["x@example.org\r\nBcc: e@example.org", "Evil", "WI", 5, ""])
        rows.writerow(["p000@GMAIL.Test", "", "", "", ""])  # known already


def meant(people: Iterable[Person]) -> list[Person]:
    """Return whom the blast is for: its segment without its excludes."""
    return [one for one in people if one.state == "WI" and one.highest < 500]


def owed(people: Iterable[Person]) -> list[Person]:
    """Return those of them who may be mailed."""
    return [
        one
        for one in meant(people)
        if not one.email.startswith("p012") and "@blocked.test" not in one.email
    ]


async def prepared(house: Program, sink: Sink, people: list[Person]) -> None:
    """Import, suppress, write the blast, and have it approved by somebody else."""
    path = house.root.parent / "people.csv"
    write(people, path)
    imported = await house.tell("import", path)
    assert [imported[name] for name in ("rows", "created", "refused")] == [304, 300, 3]
    assert "two@at@example.org" in house.read(path.with_suffix(".refused.csv"))
    await house.say("suppress", "add", people[12].email, "--note", "by phone")
    await house.say("suppress", "add", people[16].email, "--topic", "events")
    await house.say("suppress", "add", "@blocked.test", actor="grace")
    segment = 'describes = "In Wisconsin"\nfield = "state"\nin = ["WI"]\n'
    house.write("segments/wisconsin.toml", segment)
    found = await house.tell("segment", "count", "wisconsin")
    assert (found["total"], found["mailable"]) == (270, 267)

    house.write("templates/letter/body.mjml", LETTER)
    house.write("templates/letter/meta.toml", 'subject = "A letter"\n')
    deadline = (runtime.now() + timedelta(hours=6)).isoformat(timespec="seconds")
    house.write("config/deadlines.toml", f"[deadline]\ntonight = {deadline}\n")
    house.write("blasts/tonight.toml", BLAST)
    await house.say("blast", "new", "tonight")
    await house.say("blast", "check", "tonight")
    proofs = await house.tell("blast", "proof", "tonight", "--to", "boss@example.org")
    assert [one["variant"] for one in proofs] == list(VARIANTS)
    subjects = [str(one.message["Subject"]) for one in sink.accepted]
    assert [one.partition("]")[0] for one in subjects] == [
        f"[PROOF {name}" for name in VARIANTS
    ]
    preflight = await house.tell("blast", "preflight", "tonight")
    assert preflight["recipients"] == len(owed(people)) == 261
    assert preflight["suppressed"] == 3
    why = ("--why", "read it twice")
    await house.say("blast", "approve", "tonight", *why, actor="grace")
    await house.say("blast", "send", "tonight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Whom the providers will not let through at once, or at all."""

    unknown: list[Person]
    refused: list[Person]
    full: list[Person]
    lost: Person

    @classmethod
    def among(cls, people: list[Person], sink: Sink) -> Trouble:
        """Choose people who are owed a message, and script the sink for them."""
        some = owed(people)[40:]
        made = cls(unknown=some[:6], refused=some[6:8], full=some[8:13], lost=some[13])
        for one in made.unknown:
            sink.script(one.email, "550 5.1.1 No such user")
        for one in made.refused:
            sink.script(one.email, "554 5.7.1 Refused by policy", at="dot")
        for one in made.full:
            sink.script(one.email, "452 4.2.2 Mailbox full", "250 2.1.5 OK")
        sink.script(made.lost.email, Act(then=Then.RESET), at="dot")
        return made

    @property
    def never(self) -> list[Person]:
        """Return those who get nothing."""
        return [*self.unknown, *self.refused, self.lost]


# ── The night ───────────────────────────────────────────────────────────────

Inbox = dict[str, list[Letter]]  # by variant


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was done, by variant and provider: what the report has to say."""

    counts: defaultdict[tuple[str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    money: defaultdict[tuple[str, str], Decimal] = field(
        default_factory=lambda: defaultdict(Decimal)
    )

    def add(self, cell: tuple[str, str], *what: str) -> None:
        """Count one of each."""
        self.counts[cell].update(what)

    def of(self, *, variant: str | None = None, provider: str | None = None) -> Any:
        """Return the counters of a part of the blast, as JSON has them."""
        cells = [
            cell
            for cell in self.counts
            if variant in {None, cell[0]} and provider in {None, cell[1]}
        ]
        total = Counter(dict.fromkeys(COUNTS, 0))
        for cell in cells:
            total.update(self.counts[cell])
        money = sum((self.money[cell] for cell in cells), Decimal("0.00"))
        return {**total, "money": f"{money:.2f}"}


@asynccontextmanager
async def at_work(house: Program) -> AsyncIterator[Tracker]:
    """Run all that one machine needs, until the block ends; it must end in peace."""
    async with house.running("run", "--workers", "2") as running:
        await house.say("blast", "watch", "tonight")
        async with tracking(house) as tracker:
            yield tracker
        assert await running.end() == 0
        said = running.log.read_text()
        assert said.endswith("Stopped; everything that was sent is settled.\n"), said
        assert "Traceback" not in said


def received(sink: Sink, people: list[Person], trouble: Trouble) -> Inbox:
    """Return what arrived: exactly one message for each who is owed one, all right."""
    by_email = {one.email: one for one in people}
    mail = [one for one in sink.accepted if one.recipient != "boss@example.org"]
    expected = {one.email for one in owed(people)} - {
        one.email for one in trouble.never
    }
    assert sorted(one.recipient for one in mail) == sorted(expected)
    assert len({one.message["Message-ID"] for one in mail}) == len(mail)
    found: Inbox = {name: [] for name in VARIANTS}
    for one in sorted(mail, key=lambda one: one.recipient):
        letter = letters.read(one, by_email)
        letters.check(letter)
        found[letter.variant].append(letter)
    return found


async def counted(house: Program, inbox: Inbox, trouble: Trouble, tally: Tally) -> None:
    """Count who got what, and those who did not, by the names that mailer gives."""
    full = {one.email for one in trouble.full}
    for letter in (one for variant in inbox.values() for one in variant):
        tally.add(letter.cell, "recipients", "sent")
        if letter.person.email in full:
            tally.add(letter.cell, "deferrals")
    named = {
        "bounced": {one.email for one in trouble.unknown + trouble.refused},
        "in_doubt": {trouble.lost.email},
        "suppressed": {"p012@gmail.test", "p020@blocked.test", "p040@blocked.test"},
        "failed": set(),
    }
    for state, emails in named.items():
        listed = await house.tell("blast", "show", "tonight", "--state", state)
        assert {one["email"] for one in listed} == emails
        for one in listed:
            variant = VARIANTS[one["variant"] - 1] if one["variant"] else "none"
            tally.add((variant, one["provider"]), "recipients", state)
    sizes = [sum(tally.of(variant=name)["recipients"] for name in VARIANTS)]
    assert sizes == [261]
    for name in VARIANTS:  # 261 people: equal thirds, within each provider too
        assert abs(tally.of(variant=name)["recipients"] - 87) <= 2


async def reacted(tracker: Tracker, inbox: Inbox, tally: Tally) -> None:
    """Open and click, as people do and as machines do."""
    hours, outspent, midnight = (inbox[name] for name in VARIANTS)
    for letter in [*hours[:9], *outspent[:5], *midnight[:12]]:
        await tracker.open(letter.links["pixel"])
        tally.add(letter.cell, "opens")
    await tracker.open(hours[0].links["pixel"])  # the second time counts for nothing
    for letter in [*hours[8:12], *midnight[40:47]]:  # hours[8] opened it as well
        await tracker.open(letter.links["pixel"], agent=APPLE)
        tally.add(letter.cell, "machine_opens")
    await tracker.open(outspent[7].links["pixel"], agent=GMAIL_AHEAD)
    tally.add(outspent[7].cell, "machine_opens")
    for letter in [*hours[:4], *outspent[:2]]:
        assert await tracker.click(letter.links["News"]) == NEWS
        tally.add(letter.cell, "clicks")
    await tracker.click(outspent[9].links["News"], agent=SCANNER)
    tally.add(outspent[9].cell, "machine_clicks")
    await tracker.head(outspent[10].links["News"])  # only probes


async def gave(tracker: Tracker, inbox: Inbox, tally: Tally) -> None:
    """Give by the links of messages, and in other ways."""
    hours, _, midnight = (inbox[name] for name in VARIANTS)

    def count(letter: Letter, amount: str, *what: str) -> None:
        tally.add(letter.cell, "gifts", *what)
        tally.money[letter.cell] += Decimal(amount)

    form = await tracker.click(hours[0].links["Give"])  # who had clicked before
    begin = f"https://example.org/give?amount={_ask(hours[0])}&refcode=em_1_1&refcode2="
    assert form.startswith(begin)
    email = "another-address@example.com"  # the refcode knows who it is
    await tracker.give(1, "25.00", email=email, form=form)
    await tracker.give(1, "25.00", email=email, form=form, again=True)
    count(hours[0], "25.00", "donors")
    await tracker.give(2, "10.10", email=email, form=form)
    count(hours[0], "10.10")
    form = await tracker.click(midnight[0].links["Another amount"])
    tally.add(midnight[0].cell, "clicks")
    await tracker.give(3, "250.05", email=midnight[0].person.email, form=form)
    count(midnight[0], "250.05", "donors")
    await tracker.give(4, "5.00", email="stranger@example.com")  # nobody's doing
    await tracker.forge()


def _ask(letter: Letter) -> int:
    """Return the lowest amount asked for: the highest gift, in steps of five."""
    return 20 if letter.person.highest < 22.5 else 25


async def unsubscribed(tracker: Tracker, inbox: Inbox, tally: Tally) -> list[Letter]:
    """Leave by RFC 8058, as the button of a mailbox provider does."""
    leaving = [inbox["hours"][1], inbox["outspent"][20], inbox["outspent"][21]]
    for letter in leaving:
        await tracker.look(letter.unsubscribe)  # a GET changes nothing
        await tracker.one_click(letter.unsubscribe)
        tally.add(letter.cell, "unsubscribes")
    await tracker.look(inbox["midnight"][3].unsubscribe)
    await tracker.one_click(leaving[0].unsubscribe)  # is no news
    return leaving


async def from_the_proof(tracker: Tracker, sink: Sink) -> None:
    """Try the links of a proof: they work, and count for nobody."""
    (proof, *_) = (one for one in sink.accepted if one.recipient == "boss@example.org")
    part = proof.message.get_body(("html",))
    assert part is not None
    links = letters.Anchors(part.get_content()).found
    await tracker.open(links["pixel"])
    assert await tracker.click(links["News"]) == NEWS


# ── The morning after ───────────────────────────────────────────────────────


async def reported(house: Program, tally: Tally) -> None:
    """Compare the report with what was done, to the last number."""
    report = await house.tell("report", "tonight")
    assert report["head"]["state"] == "done"
    assert report["totals"] == tally.of()
    assert {one["name"]: one["counts"] for one in report["arms"]} == {
        name: tally.of(variant=name) for name in VARIANTS
    }
    assert {one["provider"]: one["counts"] for one in report["providers"]} == {
        name: tally.of(provider=name) for name in (*PROVIDERS.values(), "other")
    }


async def remembered(house: Program, leaving: list[Letter], trouble: Trouble) -> None:
    """See who is not mailed again, and who did what."""
    listed = await house.tell("suppress", "list")
    kept = {(one["address"], one["topic"], one["reason"]) for one in listed["entries"]}
    assert kept == {
        ("p012@gmail.test", None, "manual"),
        ("p016@gmail.test", "events", "manual"),
        ("@blocked.test", None, "manual"),
        *((one.person.email, "fundraising", "unsubscribe") for one in leaving),
        *((one.email, None, "bounce") for one in trouble.unknown),
    }
    _, history, _ = await house.tell("blast", "show", "tonight")
    done = [(one["actor"], one["action"], one["after"]) for one in history]
    assert done == [
        ("ada", "new", "draft"),
        ("ada", "proof", "proofed"),
        ("grace", "approve", "approved"),
        ("ada", "schedule", "scheduled"),
        ("scheduler", "launch", "launching"),
        ("scheduler", "send", "sending"),
        ("scheduler", "finish", "done"),
    ]
    assert history[2]["why"] == "read it twice"
