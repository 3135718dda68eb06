from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer import errors, runtime, settings
from mailer.core.bounce import Answered, Lost
from mailer.core.delivery import Stage
from mailer.core.provider import Source, Tls
from mailer.mail import (
    certificate,
    scenario,
    simulation,
    sink,
    smtp,
    transcript,
    trouble,
)
from mailer.mail.scenario import Handshake, Scenario
from mailer.mail.session import Limits
from mailer.mail.share import Share
from mailer.mail.simulation import Keeping
from mailer.mail.trouble import At, Does, Trouble

NOON = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
DATA = b"Message-ID: <b1.2.x@example.org>\r\nSubject: Hi\r\n\r\nHi\r\n"
DOCS = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text("utf-8")
IMPATIENT = Limits(mail=0.3, rcpt=0.3, data=0.3, dot=0.3, greeting=0.3, connect=0.1)


def nothing() -> None:
    pass


@asynccontextmanager
async def played(
    folder: Path, *troubles: Trouble, tls: scenario.Tls | None = None
) -> AsyncIterator[tuple[simulation.Simulation, Source]]:
    """Serve a play; its record and its transcript lie in *folder*."""
    loop = asyncio.get_running_loop()
    play = Scenario(trouble=troubles, tls=tls)
    context = None
    if tls is not None:
        context = certificate.context(tls.certificate, now=runtime.now())
    keeping = Keeping(record=folder / "record")
    with simulation.Simulation(play, keeping, now=lambda: NOON) as providers:
        troubled = trouble.Troubled(providers, troubles, time=loop.time)
        path = folder / "transcript"
        with transcript.Transcript(troubled, path, now=lambda: NOON) as host:
            async with sink.serving(host, tls=context) as port:
                yield (
                    providers,
                    Source(name="s", port=port, tls=Tls.NONE, helo="m.test"),
                )


async def tried(source: Source, to: str = "a@b.test") -> Answered | Lost:
    """Send one message over a connection of its own; return how it ended."""
    try:
        session = await smtp.connect(source, limits=IMPATIENT)
    except smtp.Refused as refused:
        return refused.end
    try:
        return await session.send("t@example.org", to, DATA, before_body=nothing)
    finally:
        await session.quit()


def taken(folder: Path) -> int:
    return len((folder / "record").read_text().splitlines())


LOST, IN, NOT_IN = None, 1, 0
CASES = [
    (At.CONNECT, Does.SAY, Stage.CONNECT, 421, NOT_IN),
    (At.CONNECT, Does.RESET, Stage.CONNECT, LOST, NOT_IN),
    (At.CONNECT, Does.SILENCE, Stage.CONNECT, LOST, NOT_IN),
    (At.CONNECT, Does.DRIP, Stage.DOT, 250, IN),
    (At.EHLO, Does.HANG_UP, Stage.EHLO, LOST, NOT_IN),
    (At.MAIL, Does.SAY, Stage.MAIL, 421, NOT_IN),
    (At.MAIL, Does.SILENCE, Stage.MAIL, LOST, NOT_IN),
    (At.RCPT, Does.SAY, Stage.RCPT, 421, NOT_IN),
    (At.RCPT, Does.HALF_CLOSE, Stage.RCPT, LOST, NOT_IN),
    (At.DATA, Does.RESET, Stage.DATA, LOST, NOT_IN),
    (At.MAIL, Does.SHOUT, Stage.MAIL, LOST, NOT_IN),
    (At.BODY, Does.SILENCE, Stage.DOT, LOST, NOT_IN),
    (At.BODY, Does.RESET, Stage.DOT, LOST, NOT_IN),
    (At.DOT, Does.SAY, Stage.DOT, 421, NOT_IN),
    (At.DOT, Does.RESET, Stage.DOT, LOST, IN),
    (At.DOT, Does.HANG_UP, Stage.DOT, LOST, IN),
    (At.DOT, Does.HALF_CLOSE, Stage.DOT, LOST, IN),
    (At.DOT, Does.SILENCE, Stage.DOT, LOST, IN),
    (At.DOT, Does.ANSWER_RESET, Stage.DOT, 250, IN),
    (At.DOT, Does.DRIP, Stage.DOT, 250, IN),
    (At.DOT, Does.CHATTER, Stage.DOT, 250, IN),
    (At.DOT, Does.SHOUT, Stage.DOT, LOST, IN),
]


@pytest.mark.parametrize(("at", "does", "stage", "code", "count"), CASES)
async def test_a_trouble_is_met_where_it_was_written(
    at: At, does: Does, stage: Stage, code: int | None, count: int, tmp_path: Path
) -> None:
    async with played(tmp_path, Trouble(at=at, does=does)) as (_, source):
        end = await tried(source)
    assert end.stage is stage
    assert (end.reply.code if isinstance(end, Answered) else None) == code
    assert taken(tmp_path) == count


@pytest.mark.parametrize("at", [At.CONNECT, At.RCPT, At.DATA, At.DOT])
async def test_a_trouble_passes_after_its_number_of_times(
    at: At, tmp_path: Path
) -> None:
    async with played(tmp_path, Trouble(at=at, does=Does.SAY, times=2)) as (_, source):
        ends = [await tried(source) for _ in range(3)]
        other = await tried(source, "z@b.test")
    codes = [end.reply.code for end in ends if isinstance(end, Answered)]
    assert codes == [421, 421, 250]
    assert isinstance(other, Answered)
    assert (other.reply.code == 421) is (at is not At.CONNECT)  # others have own turns


