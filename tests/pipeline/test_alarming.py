import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import dkim as dkimpy
import pytest
import tenacity

from mailer import errors, runtime, settings
from mailer.core import provider
from mailer.core.alarm import Kind
from mailer.core.notice import Secret
from mailer.core.provider import Tls
from mailer.pipeline import alarming
from mailer.settings.dns import Dns
from mailer.store import alarms, database
from mailer.web import posting
from tests import given, nameserver, receiver, signers
from tests.receiver import SECRET, Receiver
from tests.sink import Sink

ADA, BO = "ada@example.org", "bo@example.org"
BLAST = "blast eoq"


async def post(url: str, *, body: bytes, headers: Mapping[str, str]) -> None:
    """Post as ever, only that tests do not wait between two tries."""
    await posting.post(url, body=body, headers=headers, wait=tenacity.wait_none())


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    """Somebody who gets alarms by webhook."""
    async with receiver.receiving() as served:
        yield served


@dataclass(frozen=True)
class Night:
    """An alarm service on a database, and the hands of a test on its clock."""

    db: database.Pool
    caller: alarming.Caller

    async def deliver(self) -> list[alarming.Told]:
        """Say what is due, once."""
        return await alarming.deliver(self.db, self.caller, now=runtime.now())

    async def raised(
        self, kind: Kind = Kind.STALLED, subject: str = BLAST, detail: str = "x"
    ) -> int:
        """Raise an alarm."""
        async with database.transaction(self.db) as tx:
            return await alarms.raise_(tx, kind, subject, detail)

    async def cleared(self, why: str = "it goes on") -> None:
        """End it."""
        async with database.transaction(self.db) as tx:
            await alarms.clear(tx, Kind.STALLED, BLAST, why=why)

    async def later(self, **span: float) -> None:
        """Move the clock of SQL on."""
        statement = "UPDATE clock SET shift = shift + $1::interval"
        await given.rows(self.db, statement, timedelta(**span))

    def telling(self, **changes: object) -> "Night":
        """Return one whose [alarms] are changed."""
        chosen = self.caller.settings
        wanted = replace(chosen.alarms, **changes)  # type: ignore[arg-type]  # as given
        chosen = replace(chosen, alarms=wanted)
        return Night(self.db, replace(self.caller, settings=chosen))


@pytest.fixture
def night(db: database.Pool, workspace: Path, sink: Sink, hook: Receiver) -> Night:
    """Two people and a webhook, in a workspace whose relay is the sink."""
    chosen = settings.load(workspace)
    relay = replace(chosen.sources[0], port=sink.port, tls=Tls.NONE)
    wanted = replace(
        chosen.alarms, email=(ADA, BO), webhook=hook.url, secret=Secret.parse(SECRET)
    )
    chosen = replace(chosen, sources=(relay,), alarms=wanted)
    return Night(db, alarming.Caller(settings=chosen, post=post))


async def test_everybody_is_told_once_by_signed_webhook_and_by_mail(
    night: Night, sink: Sink, hook: Receiver
) -> None:
    id = await night.raised(detail="Nothing was sent for 6 minutes.")

    told = await night.deliver()
    again = await night.deliver()

    assert {(one.channel, one.error) for one in told} == {
        ("webhook", None),
        ("email", None),
    }
    assert again == []
    assert (hook.types, hook.forged) == (["alarm.raised"], 0)
    assert hook.got[0]["data"]["id"] == id
    assert sorted(one.recipient for one in sink.accepted) == [ADA, BO]
    message = sink.accepted[0].message
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "mailer <team@example.org>"
    assert message["Subject"] == (
        "[mailer] CRITICAL: blast eoq stands still: messages are owed and none goes out"
    )
    assert message.get_content_type() == "text/plain"
    text = message.get_content().replace("\r\n", "\n")
    assert "Nothing was sent for 6 minutes." in text
    assert f"    mailer alarm take {id} --by YOUR-NAME\n" in text
    ids = {one.message["Message-ID"] for one in sink.accepted}
    threads = {one.message["References"] for one in sink.accepted}
    assert (len(ids), threads) == (2, {f"<alarm-{id}@example.org>"})


async def test_hostile_words_add_no_header_and_arrive_as_they_were(
    night: Night, sink: Sink
) -> None:
    wanted = "550 no\r\n.\r\nBcc: evil@example.org\x00 =?utf-8?q?x=0d=0a?= wörter 💌"
    await night.raised(Kind.LANE, "lane x\r\nBcc: evil@example.org", wanted)

    await night.deliver()

    for one in sink.accepted:
        assert one.message["Bcc"] is None
        text = one.message.get_content().replace("\r\n", "\n")
        assert wanted.replace("\r\n", "\n").replace("\0", "") in text
        assert max(map(len, one.content.split(b"\r\n"))) <= 998
        assert one.content.isascii()


