"""What a person does with a blast: new, check, approve, schedule, pause, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mailer import errors, settings
from mailer.core import blast
from mailer.core.forecast import Forecast
from mailer.pipeline.scheduling import draft, forecasting, foretelling
from mailer.pipeline.scheduling.draft import Draft
from mailer.store import blasts, database


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the files are, what the settings say, and who acts."""

    pool: database.Pool
    root: Path
    settings: settings.Settings
    actor: str


async def new(desk: Desk, name: str) -> blasts.Blast:
    """Write the file of a blast to begin with, unless it is there, and add the blast.

    Raises Conflict when there is a blast of that name, Invalid when the name is none.
    """
    if not blast.NAME.fullmatch(name):
        raise errors.Invalid(f'"{name}": use lower-case letters, digits and "-"')
    file = draft.locate(name)
    async with database.connection(desk.pool) as tx:
        if await _find(tx, name) is not None:
            message = f"there is a blast {name} already: mailer blast show {name}"
            raise errors.Conflict(message)
    if not (desk.root / file).exists():
        sample = settings.shipped(draft.FOLDER / "example.toml").read_text("utf-8")
        (desk.root / draft.FOLDER).mkdir(exist_ok=True)
        text = sample.replace('name = "example" ', f'name = "{name}" ', 1)
        (desk.root / file).write_text(text, "utf-8")
    found, _ = await check(desk, name)
    return found


async def check(desk: Desk, name: str) -> tuple[blasts.Blast, Draft]:
    """Read the files of a blast, and add it or take over what has changed.

    An edit of a blast that was not launched leads it back to draft: what was
    proofed and approved was something else.  Later edits change nothing.
    """
    file = draft.locate(name)
    async with database.connection(desk.pool) as tx:
        known = await _find(tx, name)
    if known is not None:
        file = Path(known.file)
    spec = draft.read(desk.root, file, chosen=desk.settings)
    found = known or await _add(desk, spec, file=str(file))
    try:
        written = await draft.compose(
            desk.root, spec, id=found.id, chosen=desk.settings
        )
    except errors.Invalid:
        if known is None:  # a blast that never was: nothing half done
            async with database.transaction(desk.pool) as tx:
                await blasts.drop(tx, found)
        raise
    if written.hash == found.hash or found.state not in blast.BEFORE_LAUNCH:
        return found, written
    async with database.transaction(desk.pool) as tx:
        found = await blasts.get(tx, found.name)
        if found.hash:
            await blasts.move(
                tx, found, blast.Move.EDIT, actor=desk.actor, why="its files changed"
            )
        await blasts.edit(
            tx, found, spec, hash=written.hash, expires_at=written.expires_at
        )
        await blasts.keep_variants(tx, found.id, written.arms)
        await blasts.keep_links(tx, found.id, written.links)
        return await blasts.get(tx, spec.name), written


async def peek(desk: Desk, name: str) -> tuple[blasts.Blast, Draft]:
    """Read a blast and its files as they are now, and change nothing."""
    async with database.connection(desk.pool) as tx:
        found = await blasts.get(tx, name)
    spec = draft.read(desk.root, Path(found.file), chosen=desk.settings)
    return found, await draft.compose(
        desk.root, spec, id=found.id, chosen=desk.settings
    )


async def _add(desk: Desk, spec: blast.Spec, *, file: str) -> blasts.Blast:
    """Add a blast as a draft of which nothing has been read yet."""
    async with database.transaction(desk.pool) as tx:
        id = await blasts.insert(tx, spec, file=file, hash="", expires_at=None)
        await blasts.audit(
            tx, actor=desk.actor, object=f"blast {id}", action="new", after="draft"
        )
        return await blasts.get(tx, spec.name)


async def _find(tx: database.Connection, name: str) -> blasts.Blast | None:
    try:
        return await blasts.get(tx, name)
    except errors.NotFound:
        return None


async def approve(desk: Desk, name: str, *, why: str | None = None) -> blasts.Blast:
    """Say that exactly this content may go out, and freeze it.

    Raises Conflict when it was not proofed, or did not pass the preflight, as it is.
    """
    found, written = await check(desk, name)
    if found.state is blast.State.PROOFED and found.preflight_hash != found.hash:
        message = (
            f"blast {found.name} has not passed the preflight as it is now: "
            f"mailer blast preflight {found.name}"
        )
        raise errors.Conflict(message)
    async with database.transaction(desk.pool) as tx:
        found = await blasts.get(tx, found.name)
        if found.state is blast.State.PROOFED:
            await blasts.approve(tx, found, body=written.body)
        await blasts.move(tx, found, blast.Move.APPROVE, actor=desk.actor, why=why)
        return await blasts.get(tx, found.name)


