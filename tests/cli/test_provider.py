"""``mailer provider``: what its commands say, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from mailer import cli, errors, settings
from mailer.pipeline import shaping
from mailer.settings import workspace as folders
from tests import nameserver, sources
from tests.nameserver import Zone

GMAIL = "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address."  # noqa: E501
ZONE: Zone = {
    "gmail.com MX": ["5 gmail-smtp-in.l.google.com.", "10 alt1.google.com."],
    "cox.net MX": ["10 mta5.am0.yahoodns.net."],
    "comcast.net MX": ["10 mta5.am0.yahoodns.net."],
    "mixed.test MX": ["10 aspmx.l.google.com.", "20 mx.mixed.test."],
    "null.test MX": ["0 ."],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folders.make(tmp_path / "team")
    return tmp_path / "team"


@pytest.fixture
def live(root: Path) -> Iterator[Path]:
    """A workspace that asks a name server of ours."""
    with nameserver.serving(ZONE) as server:
        path = root / "config/settings.toml"
        text = path.read_text("utf-8")
        path.write_text(f'{text}\n[dns]\nservers = ["{server}"]\n', "utf-8")
        yield root


def run(root: Path, *arguments: str, **given: Any) -> Result:
    words = ["-C", str(root), "provider", *arguments]
    return CliRunner().invoke(cli.commands, words, **given)


def said(root: Path, *arguments: str, **given: Any) -> str:
    found = run(root, *arguments, **given)
    assert found.exception is None, found.exception
    return found.output


def told(root: Path, *arguments: str) -> Any:
    return json.loads(said(root, *arguments, "--json"))


async def in_thread(function: Any, *arguments: Any, **given: Any) -> Any:
    """Run a command, which has its own loop, outside of the test's."""
    return await asyncio.to_thread(function, *arguments, **given)


def refusal(root: Path, *arguments: str) -> str:
    found = run(root, *arguments)
    assert isinstance(found.exception, errors.MailerError), found.output
    return str(found.exception)


# ── Providers ───────────────────────────────────────────────────────────────


def test_providers_are_listed_with_what_they_bear(root: Path) -> None:
    lines = [line.split() for line in said(root, "list").splitlines()]
    assert ["google", "5", "50", "300/min", "1800/min", "3", "2"] in lines
    assert lines[-1] == ["other", "10", "20", "120/min", "600/min", "0", "0"]
    found = {one["name"]: one for one in told(root, "list")}
    assert found["yahoo"]["limits"] == {
        "connections": 5, "messages": 20, "rate": "120/min", "ceiling": "600/min",
        "retry": ["5m", "15m", "30m", "1h", "2h", "4h"],
    }  # fmt: skip
    assert found["yahoo"]["changed"] == []


def test_what_is_not_as_shipped_is_marked(root: Path) -> None:
    (root / "config/providers.toml").write_text(
        '[provider.google]\nrate = "600/min"\n[provider.campus]\n'
        'domains = ["campus.test"]\n',
        "utf-8",
    )
    lines = [line.split() for line in said(root, "list").splitlines()]
    assert ["google", "5", "50", "600/min*", "1800/min", "3", "2"] in lines
    assert ["campus", "2", "20", "20/min", "120/min", "0", "1*"] in lines
    assert "rate         600/min  (yours)" in said(root, "show", "google")


def test_a_provider_is_as_it_is_for_a_source(root: Path) -> None:
    sources.write(
        root,
        '[source.own]\nmessages = 7\n[source.own.provider.yahoo]\nrate = "60/min"\n',
    )
    found = {one["name"]: one for one in told(root, "list", "--source", "own")}
    assert found["yahoo"]["limits"]["rate"] == "60/min"
    assert found["yahoo"]["changed"] == ["messages", "rate"]
    assert found["google"]["changed"] == ["messages"]
    assert "For source own: messages 7, rate 60/min" in said(root, "show", "yahoo")
    assert refusal(root, "list", "--source", "on") == (
        'there is no source "on": did you mean "own"?'
    )


def test_a_provider_is_shown_with_its_replies(root: Path) -> None:
    text = said(root, "show", "yahoo")
    assert ".yahoodns.net" in text
    assert "yahoo-ts04          lane        suspend 2h  Yahoo," in text
    found = told(root, "show", "yahoo")
    (first, *_) = found["rules"]
    assert (first["name"], first["wait"], first["action"]) == (
        "yahoo-ts04", "2h", "suspend",
    )  # fmt: skip
    assert first["samples"][0].startswith("421 4.7.0 [TSS04]")
    assert "No replies of its own" in said(root, "show", "proofpoint")
    assert refusal(root, "show", "yaho").endswith('did you mean "yahoo"?')


def test_nothing_of_this_needs_a_database(root: Path) -> None:
    said(root, "list")
    said(root, "show", "google")
    said(root, "explain", "450 hm")
    assert not (root / ".mailer/db").exists()