async def test_mail_to_our_own_people_is_signed_like_any_other(
    night: Night, sink: Sink
) -> None:
    key = signers.key()
    chosen = replace(night.caller.settings, signers=(key,))
    await night.raised()

    await alarming.deliver(
        night.db, replace(night.caller, settings=chosen), now=runtime.now()
    )

    for one in sink.accepted:
        assert dkimpy.verify(
            one.content, dnsfunc=lambda name, timeout=0: key.record.encode()
        )


async def test_an_alarm_repeats_until_somebody_takes_it_and_then_is_quiet(
    night: Night, hook: Receiver
) -> None:
    id = await night.raised()
    await night.deliver()
    for _ in range(2):
        await night.later(minutes=14)
        await night.deliver()
        await night.later(minutes=1)
        await night.deliver()
    assert hook.types == ["alarm.raised", "alarm.repeated", "alarm.repeated"]

    await alarming.take(night.db, id, who="Ada", note="calling them", actor="root")
    for _ in range(8):
        await night.deliver()
        await night.raised()
        await night.later(minutes=15)

    assert hook.types[3:] == ["alarm.taken"]
    assert hook.got[-1]["text"].startswith("Ada looks after it: blast eoq")
    audited = "SELECT actor, object, action, before, after, why FROM audit"
    assert await given.rows(night.db, audited) == [
        ("root", f"alarm {id}", "take", "open", "taken by Ada", "calling them")
    ]


async def test_what_comes_and_goes_wakes_nobody_more_often_than_what_stays(
    night: Night, hook: Receiver
) -> None:
    for _ in range(60):  # an hour
        await night.raised()
        await night.deliver()
        await night.later(seconds=30)
        await night.cleared()
        await night.deliver()
        await night.later(seconds=30)

    assert hook.types == ["alarm.raised", *["alarm.repeated"] * 3]


async def test_people_hear_when_the_cause_is_gone_for_a_minute(
    night: Night, hook: Receiver
) -> None:
    await night.raised()
    await night.deliver()
    await night.cleared()
    await night.deliver()
    assert hook.types == ["alarm.raised"]
    await night.later(minutes=1)
    for _ in range(3):
        await night.deliver()
        await night.later(minutes=60)

    assert hook.types == ["alarm.raised", "alarm.cleared"]
    assert hook.got[-1]["text"] == "over: blast eoq: it goes on"


async def test_several_deliverers_tell_everybody_once(
    night: Night, sink: Sink, hook: Receiver
) -> None:
    for number in range(5):
        await night.raised(subject=f"blast {number}")

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(night.deliver())

    assert len(hook.ids) == len(set(hook.ids)) == 5
    assert sorted(one.recipient for one in sink.accepted) == [ADA] * 5 + [BO] * 5


async def test_what_a_process_claimed_that_died_is_delivered_by_another(
    night: Night, hook: Receiver
) -> None:
    """It was posted, and the answer came too late: the same number, once more."""
    await night.raised()
    hook.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        dying = group.create_task(night.deliver())
        await hook.reached(lambda: hook.asked == 1)
        dying.cancel()
    hook.gate.set()
    await night.telling(webhook=None, email=()).deliver()
    hook.gate = None
    before = list(hook.ids)

    assert await night.deliver() == []
    await night.later(seconds=121)
    told = await night.deliver()

    assert {one.error for one in told} == {None}
    assert "webhook" in {one.channel for one in told}
    assert len({*before, *hook.ids}) == 1
    assert await night.deliver() == []


async def test_a_receiver_that_fails_is_asked_again_soon_and_then_ever_later(
    night: Night, hook: Receiver
) -> None:
    await night.raised()
    hook.answers = [500, 429, 500, 500, 200]

    (first,) = [one for one in await night.deliver() if one.channel == "webhook"]
    assert (hook.asked, first.error) == (3, "answered 500: as told")
    listed = await alarming.listed(night.db)
    assert [one.error for one in listed.undelivered] == ["answered 500: as told"]
    assert await night.deliver() == []
    await night.later(seconds=20)
    (second,) = await night.deliver()

    assert (hook.asked, second.error) == (5, None)
    assert hook.types == ["alarm.raised"]
    assert (await alarming.listed(night.db)).undelivered == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [(302, "redirects are not followed"), (404, "answered 404"), (401, "401")],
)
async def test_only_2xx_counts_and_a_no_is_not_asked_again_at_once(
    night: Night, hook: Receiver, answer: int, said: str
) -> None:
    hook.answers = [answer]
    await night.raised()

    (told,) = [one for one in await night.deliver() if one.channel == "webhook"]

    assert said in (told.error or "")
    assert hook.asked == 1


