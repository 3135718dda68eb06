"""Forecasts as people meet them: in preflight, schedule, send and watch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core import flow
from mailer.core.provider import Provider, Rate, Source
from mailer.pipeline import launching, scheduling
from mailer.pipeline.scheduling import Desk, bearing
from mailer.store import database
from mailer.store.forecasts import Lane
from tests import given
from tests.sink import Sink

NOON = datetime(2027, 11, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PEOPLE = 600
CROWD = """
INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
SELECT 'p' || n || '@gmail.test', 'p' || n || '@gmail.test', 'gmail.test', 'google',
       '2026-01-01Z'
FROM generate_series(1, $1::integer) n RETURNING 1
"""
BLAST = """
name = "hello"
topic = "fundraising"
segment = "everyone"
template = "letter"
subject = "Hello"
from = "Example <team@example.org>"
"""
LETTER = """
{% extends "layouts/base.mjml" %}
{% block content %}
<mj-section><mj-column><mj-text>Hello</mj-text></mj-column></mj-section>
{% endblock %}
"""
GOOGLE = Provider(
    name="google", rate=Rate.parse("60/min"), ceiling=Rate.parse("240/min")
)


@pytest.fixture
async def desk(db: database.Pool, workspace: Path, sink: Sink) -> Desk:
    """A blast to 600 people at Google, whose lane starts at 60 a minute."""
    await given.rows(db, CROWD, PEOPLE)
    source = replace(sink.source, rate=None)
    chosen = replace(settings.load(workspace), sources=(source,), providers=(GOOGLE,))
    for path, text in (
        ("templates/letter/meta.toml", 'subject = "Hello"\n'),
        ("templates/letter/body.mjml", LETTER),
        ("blasts/hello.toml", BLAST),
    ):
        (workspace / path).parent.mkdir(exist_ok=True)
        (workspace / path).write_text(text, "utf-8")
    return Desk(pool=db, root=workspace, settings=chosen, actor="bo")


def limited(desk: Desk, rate: str) -> Desk:
    """Return a desk whose relay has a rate that its owner said."""
    (source,) = desk.settings.sources
    source = replace(source, rate=Rate.parse(rate))
    return replace(desk, settings=replace(desk.settings, sources=(source,)))


def ends(desk: Desk, after: timedelta) -> None:
    """Have the blast expire so long after noon."""
    text = f"{BLAST}expires_at = {(NOON + after).isoformat()}\n"
    (desk.root / "blasts/hello.toml").write_text(text, "utf-8")


async def approved(desk: Desk) -> scheduling.Preflight:
    """Bring the blast to where it may be scheduled."""
    await scheduling.new(desk, "hello")
    await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)
    found = await scheduling.preflight(desk, "hello", now=NOON)
    await scheduling.approve(desk, "hello")
    return found


async def test_preflight_says_the_range_and_that_it_is_one(desk: Desk) -> None:
    found = await approved(desk)

    (finding,) = (one for one in found.findings if one.name == "forecast")
    assert finding.is_ok
    assert finding.text.endswith(
        "a range: what these providers bear is not learned yet"
    )
    assert "60-240/min" in finding.text
    forecast = found.forecast
    assert forecast.is_range
    assert forecast.earliest is not None
    assert forecast.latest is not None
    assert forecast.latest - NOON == timedelta(seconds=PEOPLE - 2)  # a burst of 2 s
    assert forecast.earliest < NOON + 7 * MINUTE


async def test_what_may_be_late_is_warned_of_and_may_be_scheduled(desk: Desk) -> None:
    ends(desk, 8 * MINUTE)

    found = await approved(desk)
    after = await scheduling.send(desk, "hello", now=NOON)

    (finding,) = (one for one in found.findings if one.name == "forecast")
    assert finding.is_warning
    assert found.has_passed
    assert after.state == "scheduled"


async def test_what_cannot_be_done_in_time_is_refused_with_the_numbers(
    desk: Desk,
) -> None:
    desk = limited(desk, "60/min")
    ends(desk, 15 * MINUTE)
    await approved(desk)

    with pytest.raises(errors.Conflict) as refused:
        await scheduling.schedule(desk, "hello", now=NOON, at=NOON + 10 * MINUTE)

    said = str(refused.value)
    assert "hello cannot be done by" in said
    assert "298 of 600 would not get it (google 298 of 600, done at" in said
    by = (NOON + 15 * MINUTE - timedelta(seconds=598)).astimezone()
    assert f"start it by {by:%H:%M}" in said
    assert said.endswith("or add --anyway")
    found, _ = await scheduling.get(desk, "hello")
    assert found.state == "approved"


async def test_whoever_says_anyway_stands_in_the_audit(desk: Desk) -> None:
    desk = limited(desk, "60/min")
    ends(desk, 5 * MINUTE)
    await approved(desk)
    with pytest.raises(errors.Conflict, match="give it a later expires_at"):
        await scheduling.send(desk, "hello", now=NOON)

    await scheduling.send(desk, "hello", now=NOON, anyway=True)

    _, history = await scheduling.get(desk, "hello")
    assert (history[-1].actor, history[-1].action) == ("bo", "schedule")
    assert "anyway: done at" in (history[-1].why or "")
    assert "298 of 600 not by" in (history[-1].why or "")


async def test_a_blast_that_is_scheduled_before_takes_its_time(desk: Desk) -> None:
    desk = limited(desk, "60/min")
    await approved(desk)
    await given.approved(
        desk.pool,
        given.content(name="urgent", priority=1),
        send_at="'2027-11-03T12:00Z'",
        expires_at="'2027-11-04T12:00Z'",
    )

    found = await scheduling.preflight(desk, "hello", now=NOON)

    (outlook,) = found.forecast.providers
    assert outlook.ahead == PEOPLE
    assert outlook.latest == NOON + timedelta(seconds=2 * PEOPLE - 2)


async def test_watch_says_when_what_is_left_will_be_done(desk: Desk) -> None:
    desk = limited(desk, "60/min")
    await given.approved(desk.pool)
    before = await scheduling.watch(desk, "eoq")
    await launching.launch(desk.pool, "eoq")

    seen = await scheduling.watch(desk, "eoq")

    assert before.forecast is None
    assert seen.forecast is not None
    assert seen.forecast.latest == seen.at + timedelta(seconds=PEOPLE)
    assert scheduling.done_at(seen.forecast).keys() == {"google"}


# ── What a lane bears ───────────────────────────────────────────────────────

RELAY = Source(name="relay")
ROW = Lane(
    provider="google",
    source="relay",
    mode="normal",
    rate=2.0,
    start=1.0,
    ceiling=4.0,
    not_before=datetime(1970, 1, 1, tzinfo=UTC),
    knee=None,
    threshold=1.0,
    is_warming=False,
    quota=None,
    used=None,
)


def test_a_lane_that_has_met_no_limit_may_grow_and_nobody_knows() -> None:
    found = bearing.lane_of(GOOGLE, RELAY, ROW, now=NOON)

    assert (found.rate, found.ceiling, found.is_learned) == (2.0, 4.0, False)
    assert found.opens_at is None


def test_a_knee_is_the_limit_that_was_learned() -> None:
    found = bearing.lane_of(GOOGLE, RELAY, replace(ROW, knee=3.0), now=NOON)

    assert found.is_learned
    assert found.ceiling == pytest.approx(3.0, rel=0.05)


def test_a_lane_at_its_ceiling_has_nothing_more_to_learn() -> None:
    assert bearing.lane_of(GOOGLE, RELAY, replace(ROW, rate=4.0), now=NOON).is_learned


def test_a_suspended_lane_probes_when_its_time_is_up_and_ramps() -> None:
    until = NOON + 10 * MINUTE
    row = replace(ROW, mode="suspended", not_before=until, knee=3.0, threshold=2.0)

    found = bearing.lane_of(GOOGLE, RELAY, row, now=NOON)

    assert found.opens_at == until + bearing.PROBING
    assert (found.rate, found.doubles_below) == (1.0, 2.0)


def test_a_halted_lane_sends_nothing_until_a_person_says_so() -> None:
    row = replace(ROW, mode="halted")
    found = bearing.lane_of(GOOGLE, RELAY, row, now=NOON)
    mailbox = flow.Mailbox(provider="google", people=1, lanes=[found])

    assert (
        flow.flow(flow.Plan(starts_at=NOON), mailbox, now=NOON, is_best=True).done_at
        is None
    )


def test_a_source_that_warms_up_has_the_quotas_of_the_days_to_come() -> None:
    new = Source(name="relay", warmup=True)
    row = replace(ROW, is_warming=True, quota=500, used=120)

    begins = bearing.lane_of(GOOGLE, new, None, now=NOON)
    goes_on = bearing.lane_of(GOOGLE, new, row, now=NOON)

    assert begins.caps[:5] == (50, 100, 250, 500, 1000)
    assert goes_on.caps[:3] == (380, 1000, 1500)
    assert goes_on.paces[0] == pytest.approx(500 / 12 / 3600)


def test_an_unlimited_lane_is_known_when_the_workers_are_measured() -> None:
    row = replace(ROW, rate=None, start=None, ceiling=None)

    one = bearing.lane_of(GOOGLE, RELAY, row, now=NOON)
    other = bearing.lane_of(GOOGLE, RELAY, row, now=NOON, is_measured=True)

    assert (one.rate, one.is_learned, other.is_learned) == (float("inf"), False, True)


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0.5, "starts 2026-11-03 12:00:00 UTC, nothing after 2026-11-03 12:00:30 UTC"),
        (60, "starts 2026-11-03 12:00 UTC, nothing after 2026-11-03 13:00 UTC"),
    ],
)
def test_times_within_a_minute_can_be_told_apart(minutes: float, said: str) -> None:
    noon = datetime(2026, 11, 3, 12, tzinfo=UTC)

    assert scheduling.times(noon, noon + timedelta(minutes=minutes)) == said