async def schedule(
    desk: Desk,
    name: str,
    *,
    now: datetime,
    at: datetime | None = None,
    anyway: bool = False,
) -> blasts.Blast:
    """Have an approved blast start at *at*, else at its send_at.

    Raises Conflict when it is not approved as its files are now, or when it cannot
    be done before it expires, unless told *anyway*; Invalid when there is no such
    moment before it expires.
    """
    found, written = await check(desk, name)
    send_at = at or written.spec.send_at
    if send_at is None:
        message = (
            f"blast {found.name} names no send_at: add it, or give --at, "
            f"or start it now: mailer blast send {found.name}"
        )
        raise errors.Invalid(message)
    return await _schedule(
        desk, found, written, send_at=send_at, now=now, anyway=anyway
    )


async def send(
    desk: Desk, name: str, *, now: datetime, anyway: bool = False
) -> blasts.Blast:
    """Start an approved blast now.  Raises as `schedule` does."""
    found, written = await check(desk, name)
    return await _schedule(desk, found, written, send_at=now, now=now, anyway=anyway)


async def _schedule(
    desk: Desk,
    found: blasts.Blast,
    written: Draft,
    *,
    send_at: datetime,
    now: datetime,
    anyway: bool,
) -> blasts.Blast:
    blast.after(  # what is not approved is told so, whatever the times
        blast.Move.SCHEDULE, state=found.state, resumes=found.resumes, name=found.name
    )
    start = max(send_at, now)
    expires_at = written.expires_at or start + blast.LIFETIME
    if expires_at <= start:
        message = (
            f"blast {found.name} expires at {expires_at.isoformat()}, "
            f"before it would start at {start.isoformat()}"
        )
        raise errors.Invalid(message)
    why = f"for {start.isoformat(timespec='seconds')}"
    async with database.connection(desk.pool) as tx:
        size = await forecasting.audience_of(tx, written.body, topic=found.topic)
        foreseen = await foresee(
            tx, desk, found, written, people=size.owed, start=start, now=now
        )
    if foreseen.is_hopeless and not anyway:
        raise errors.Conflict(foretelling.refusal(found.name, foreseen))
    if foreseen.is_hopeless:
        why += f"; anyway: {foretelling.sentence(foreseen)}"
    async with database.transaction(desk.pool) as tx:
        found = await blasts.get(tx, found.name)
        await blasts.move(tx, found, blast.Move.SCHEDULE, actor=desk.actor, why=why)
        await blasts.schedule(tx, found, send_at=start, expires_at=expires_at)
        return await blasts.get(tx, found.name)


async def foresee(
    tx: database.Connection,
    desk: Desk,
    found: blasts.Blast,
    written: Draft,
    *,
    people: Mapping[str, int],
    start: datetime,
    now: datetime,
) -> Forecast:
    """Say when a blast that is not launched would be done, started at *start*."""
    asked = forecasting.Asked(
        id=found.id,
        people=people,
        pool=written.spec.pool,
        priority=written.spec.priority,
        starts_at=start,
        expires_at=written.expires_at or start + blast.LIFETIME,
    )
    return await forecasting.Forecaster(desk.settings).foresee(tx, asked, now=now)


async def move(
    desk: Desk, name: str, step: blast.Move, *, why: str | None = None
) -> blasts.Blast:
    """Pause, resume or cancel a blast."""
    async with database.transaction(desk.pool) as tx:
        found = await blasts.get(tx, name)
        await blasts.move(tx, found, step, actor=desk.actor, why=why)
        return await blasts.get(tx, name)


async def get(desk: Desk, name: str) -> tuple[blasts.Blast, Sequence[blasts.Entry]]:
    """Return a blast and what was done to it."""
    async with database.connection(desk.pool) as tx:
        found = await blasts.get(tx, name)
        return found, await blasts.history(tx, found)


async def everything(desk: Desk) -> list[blasts.Blast]:
    """Return every blast, the newest first."""
    async with database.connection(desk.pool) as tx:
        return await blasts.everything(tx)
