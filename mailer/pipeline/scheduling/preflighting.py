"""Preflight: everything that could go wrong on the night, asked before.

It renders the real audience; nothing is sent and nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer import errors
from mailer.core import audience, blast, provider
from mailer.core.delivery import SubscriberId
from mailer.core.forecast import Forecast
from mailer.core.subscriber import Subscriber
from mailer.mail import message, smtp, template
from mailer.pipeline.scheduling import (
    composing,
    forecasting,
    foretelling,
    inspecting,
    moving,
    signing,
)
from mailer.pipeline.scheduling.draft import Draft
from mailer.pipeline.scheduling.finding import Finding
from mailer.pipeline.scheduling.moving import Desk
from mailer.store import alarms, blasts, database, deliveries, processes, subscribers

SAMPLE = 200_000  # messages that are rendered at most; beyond it a sample is
PAGE = 1000
SHOWN = 20  # people named for whom it fails; all are counted
CLIP = 102_000  # bytes of HTML at which Gmail clips
NEAR = 90_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Somebody for whom a message cannot be made."""

    email: str
    variant: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Rendering:
    """What rendering the audience showed."""

    messages: int = 0
    people: int = 0
    failed: int = 0
    largest: int = 0  # bytes of HTML
    first: Subscriber | None = None
    failures: list[Failure] = field(default_factory=list)
    is_sample: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What a preflight found; passed when nothing stands against it."""

    blast: str
    recipients: int
    suppressed: int
    providers: Mapping[str, int]
    is_proofed: bool
    findings: Sequence[Finding]
    failures: Sequence[Failure]
    forecast: Forecast

    @property
    def has_passed(self) -> bool:
        """Tell whether the blast may be approved."""
        return all(one.is_ok or one.is_warning for one in self.findings)


async def preflight(desk: Desk, name: str, *, now: datetime) -> Preflight:
    """Look at everything that a blast needs, and remember when it passed."""
    found, written = await moving.check(desk, name)
    whom = audience.of(written.body, offset=deliveries.SIZE_PARAMETERS)
    async with database.connection(desk.pool) as tx:
        sizes = await deliveries.size_up(tx, whom, topic=found.topic)
        alive = await processes.alive(tx)
        connections = await processes.connections(tx)
        open_alarms = await alarms.open_(tx)
        foreseen = await moving.foresee(
            tx,
            desk,
            found,
            written,
            people=forecasting.owed(sizes, holdout=written.body["holdout"]),
            start=max(written.spec.send_at or now, now),
            now=now,
        )
    people = sum(size.people for size in sizes)
    suppressed = sum(size.suppressed for size in sizes)
    composers = composing.composers(desk, found, written)
    rendering = await render(
        desk, composers, written, topic=found.topic, expected=people - suppressed
    )
    findings = [
        _audience(people - suppressed, suppressed),
        await _templates(desk, written),
        _rendering(rendering),
        _sizes(rendering),
        signing.sign(composers.values(), rendering.first, now=now),
        _times(written, now=now),
        foretelling.finding(foreseen),
        inspecting.disk(desk.root, people),
        inspecting.connections(connections),
        inspecting.processes(alive, desk.settings.fingerprint),
        inspecting.alarms(desk.settings.alarms, open_alarms),
        *await _sources(desk, written),
    ]
    result = Preflight(
        blast=found.name,
        recipients=people - suppressed,
        suppressed=suppressed,
        providers={size.provider: size.people - size.suppressed for size in sizes},
        is_proofed=found.proofed_hash == found.hash,
        findings=findings,
        failures=rendering.failures,
        forecast=foreseen,
    )
    if result.has_passed:
        async with database.transaction(desk.pool) as tx:
            await blasts.mark_preflight(tx, found)
    return result


async def render(
    desk: Desk,
    composers: Mapping[str, message.Composer],
    written: Draft,
    *,
    topic: str,
    expected: int,
) -> Rendering:
    """Make the audience's messages, and throw them away.

    Each person's is made from every template, and with the subject of every variant.
    """
    templates = len({composer.template for composer in composers.values()})
    step = max(1, -(-expected * templates // SAMPLE))
    result = Rendering(is_sample=step > 1)
    whom = audience.of(written.body, offset=deliveries.AUDIENCE_PARAMETERS)
    after = 0
    while True:
        async with database.connection(desk.pool) as tx:
            ids = await deliveries.audience(
                tx, whom, topic=topic, after=after, limit=PAGE
            )
            if not ids:
                return result
            after = ids[-1]
            some: list[SubscriberId] = [id for id in ids if id % step == 0]
            page = await subscribers.by_ids(tx, some)
        await asyncio.to_thread(_render, page, composers, result)


def _render(
    people: Sequence[Subscriber],
    composers: Mapping[str, message.Composer],
    result: Rendering,
) -> None:
    by_template: defaultdict[str, list[int]] = defaultdict(list)
    for number, composer in enumerate(composers.values()):
        by_template[composer.template].append(number)
    for person in people:
        result.first = result.first or person
        result.people += 1
        for number, (name, composer) in enumerate(composers.items()):
            alike = by_template[composer.template]
            # Variants of one template differ in their subjects: one of them is made
            # whole for each person, in turn.
            is_whole = alike[result.people % len(alike)] == number
            try:
                if not is_whole:
                    composer.subject(person)
                    continue
                result.messages += 1
                rendered = composer.render(person)
            except errors.Invalid as error:
                result.failed += 1
                if len(result.failures) < SHOWN:
                    result.failures.append(
                        Failure(email=person.email, variant=name, reason=str(error))
                    )
            else:
                result.largest = max(result.largest, len(rendered.html.encode()))


def _audience(recipients: int, suppressed: int) -> Finding:
    return Finding(
        name="audience",
        is_ok=recipients > 0,
        text=f"{recipients:,} recipients, {suppressed:,} more are suppressed",
    )


async def _templates(desk: Desk, written: Draft) -> Finding:
    """Check the templates; names that people lack show when theirs are made."""
    used: defaultdict[str, set[str]] = defaultdict(set)
    for arm in written.body["variants"]:
        used[arm["template"]].update(arm["compiled"]["names"])
    problems: list[errors.Problem] = []
    for name in sorted(used):
        problems += await asyncio.to_thread(
            template.check,
            desk.root / "templates" / name,
            layouts=desk.root / "templates" / "layouts",
            own_domains=desk.settings.links.own_domains,
            attributes=used[name],
        )
    wrong = [one for one in problems if one.severity is errors.Severity.ERROR]
    text = f"{', '.join(sorted(used))}: nothing is wrong"
    if problems:
        text = "\n".join(str(one) for one in problems)
    return Finding(
        name="templates", is_ok=not problems, is_warning=not wrong, text=text
    )


def _rendering(done: Rendering) -> Finding:
    of = "a sample of the audience" if done.is_sample else "every recipient"
    text = f"{done.messages:,} messages made: {of}, every template and subject"
    if done.failed:
        text += f"; {done.failed:,} cannot be made"
    return Finding(name="rendering", is_ok=done.failed == 0, text=text)


def _sizes(done: Rendering) -> Finding:
    text = f"the largest HTML is {done.largest / 1000:.0f} kB"
    if done.largest >= NEAR:
        text += f"; Gmail clips at {CLIP / 1000:.0f} kB: shorten the template"
    return Finding(
        name="size",
        is_ok=done.largest < CLIP,
        is_warning=done.largest >= NEAR,
        text=text,
    )


def _times(written: Draft, *, now: datetime) -> Finding:
    start = max(written.spec.send_at or now, now)
    end = written.expires_at or start + blast.LIFETIME
    return Finding(name="times", is_ok=end > start, text=foretelling.times(start, end))


async def _sources(desk: Desk, written: Draft) -> list[Finding]:
    """Say hello to each source of the blast's pool."""
    found = []
    for source in desk.settings.sources:
        if source.pool != written.spec.pool:
            continue
        if source.kind is provider.Kind.DIRECT:
            found.append(_direct(source))
            continue
        try:
            session = await smtp.connect(source)
        except smtp.Refused as error:
            text, is_ok = str(error), False
        else:
            await session.quit()
            text, is_ok = f"{source.host}:{source.port} answers", True
            if "deliverby" not in session.extensions:  # RFC 2852
                text += "; what waits there may arrive after the blast's end"
        found.append(Finding(name=f"source {source.name}", is_ok=is_ok, text=text))
    return found


def _direct(source: provider.Source) -> Finding:
    """Look whether *source* sends from here; what is published, `doctor` looks at."""
    is_here = smtp.is_here(source)
    text = f"sends straight to the providers as {source.helo}"
    if source.address is not None:
        text += f" from {source.address}"
    if not is_here:
        text += ", which is no address of this machine: a worker must run where it is"
    return Finding(
        name=f"source {source.name}", is_ok=is_here, is_warning=not is_here, text=text
    )
