"""Who receives domains: asked of a name server, kept in the database, compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailer import errors, settings
from mailer.core.exchange import Why
from mailer.core.provider import Provider
from mailer.pipeline import launching, resolving
from mailer.settings.dns import Dns
from mailer.store import database
from tests import given, nameserver
from tests.nameserver import Zone

NOBODY = "127.0.0.1:1"
ZONE: Zone = {
    "ours.test MX": ["10 a.big.test."],
    "listed.test MX": ["10 a.big.test."],
    "both.test MX": ["10 a.big.test.", "20 elsewhere.test."],
    "small.test MX": ["10 mx.small.test."],
    "itself.test A": ["8.8.8.1"],
    "null.test MX": ["0 ."],
}
KNOWN = (
    Provider(name="big", domains=("ours.test",), mx=(".big.test",)),
    Provider(name="old", domains=("listed.test",), mx=(".old.test",)),
    Provider(name="other"),
)


@pytest.fixture
def chosen(workspace: Path) -> settings.Settings:
    return replace(settings.load(workspace), providers=KNOWN)


@pytest.fixture
def down(
    chosen: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> settings.Settings:
    """Settings whose resolver is not there, and soon given up."""
    monkeypatch.setattr("mailer.mail.resolver.LIFETIME", 0.05)
    return replace(chosen, dns=Dns(servers=(NOBODY,)))


@contextmanager
def asking(
    chosen: settings.Settings, zone: Zone = ZONE, **served: Any
) -> Iterator[settings.Settings]:
    """Have a name server for *zone*, and settings that ask it."""
    with nameserver.serving(zone, **served) as server:
        yield replace(chosen, dns=Dns(servers=(server,)))


async def lanes_for(db: database.Pool, *names: str) -> None:
    for name in names:
        await given.rows(
            db,
            "INSERT INTO lane (provider, source, pool, connections)"
            " VALUES ($1, 'relay', 'default', 1) RETURNING 1",
            name,
        )


# ── One domain ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("domain", "provider", "why", "hint"),
    [
        ("ours.test", "big", Why.MX, "big"),
        ("ada@Listed.test", "big", Why.MX, "old"),
        ("both.test", "other", Why.MIXED, "other"),
        ("small.test", "other", Why.NOBODY, "other"),
        ("itself.test", "other", Why.IMPLICIT, "other"),
        ("null.test", "other", Why.NULL, "other"),
        ("gone.test", "other", Why.NONE, "other"),
    ],
)
async def test_a_domain_is_received_by_whom_its_mx_says(
    db: database.Pool,
    chosen: settings.Settings,
    domain: str,
    provider: str,
    why: Why,
    hint: str,
) -> None:
    with asking(chosen) as live:
        found = await resolving.resolve(db, live, domain)
    assert (found.provider, found.why, found.hint) == (provider, why, hint)
    assert not found.is_cached
    assert found.takes_none == (why in {Why.NULL, Why.NONE})


async def test_hosts_are_shown_by_preference_with_whose_they_are(
    db: database.Pool, chosen: settings.Settings
) -> None:
    with asking(chosen) as live:
        found = await resolving.resolve(db, live, "both.test")
    assert [(one.preference, one.host, one.provider) for one in found.hosts] == [
        (10, "a.big.test", "big"), (20, "elsewhere.test", "other"),
    ]  # fmt: skip
    assert found.said == "its MX hosts are not all one provider's: big, other"


async def test_what_was_learned_is_kept_until_its_time_is_over(
    db: database.Pool, chosen: settings.Settings
) -> None:
    asked: list[str] = []
    with asking(chosen, asked=asked, ttl=600) as live:
        first = await resolving.resolve(db, live, "both.test")
        again = await resolving.resolve(db, live, "both.test")
        assert asked == ["both.test MX"]
        await given.rows(
            db, "UPDATE domain SET good_until = mailer_now() RETURNING name"
        )
        late = await resolving.resolve(db, live, "both.test")
    assert (again.provider, again.why, again.hosts) == (
        first.provider, first.why, first.hosts,
    )  # fmt: skip
    assert (again.is_cached, late.is_cached) == (True, False)
    assert again.good_until is not None
    assert asked == ["both.test MX"] * 2


async def test_what_is_kept_is_judged_by_the_providers_of_today(
    db: database.Pool, chosen: settings.Settings
) -> None:
    with asking(chosen) as live:
        await resolving.resolve(db, live, "small.test")
        small = Provider(name="small", mx=(".small.test",))
        found = await resolving.resolve(
            db, replace(live, providers=(*KNOWN, small)), "small.test"
        )
    assert (found.is_cached, found.provider, found.why) == (True, "small", Why.MX)


async def test_fresh_asks_whatever_is_kept(
    db: database.Pool, chosen: settings.Settings
) -> None:
    with asking(chosen) as live:
        await resolving.resolve(db, live, "listed.test")
    with asking(chosen, {"listed.test MX": ["10 x.old.test."]}) as live:
        found = await resolving.resolve(db, live, "listed.test", fresh=True)
        kept = await resolving.resolve(db, live, "listed.test")
    assert (found.provider, kept.provider, kept.before) == ("old", "old", "big")
    assert kept.changed_at is not None


async def test_without_dns_the_hint_is_left_and_it_says_so(
    db: database.Pool, down: settings.Settings
) -> None:
    found = await resolving.resolve(db, down, "listed.test")
    assert (found.provider, found.why) == ("old", Why.HINT)
    assert "listed.test" in found.trouble


async def test_without_dns_what_was_last_so_is_better_than_the_hint(
    db: database.Pool, chosen: settings.Settings, down: settings.Settings
) -> None:
    with asking(chosen) as live:
        await resolving.resolve(db, live, "listed.test")
    found = await resolving.resolve(db, down, "listed.test", fresh=True)
    assert (found.provider, found.why, found.is_cached) == ("big", Why.MX, True)
    assert found.trouble != ""


async def test_without_the_database_the_dns_is_asked(
    chosen: settings.Settings,
) -> None:
    nowhere = "postgresql://127.0.0.1:1/none"
    with asking(chosen) as live:
        async with database.opened(nowhere, at_once=False, patience=1) as pool:
            found = await resolving.resolve(pool, live, "listed.test")
    assert (found.provider, found.trouble) == ("big", "")


@pytest.mark.parametrize("text", ["", "@", "no domain", "a..test", "x" * 300, "ada@"])
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid, match="is no domain: write one like"):
        resolving.domain(text)


# ── A list ──────────────────────────────────────────────────────────────────


async def audited(
    db: database.Pool, chosen: settings.Settings, root: Path, **more: Any
) -> resolving.Audit:
    return await resolving.audit(db, chosen, root=root, name="everyone", **more)


async def crowd(db: database.Pool) -> None:
    await given.people(db, ["a@ours.test", "b@ours.test"], provider="big")
    await given.people(db, ["a@listed.test", "b@listed.test"], provider="old")
    await given.people(db, ["a@both.test", "a@small.test", "a@null.test"])
    await given.people(db, ["a@gone.test", "a@odd.test"])


async def test_a_list_is_counted_by_who_receives_it(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    await crowd(db)
    seen: list[tuple[int, int]] = []

    with asking(chosen, refused="odd.test") as live:
        found = await audited(
            db, live, workspace, progress=lambda done, of: seen.append((done, of))
        )

    assert (found.people, found.domains, found.cached) == (9, 7, 0)
    assert [
        (one.provider, one.people, one.domains, one.hinted) for one in found.providers
    ] == [("big", 4, 2, 2), ("other", 3, 3, 5), ("old", 0, 0, 2)]
    assert [
        (one.domain, one.people, one.hint, one.provider) for one in found.moved
    ] == [("listed.test", 2, "old", "big")]
    assert [(one.domain, one.why) for one in found.refusing] == [
        ("gone.test", Why.NONE), ("null.test", Why.NULL),
    ]  # fmt: skip
    assert [(one.domain, one.people) for one in found.unknown] == [("odd.test", 1)]
    assert found.trouble == ""
    assert seen == [(done, 7) for done in range(1, 8)]


async def test_a_second_audit_asks_only_what_is_not_known(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    await crowd(db)
    asked: list[str] = []
    with asking(chosen, refused="odd.test", asked=asked) as live:
        first = await audited(db, live, workspace)
        asked.clear()
        second = await audited(db, live, workspace)
        assert {one.split()[0] for one in asked} == {"odd.test"}
        third = await audited(db, live, workspace, fresh=True)
    assert second == replace(first, cached=6)
    assert third == first


async def test_without_dns_a_list_is_counted_by_its_hints(
    db: database.Pool, down: settings.Settings, workspace: Path
) -> None:
    await crowd(db)
    found = await audited(db, down, workspace)
    assert {one.provider: one.people for one in found.providers} == {
        "other": 5, "big": 2, "old": 2,
    }  # fmt: skip
    assert len(found.unknown) == 7
    assert found.moved == ()


async def test_a_dns_that_knows_nobody_is_not_believed(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    await crowd(db)
    with asking(chosen, {}) as live:
        found = await audited(db, live, workspace)
    assert found.trouble == "it knows none of 7 domains: is it one of the Internet's?"
    assert found.refusing == ()
    assert await given.rows(db, "SELECT name FROM domain") == []


async def test_a_segment_that_is_not_there_is_named_with_the_nearest(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    with pytest.raises(errors.NotFound, match="everyone"):
        await resolving.audit(db, chosen, root=workspace, name="everyon")


# ── What comes of it ────────────────────────────────────────────────────────


async def launched(db: database.Pool) -> list[Any]:
    await given.approved(db)
    await launching.launch_due(db)
    return await given.rows(
        db,
        "SELECT s.email, d.provider FROM delivery d JOIN subscriber s"
        " ON s.id = d.subscriber_id ORDER BY s.email",
    )


async def test_the_next_launch_has_people_in_the_lane_that_the_mx_says(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    await lanes_for(db, "big", "other")
    await given.people(db, ["a@listed.test"], provider="old")
    await given.people(db, ["b@null.test"], provider="big")
    with asking(chosen) as live:
        await audited(db, live, workspace)

    assert await launched(db) == [("a@listed.test", "big"), ("b@null.test", "big")]


async def test_a_provider_without_a_lane_gets_nobody(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    await lanes_for(db, "old")
    await given.people(db, ["a@listed.test"], provider="old")
    with asking(chosen) as live:
        await audited(db, live, workspace)

    assert await launched(db) == [("a@listed.test", "old")]


async def test_what_was_learned_weeks_ago_is_no_better_than_the_hint(
    db: database.Pool, chosen: settings.Settings, workspace: Path
) -> None:
    await lanes_for(db, "big", "old")
    await given.people(db, ["a@listed.test"], provider="old")
    with asking(chosen) as live:
        await audited(db, live, workspace)
    await given.rows(
        db, "UPDATE domain SET asked_at = mailer_now() - interval '8 d' RETURNING name"
    )

    assert await launched(db) == [("a@listed.test", "old")]


ALARMS = "SELECT subject, detail, cleared_at IS NULL FROM alarm ORDER BY id"
OVER = "UPDATE domain SET good_until = mailer_now() RETURNING name"


async def test_a_listed_domain_that_moves_raises_an_alarm_until_it_is_back(
    db: database.Pool, chosen: settings.Settings
) -> None:
    await given.people(db, ["a@listed.test", "a@small.test"])
    home: Zone = {
        "listed.test MX": ["10 x.old.test."],
        "small.test MX": ["10 x.old.test."],
    }
    with asking(chosen, home) as live:
        assert await resolving.refresh(db, live) == []
    await given.rows(db, OVER)

    with asking(chosen) as live:
        assert await resolving.refresh(db, live) == ["listed.test", "small.test"]
        assert await resolving.refresh(db, live) == []  # nothing is due

    assert await given.rows(db, ALARMS) == [
        ("domain listed.test", "Its mail was received by old and is by big now.", True)
    ]
    await given.rows(db, OVER)
    with asking(chosen, home) as live:
        await resolving.refresh(db, live)
    assert [row[2] for row in await given.rows(db, ALARMS)] == [False]


async def test_dns_that_is_down_moves_nobody(
    db: database.Pool, chosen: settings.Settings, down: settings.Settings
) -> None:
    await given.people(db, ["a@listed.test"])
    with asking(chosen) as live:
        await resolving.refresh(db, live)
    await given.rows(db, OVER)

    assert await resolving.refresh(db, down) == []

    assert await given.rows(db, "SELECT name, provider FROM domain") == [
        ("listed.test", "big")
    ]
    assert await given.rows(db, ALARMS) == []


async def test_a_domain_that_vanishes_for_a_while_keeps_its_provider(
    db: database.Pool, chosen: settings.Settings
) -> None:
    with asking(chosen) as live:
        await resolving.resolve(db, live, "listed.test")
    with asking(chosen, {}) as live:
        found = await resolving.resolve(db, live, "listed.test", fresh=True)

    assert found.why is Why.NONE
    assert await given.rows(db, "SELECT provider, why, before FROM domain") == [
        ("big", "none", None)
    ]


async def test_only_domains_of_our_people_are_looked_at(
    db: database.Pool, chosen: settings.Settings
) -> None:
    await given.people(db, ["a@small.test"])
    asked: list[str] = []
    with asking(chosen, asked=asked) as live:
        await resolving.refresh(db, live)
    assert asked == ["small.test MX"]
