from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer import errors, settings
from mailer.core import blast
from mailer.core.provider import Source
from mailer.pipeline import scheduling
from mailer.pipeline.scheduling import Desk, Preflight
from mailer.store import database
from tests import given, program
from tests.sink import Sink

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
BLAST = """
name = "hello"
topic = "fundraising"
segment = "everyone"
template = "letter"
subject = "{{ first_name | default('Friend') }}, hello"
from = "Example <team@example.org>"
"""
LETTER = """
{% extends "layouts/base.mjml" %}
{% block content %}
<mj-section><mj-column><mj-text>Hello NAME</mj-text></mj-column></mj-section>
{% endblock %}
"""
NAMED = LETTER.replace("NAME", "{{ first_name }}")


@pytest.fixture
async def desk(db: database.Pool, workspace: Path, sink: Sink) -> Desk:
    """A desk in a workspace with a short letter, whose source is the sink."""
    await given.people(db, ["ada@example.org"], first_name="Ada")
    chosen = replace(settings.load(workspace), sources=(sink.source,))
    desk = Desk(pool=db, root=workspace, settings=chosen, actor="bo")
    write(desk, "templates/letter/meta.toml", 'subject = "Hello"\n')
    write(desk, "templates/letter/body.mjml", LETTER)
    write(desk, "blasts/hello.toml", BLAST)
    return desk


def write(desk: Desk, path: str, text: str) -> None:
    """Write a file of the workspace."""
    (desk.root / path).parent.mkdir(exist_ok=True)
    (desk.root / path).write_text(text, "utf-8")


async def state(desk: Desk) -> str:
    """Return where the blast stands."""
    found, _ = await scheduling.get(desk, "hello")
    return found.state.value


async def checked(desk: Desk) -> Preflight:
    """Add the blast, proof it and look at it."""
    await scheduling.new(desk, "hello")
    await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)
    return await scheduling.preflight(desk, "hello", now=NOON)


async def approved(desk: Desk) -> None:
    """Bring the blast to where it may be scheduled."""
    assert (await checked(desk)).has_passed
    await scheduling.approve(desk, "hello")


def wrong(found: Preflight) -> dict[str, str]:
    """Return what stands against the blast."""
    return {
        one.name: one.text for one in found.findings if not one.is_ok | one.is_warning
    }


# ── From draft to scheduled ─────────────────────────────────────────────────


async def test_a_blast_goes_from_draft_to_scheduled_by_people(desk: Desk) -> None:
    start = NOON + timedelta(hours=6)
    found = [await scheduling.new(desk, "hello")]
    await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)
    assert (await scheduling.preflight(desk, "hello", now=NOON)).has_passed
    grace = replace(desk, actor="grace")
    found.append(await scheduling.approve(grace, "hello", why="read it twice"))
    found.append(await scheduling.schedule(desk, "hello", now=NOON, at=start))

    assert [one.state.value for one in found] == ["draft", "approved", "scheduled"]
    assert (found[-1].send_at, found[-1].expires_at) == (start, start + blast.LIFETIME)
    assert found[-1].approved_hash == found[-1].proofed_hash == found[-1].hash
    _, history = await scheduling.get(desk, "hello")
    assert [(one.actor, one.action, one.why) for one in history] == [
        ("bo", "new", None),
        ("bo", "proof", "to bo@example.com"),
        ("grace", "approve", "read it twice"),
        ("bo", "schedule", f"for {start.isoformat()}"),
    ]


async def test_what_was_not_proofed_is_not_approved(desk: Desk) -> None:
    await scheduling.new(desk, "hello")
    await scheduling.preflight(desk, "hello", now=NOON)

    with pytest.raises(errors.Conflict, match="is draft: cannot approve; proof it"):
        await scheduling.approve(desk, "hello")