async def test_a_relay_that_refuses_keeps_no_webhook_and_no_other_relay_back(
    night: Night, sink: Sink, hook: Receiver
) -> None:
    chosen = night.caller.settings
    dead = replace(chosen.sources[0], name="dead", port=1)
    both = replace(chosen, sources=(dead, *chosen.sources))
    night = Night(night.db, replace(night.caller, settings=both))
    sink.script(BO, "550 5.1.1 No such user")
    await night.raised()

    told = {one.address: one.error for one in await night.deliver()}

    assert told[hook.url] is None
    assert told[ADA] is None
    assert "dead" not in str(told[BO])
    assert "550 5.1.1 No such user" in str(told[BO])
    only_dead = await alarming.try_out(
        night.telling(source="dead").caller, who="Ada", id="test-1", now=runtime.now()
    )
    assert [one.channel for one in only_dead if one.error] == ["email", "email"]


async def test_a_newer_notice_takes_the_place_of_one_that_did_not_arrive(
    night: Night, hook: Receiver
) -> None:
    id = await night.raised()
    hook.answers = [503]
    await night.deliver()
    await night.later(minutes=15)
    await night.deliver()
    await alarming.take(night.db, id, who="Ada", note=None, actor="ada")
    hook.answers = [204]
    await night.later(minutes=15)
    await night.deliver()
    await night.later(minutes=15)
    await night.deliver()

    assert hook.types == ["alarm.taken"]


async def test_without_anybody_to_tell_it_is_told_once_somebody_is_named(
    night: Night, hook: Receiver
) -> None:
    await night.raised()
    assert await night.telling(webhook=None, email=()).deliver() == []
    await night.deliver()

    assert hook.types == ["alarm.raised"]


async def test_a_test_needs_no_database_and_says_what_became_of_each(
    night: Night, hook: Receiver, sink: Sink
) -> None:
    told = await alarming.try_out(
        night.caller, who="Ada", id="test-1", now=runtime.now()
    )

    assert [one.error for one in told] == [None, None, None]
    assert hook.ids == ["test-1-1"]
    assert "asked for by Ada" in hook.got[0]["text"]
    mails = [one.message["Message-ID"] for one in await sink.received(2)]
    assert sorted(mails) == ["<test-1-2@example.org>", "<test-1-3@example.org>"]
    assert (await alarming.listed(night.db)).found == []
    with pytest.raises(errors.Conflict, match=r"set email or webhook in \[alarms\]"):
        await alarming.try_out(
            night.telling(webhook=None, email=()).caller,
            who="Ada",
            id="x",
            now=runtime.now(),
        )


async def test_the_secret_is_nowhere_but_in_signatures(
    night: Night, hook: Receiver, sink: Sink, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.answers = [500, 500, 500, 401]
    await night.raised()
    await night.deliver()
    await night.later(minutes=1)
    await night.deliver()

    shown = repr(night.caller) + "".join(capfd.readouterr())
    stored = str(await given.rows(night.db, "SELECT n.* FROM notice n"))
    mailed = b"".join(one.content for one in sink.accepted).decode()
    for text in (shown, stored, mailed):
        assert SECRET not in text
        assert repr(Secret.parse(SECRET).key) not in text


async def test_who_has_no_relay_is_told_by_a_source_that_sends_directly(
    night: Night, sink: Sink
) -> None:
    zone: nameserver.Zone = {
        "example.org MX": ["10 mx.example.org."],
        "mx.example.org A": ["127.0.0.1"],
    }
    with nameserver.serving(zone) as server:
        chosen = night.caller.settings
        source = replace(
            chosen.sources[0], kind=provider.Kind.DIRECT, helo="mail.example.com"
        )
        found = replace(
            chosen,
            sources=(source,),
            dns=Dns(servers=(server,), inside=("127.0.0.0/8",)),
        )
        direct = replace(night.caller, settings=found)
        told = await alarming.try_out(direct, who="Ada", id="x", now=runtime.now())

    assert {one.error for one in told} == {None}
    assert sorted(one.recipient for one in sink.accepted) == [ADA, BO]