def test_a_trouble_has_its_time() -> None:
    storm = Trouble(
        at=At.RCPT,
        does=Does.SAY,
        begins=timedelta(seconds=2),
        lasts=timedelta(seconds=3),
    )
    ages = [0.0, 1.9, 2.0, 4.9, 5.0, 99.0]
    assert [storm.is_due(age) for age in ages] == [
        False, False, True, True, False, False,
    ]  # fmt: skip


def test_a_trouble_concerns_its_domains_and_its_share() -> None:
    one = Trouble(at=At.DOT, does=Does.RESET, domains=("b.test",), share=Share(0.5))
    concerned = [
        who for n in range(1000) if one.concerns(who := f"p{n}@B.test", turn=1)
    ]
    assert 400 < len(concerned) < 600
    assert not one.concerns(concerned[0].replace("B.test", "c.test"), turn=1)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('at = "mail"\ndoes = "say"\ndomains = ["b.test"]', "nobody knows"),
        ('at = "body"\ndoes = "say"', "nothing is answered"),
        ('at = "dinner"\ndoes = "say"', "dinner"),
        ('at = "dot"', "does"),
    ],
)
def test_a_trouble_that_cannot_be_is_refused(
    keys: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(f"[[trouble]]\n{keys}\n")
    with pytest.raises(errors.Invalid, match=said):
        settings.read(file, Scenario)


@pytest.mark.parametrize(
    ("tls", "mode", "trusts", "ends"),
    [
        ("self-signed", Tls.OPPORTUNISTIC, False, "encrypted"),
        ("self-signed", Tls.REQUIRED, False, Stage.TLS),
        ("expired", Tls.OPPORTUNISTIC, False, "encrypted"),
        ("file", Tls.REQUIRED, True, "encrypted"),
        ("expired file", Tls.REQUIRED, True, Stage.TLS),
        (Handshake.BROKEN, Tls.OPPORTUNISTIC, False, "plain"),
        (Handshake.BROKEN, Tls.REQUIRED, False, Stage.TLS),
        (Handshake.REFUSED, Tls.OPPORTUNISTIC, False, "plain"),
        (Handshake.REFUSED, Tls.REQUIRED, False, Stage.TLS),
        (None, Tls.OPPORTUNISTIC, False, "plain"),
        (None, Tls.REQUIRED, False, Stage.TLS),
    ],
)
async def test_a_certificate_or_a_handshake_may_be_bad(
    tls: str | Handshake | None,
    mode: Tls,
    trusts: bool,
    ends: str | Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "server.pem"
    past = timedelta(days=90 if tls == "expired file" else 1)
    begins = runtime.now() - past
    certificate.write(file, begins=begins, ends=begins + timedelta(days=30))
    if trusts:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    match tls:
        case None:
            part = None
        case Handshake():
            part = scenario.Tls(handshake=tls)
        case _:
            part = scenario.Tls(certificate=str(file) if "file" in tls else tls)
    async with played(tmp_path, tls=part) as (_, source):
        end = await tried(
            Source(
                name="s", host="localhost", port=source.port, tls=mode, helo="m.test"
            )
        )
    heard = [
        json.loads(line) for line in (tmp_path / "transcript").read_text().splitlines()
    ]
    if isinstance(ends, Stage):
        assert (end.stage, taken(tmp_path)) == (ends, 0)
    else:
        assert isinstance(end, Answered)
        assert taken(tmp_path) == 1
        greetings = [one["tls"] for one in heard if one["step"] == "ehlo"]
        assert greetings[-1] is (ends == "encrypted")


async def test_a_transcript_has_each_step_and_who_hung_up(tmp_path: Path) -> None:
    async with played(
        tmp_path, Trouble(at=At.DOT, does=Does.RESET, domains=("bad.test",))
    ) as (_, source):
        await tried(source)
        await tried(source, "b@bad.test")
    heard = [
        json.loads(line) for line in (tmp_path / "transcript").read_text().splitlines()
    ]
    told = [(one["step"], one.get("reply", "")[:3], one.get("then")) for one in heard]
    assert told[:6] == [
        ("connect", "220", None), ("ehlo", "250", None), ("mail", "250", None),
        ("rcpt", "250", None), ("data", "354", None), ("dot", "250", None),
    ]  # fmt: skip
    assert ("dot", "250", "reset") not in told
    assert told[-2:] == [("dot", "", "reset"), ("left", "", None)]
    assert [one["quit"] for one in heard if one["step"] == "left"] == [True, False]
    assert {one["recipient"] for one in heard if one["step"] == "dot"} == {
        "a@b.test",
        "b@bad.test",
    }
    assert len({one["client"] for one in heard}) == 2


def test_a_file_that_is_no_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("x")
    with pytest.raises(ssl.SSLError):
        certificate.context(str(tmp_path / "x.pem"), now=NOON)


@pytest.mark.parametrize(
    "word",
    sorted(
        {
            *At, *Does, *Handshake,
            *(name.rstrip("_") for kind in (Trouble, scenario.Tls, scenario.Part,
                                            scenario.Words, scenario.Phase,
                                            scenario.Trust)
              for name in kind.__dataclass_fields__ if name != "name"),
        }
    ),
)  # fmt: skip
def test_everything_that_a_scenario_may_say_is_in_the_docs(word: str) -> None:
    assert f"`{word}`" in DOCS