async def test_what_has_not_passed_the_preflight_is_not_approved(desk: Desk) -> None:
    await scheduling.new(desk, "hello")
    await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)

    with pytest.raises(errors.Conflict, match="mailer blast preflight hello"):
        await scheduling.approve(desk, "hello")
    with pytest.raises(errors.Conflict, match="is proofed: cannot schedule; approve"):
        await scheduling.send(desk, "hello", now=NOON)
    assert await state(desk) == "proofed"


async def test_an_edit_after_the_preflight_wants_proof_and_preflight_again(
    desk: Desk,
) -> None:
    await checked(desk)
    write(desk, "blasts/hello.toml", BLAST.replace('hello"\nfrom', 'hi"\nfrom'))

    with pytest.raises(errors.Conflict, match="is draft: cannot approve"):
        await scheduling.approve(desk, "hello")
    await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)
    with pytest.raises(errors.Conflict, match="has not passed the preflight"):
        await scheduling.approve(desk, "hello")


async def test_what_was_approved_is_kept_whatever_becomes_of_the_files(
    desk: Desk, db: database.Pool
) -> None:
    await approved(desk)
    kept = "SELECT c.body FROM content c JOIN blast b ON b.approved_hash = c.hash"
    before = await given.rows(db, kept)
    write(desk, "templates/letter/body.mjml", LETTER.replace("Hello", "Goodbye"))

    found, _ = await scheduling.check(desk, "hello")

    assert found.state is blast.State.DRAFT
    assert await given.rows(db, kept) == before


async def test_a_proof_that_nobody_takes_proofs_nothing(desk: Desk, sink: Sink) -> None:
    await scheduling.new(desk, "hello")
    sink.script("bo@example.com", "550 5.1.1 No such user")

    with pytest.raises(errors.Unavailable, match=r"bo@example.com .* 550 5.1.1"):
        await scheduling.proof(desk, "hello", to=["bo@example.com"], now=NOON)

    assert await state(desk) == "draft"


# ── Times ───────────────────────────────────────────────────────────────────


async def test_a_blast_without_a_moment_is_not_scheduled(desk: Desk) -> None:
    await approved(desk)

    with pytest.raises(errors.Invalid, match="names no send_at"):
        await scheduling.schedule(desk, "hello", now=NOON)


async def test_a_blast_that_expires_before_it_starts_is_refused(desk: Desk) -> None:
    write(desk, "blasts/hello.toml", f"{BLAST}expires_at = 2026-11-03T12:30:00Z\n")
    await approved(desk)

    late = NOON + timedelta(minutes=30)
    with pytest.raises(errors.Invalid, match=r"expires at .* before it would start"):
        await scheduling.schedule(desk, "hello", now=NOON, at=late)
    with pytest.raises(errors.Invalid, match="before it would start"):
        await scheduling.send(desk, "hello", now=late)
    found = await scheduling.preflight(desk, "hello", now=late)

    assert await state(desk) == "approved"
    assert list(wrong(found)) == ["times"]


async def test_a_scheduled_blast_may_be_given_another_moment(desk: Desk) -> None:
    await approved(desk)
    evening = NOON + timedelta(hours=8)
    await scheduling.send(desk, "hello", now=NOON)

    found = await scheduling.schedule(desk, "hello", now=NOON, at=evening)

    assert found.send_at == evening


# ── What a preflight refuses ────────────────────────────────────────────────


async def test_a_preflight_names_the_people_whose_message_cannot_be_made(
    desk: Desk, db: database.Pool
) -> None:
    nameless = sorted(f"p{number:02}@example.org" for number in range(25))
    await given.people(db, nameless)
    write(desk, "templates/letter/body.mjml", NAMED)

    found = await scheduling.new(desk, "hello")
    await scheduling.proof(
        desk, "hello", to=["bo@example.com"], like="ada@example.org", now=NOON
    )
    result = await scheduling.preflight(desk, "hello", now=NOON)

    assert (found.state.value, result.has_passed) == ("draft", False)
    assert "25 cannot be made" in wrong(result)["rendering"]
    assert [one.email for one in result.failures] == nameless[:20]
    assert "first_name" in result.failures[0].reason
    with pytest.raises(errors.Conflict, match="has not passed the preflight"):
        await scheduling.approve(desk, "hello")