# ── Replies ─────────────────────────────────────────────────────────────────


def test_a_reply_is_explained(root: Path) -> None:
    text = said(root, "explain", GMAIL, "--provider", "google")
    assert "gmail-rate-ip (Google, support.google.com" in text
    assert "the lane: this provider and our source (lane)" in text
    assert "Its rate is cut by half." in text
    assert "no attempt is spent" in text
    assert "Samples of that rule:\n   87%  421 4.7.28 Our system" in text
    found = told(root, "explain", GMAIL, "--provider", "google")
    assert {
        key: found[key] for key in ("outcome", "rule", "known", "scope", "action")
    } == {
        "outcome": "throttled", "rule": "gmail-rate-ip", "known": True,
        "scope": "lane", "action": "cut",
    }  # fmt: skip


def test_every_sample_of_every_rule_is_explained_by_its_rule(root: Path) -> None:
    chosen = settings.load(root, environment={})
    for rule in chosen.bounces.rules:
        for name in rule.providers or ("other",):
            for sample in rule.samples:
                found = shaping.explain(chosen, sample, name=name, stage="rcpt")
                assert (found.rule, found.samples[0].ratio) == (rule.name, 1)


def test_a_reply_that_no_rule_knows_says_so_and_who_would(root: Path) -> None:
    line = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"
    text = said(root, "explain", line, "--provider", "google")
    assert "none; by its code alone: closing" in text
    assert "It is like:\n" in text
    assert "A rule of another provider knows it: yahoo: yahoo-ts04" in text


@pytest.mark.parametrize(
    "text",
    [
        "421-4.7.0 [TSS04] Messages from 192.0.2.1\n421 4.7.0 temporarily deferred\n",
        "421-4.7.0 [TSS04] Messages from 192.0.2.1\r\n421 temporarily deferred\r\n",
        "421-4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
        "  421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred  ",
    ],
)
def test_a_reply_may_have_many_lines_or_be_cut_off(root: Path, text: str) -> None:
    found = told(root, "explain", text, "--provider", "yahoo")
    assert found["rule"] == "yahoo-ts04"
    assert found["reply"] == (
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"
    )
    assert said(root, "explain", "-", "--provider", "yahoo", input=text).count("TSS04")


def test_the_stage_decides_what_a_reply_says_of_the_recipient(root: Path) -> None:
    early = told(root, "explain", "554 5.7.1 Go away", "--stage", "connect")
    late = told(root, "explain", "554 5.7.1 Go away", "--stage", "rcpt")
    assert (early["outcome"], early["rule"], early["action"], early["wait"]) == (
        "throttled", "turned-away", "suspend", "15m",
    )  # fmt: skip
    assert (late["outcome"], late["rule"], late["action"]) == (
        "bounce", "never", "refuse",
    )  # fmt: skip


def test_the_waits_are_those_of_the_source(root: Path) -> None:
    sources.write(root, '[source.own]\nretry = ["7m"]\n')
    text = told(root, "explain", "450 hm", "--source", "own")["meaning"]["message"]
    assert "it goes out again after 7m, the last" in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing is no SMTP reply: write one as the server said it"),
        ("  \n ", "nothing is no SMTP reply"),
        ("Our system has detected", '"Our system has detected" is no SMTP reply'),
        ("99 x", '"99 x" is no SMTP reply'),
        ("600 x", '"600 x" is no SMTP reply'),
        ("42", '"42" is no SMTP reply'),
        ("\uff14\uff12\uff11 x", "is no SMTP reply"),
        ("421-x\n450 y", "a reply of several codes: 421 and 450"),
        ("421 x\n450 y", "2 replies is no SMTP reply"),
        ("550 " + "x" * 5000, "5,004 characters is no SMTP reply"),
    ],
)
def test_what_is_no_reply_is_refused(root: Path, text: str, why: str) -> None:
    assert why in refusal(root, "explain", text)


def test_escapes_in_a_reply_do_not_reach_the_terminal(root: Path) -> None:
    text = said(root, "explain", "550 [red]x[/] \x1b[31mhm\x07 [/nope]")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]x[/]" in text


def test_an_unknown_provider_or_stage_is_named(root: Path) -> None:
    assert refusal(root, "explain", "450 x", "--provider", "gogle") == (
        'there is no provider "gogle": did you mean "google"?'
    )
    assert run(root, "explain", "450 x", "--stage", "late").exit_code == 2
    assert run(root, "explain").exit_code == 2


# ── Domains ─────────────────────────────────────────────────────────────────


async def test_a_domain_is_resolved_fresh_then_remembered(
    live: Path, workspace: Path
) -> None:
    first = await in_thread(said, live, "resolve", "Gmail.com")
    again = await in_thread(said, live, "resolve", "ada@gmail.com")

    lines = [line.split() for line in first.splitlines()]
    assert first.startswith("gmail.com: google, for every MX host is one of google\n")
    assert ["5", "gmail-smtp-in.l.google.com", "google"] in lines
    assert "As it was asked at" not in first
    assert "As it was asked at" in again


async def test_what_differs_from_the_hint_is_said(live: Path, workspace: Path) -> None:
    moved = await in_thread(said, live, "resolve", "comcast.net")
    mixed = await in_thread(told, live, "resolve", "mixed.test")
    null = await in_thread(run, live, "resolve", "null.test")

    assert moved.startswith("comcast.net: yahoo, for every MX host")
    assert "config/providers.toml hints at comcast." in moved
    assert (mixed["provider"], mixed["why"]) == ("other", "mixed")
    assert null.exit_code == 1
    assert "null.test: nobody receives its mail: null MX" in null.output


async def test_a_domain_without_dns_has_its_hint(
    root: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.mail.resolver.LIFETIME", 0.05)
    path = root / "config/settings.toml"
    text = path.read_text("utf-8") + '\n[dns]\nservers = ["127.0.0.1:1"]\n'
    path.write_text(text, "utf-8")

    text = await in_thread(said, root, "resolve", "comcast.net")

    assert text.startswith("comcast.net: comcast, for DNS cannot say: this is the hint")
    assert "DNS could not say: DNS cannot be asked about comcast.net" in text


@pytest.mark.parametrize("text", ["", "no domain", "a..test", "localhost", "-x.test"])
def test_nonsense_is_no_domain(root: Path, text: str) -> None:
    assert "is no domain: write one like" in refusal(root, "resolve", "--", text)


# ── Lanes and lists ─────────────────────────────────────────────────────────


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


PEOPLE = """
    INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
    SELECT a, a, split_part(a, '@', 2), provider, now()
    FROM (VALUES ('a@gmail.com', 'google'), ('b@gmail.com', 'google'),
                 ('c@comcast.net', 'comcast'), ('d@null.test', 'other'),
                 ('e@mixed.test', 'other')) AS p (a, provider)
"""
LANES = """
    INSERT INTO lane (provider, source, pool, rate, connections, mode, not_before,
                      reason)
    VALUES ('google', 'relay', 'default', 5, 5, 'normal', '-infinity', NULL),
           ('yahoo', 'relay', 'default', NULL, 3, 'suspended',
            clock_timestamp() + interval '1 h', '421 4.7.0 [TSS04] Messages');
    INSERT INTO slot (provider, source, owner, lease_until)
    VALUES ('google', 'relay', 'w', clock_timestamp() + interval '1 h')
"""


async def test_a_list_is_audited(
    live: Path, workspace: Path, database_url: str
) -> None:
    await execute(database_url, PEOPLE)

    text = await in_thread(said, live, "audit")
    found = await in_thread(told, live, "audit", "everyone")

    lines = [line.split() for line in text.splitlines()]
    assert ["google", "2", "1", "2"] in lines
    assert ["yahoo", "1", "1", "0"] in lines
    assert "1 domain with 1 person: received by another provider than the one" in text
    assert ["comcast.net", "1", "comcast", "yahoo"] in [line[:4] for line in lines]
    assert "1 domain with 1 person: mail for them bounces" in text
    assert text.endswith("5 people at 4 domains; 0 of them were known.\n")
    assert (found["cached"], found["trouble"]) == (4, "")
    assert [one["domain"] for one in found["refusing"]] == ["null.test"]
    short = await in_thread(said, live, "audit", "--limit", "0")
    assert "and 1 more: --limit, or --json for all" in short
    assert "comcast.net" not in short


async def test_a_list_of_nobody_is_no_mistake(live: Path, workspace: Path) -> None:
    text = await in_thread(said, live, "audit", "never-gave")
    assert text.endswith("0 people at 0 domains; 0 of them were known.\n")
    assert "did you mean" in await in_thread(refusal, live, "audit", "never-gav")


async def test_lanes_are_shown_as_they_stand(
    root: Path, workspace: Path, database_url: str
) -> None:
    empty = await in_thread(said, root, "lanes")
    await execute(database_url, LANES)

    text = await in_thread(said, root, "lanes")
    (yahoo,) = await in_thread(told, root, "lanes", "yahoo")

    assert empty.startswith("No lanes yet")
    lines = [line.split() for line in text.splitlines()]
    assert ["google", "relay", "normal", "300/min", "1", "of", "5"] in lines
    assert "suspended" in text
    assert "TSS04" in text
    assert (yahoo["mode"], yahoo["rate"], yahoo["per_second"], yahoo["taken"]) == (
        "suspended", "unlimited", None, 0,
    )  # fmt: skip
    assert yahoo["not_before"] is not None
    assert await in_thread(told, root, "lanes", "google", "--source", "relay")
    assert await in_thread(told, root, "lanes", "apple") == []
    assert "did you mean" in await in_thread(refusal, root, "lanes", "gogle")
    assert "there is no source" in await in_thread(
        refusal, root, "lanes", "--source", "x"
    )