async def test_a_preflight_looks_at_nobody_who_gets_nothing(
    desk: Desk, db: database.Pool
) -> None:
    await given.people(db, ["nameless@example.org"])
    await given.suppression(db, "nameless@example.org", topic="fundraising")
    write(desk, "templates/letter/body.mjml", NAMED)

    found = await checked(desk)

    assert (found.recipients, found.suppressed, found.has_passed) == (1, 1, True)


async def test_a_preflight_wants_somebody_to_write_to(
    desk: Desk, db: database.Pool
) -> None:
    await given.suppression(db, "ada@example.org")
    await scheduling.new(desk, "hello")

    found = await scheduling.preflight(desk, "hello", now=NOON)

    assert wrong(found) == {"audience": "0 recipients, 1 more are suppressed"}


async def test_a_preflight_wants_a_source_that_answers(desk: Desk) -> None:
    (port,) = program.free_ports(1)
    away = replace(desk.settings, sources=(Source(name="relay", port=port),))
    await scheduling.new(desk, "hello")

    found = await scheduling.preflight(replace(desk, settings=away), "hello", now=NOON)

    assert list(wrong(found)) == ["source relay"]


async def test_a_preflight_wants_all_machines_to_have_the_same_settings(
    desk: Desk, db: database.Pool
) -> None:
    await given.rows(
        db,
        "INSERT INTO process (id, kind, host, boot, pid, fingerprint)"
        " VALUES ('w', 'worker', 'far', 'b', 7, 'other') RETURNING 1",
    )
    await scheduling.new(desk, "hello")

    found = await scheduling.preflight(desk, "hello", now=NOON)

    told = wrong(found)["processes"]
    assert told.startswith("other settings or keys than here: worker on far (7)")


# ── Files that are wrong ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"everyone"', '"activ-donors"', 'did you mean "active-donors"?'),
        ('"everyone"', '"everyone"\nexclude = ["major-doners"]', '"major-donors"'),
        ('"letter"', '"leter"', 'did you mean "letter"?'),
        ('"fundraising"', '"fundraising"\npool = "defalt"', 'did you mean "default"?'),
        (
            '"fundraising"',
            '"fundraising"\nexpires_at = "deadline:q4-2062"',
            'did you mean "q4-2026"?',
        ),
        ("topic =", "topik =", 'did you mean "topic"?'),
        ('name = "hello"', 'name = "hallo"', 'write "hello"'),
    ],
    ids=["segment", "exclude", "template", "pool", "deadline", "key", "name"],
)
async def test_a_name_that_leads_nowhere_is_told_with_the_one_that_was_meant(
    desk: Desk, db: database.Pool, before: str, after: str, told: str
) -> None:
    write(desk, "blasts/hello.toml", BLAST.replace(before, after, 1))

    with pytest.raises(errors.Invalid) as caught:
        await scheduling.new(desk, "hello")

    assert told in str(caught.value)
    assert str(caught.value).startswith("blasts/hello.toml:")
    assert await given.rows(db, "SELECT 1 FROM blast") == []


async def test_a_template_that_cannot_be_compiled_leaves_no_blast_behind(
    desk: Desk, db: database.Pool
) -> None:
    write(desk, "templates/letter/body.mjml", LETTER.replace("NAME", "{{ oops"))

    with pytest.raises(errors.Invalid, match=r"body\.mjml"):
        await scheduling.new(desk, "hello")

    assert await given.rows(db, "SELECT 1 FROM blast") == []


async def test_a_broken_edit_of_a_scheduled_blast_changes_nothing(desk: Desk) -> None:
    await approved(desk)
    await scheduling.send(desk, "hello", now=NOON)
    write(desk, "blasts/hello.toml", BLAST.replace('"letter"', '"leter"'))

    with pytest.raises(errors.Invalid, match='did you mean "letter"'):
        await scheduling.check(desk, "hello")

    assert await state(desk) == "scheduled"
