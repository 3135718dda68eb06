"""Providers, what their replies mean, and how their lanes stand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailer import errors, settings
from mailer.core import bounce, meaning, provider
from mailer.core.bounce import Answered, Rule
from mailer.core.delivery import Reply, Stage
from mailer.core.meaning import Likeness, Meaning
from mailer.core.provider import Provider, Rate, Source
from mailer.mail import reply as replies
from mailer.store import blasts, database, lanes

_IDENTITY = frozenset({"name", "domains", "mx"})
LONGEST = 4000  # characters of a reply

# At which a server may refuse, by the names that people use.
STAGES = {
    stage.name.lower(): stage
    for stage in Stage
    if stage not in {Stage.BODY, Stage.DONE}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A provider: how it is recognised, what it bears, and what of that is yours."""

    name: str
    mx: tuple[str, ...]
    domains: tuple[str, ...]
    limits: Mapping[str, Any]  # by the keys of the file, as it would write them
    changed: tuple[str, ...]  # keys that the workspace, or the source, says


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A provider in full: its limits for each source, and what its replies mean."""

    provider: Listed
    sources: Mapping[str, Listed]  # by name, those for which something differs
    rules: tuple[Rule, ...]  # its own, in the order in which they are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a reply means."""

    reply: str
    provider: str
    stage: str
    outcome: str
    rule: str | None  # None: accepted, or no refusal
    known: bool  # whether a rule of the files matched, or the code alone decided
    source: str  # whose page says so
    scope: str
    about: str
    action: str
    wait: str | None
    meaning: Meaning
    samples: tuple[Likeness, ...]
    elsewhere: tuple[str, ...]  # "yahoo: yahoo-ts04", rules of others that know it


def listed(chosen: settings.Settings, *, source: str | None = None) -> list[Listed]:
    """List the providers; with *source*, as they are for that one.  NotFound."""
    found = _source(chosen, source) if source else None
    shipped = _shipped()
    return [_listed(one, found, shipped) for one in chosen.providers]


def show(chosen: settings.Settings, name: str) -> Shown:
    """Say all of one provider.  NotFound when there is none of that name."""
    known = {one.name: one for one in chosen.providers}
    found = known.get(_demand(name, known))
    assert found is not None
    shipped = _shipped()
    plain = _listed(found, None, shipped)
    by_source = {
        one.name: _listed(found, one, shipped)
        for one in chosen.sources
        if provider.limited(found, one) != found
    }
    rules = tuple(one for one in chosen.bounces.rules if name in one.providers)
    return Shown(provider=plain, sources=by_source, rules=rules)


def document(found: Shown) -> Mapping[str, Any]:
    """Return all of one provider as JSON can hold it."""
    rules = [
        {
            one.name: word(getattr(rule, one.name))
            for one in dataclasses.fields(rule)
            if one.init
        }
        for rule in found.rules
    ]
    return {"provider": found.provider, "sources": found.sources, "rules": rules}


def _demand(name: str, known: Mapping[str, object]) -> str:
    """Return *name* if it is one of *known*.  Raises NotFound."""
    if name not in known:
        near = errors.nearest(name, known)
        raise errors.NotFound(f"there is no provider {errors.quote(name)}: {near}")
    return name


def _source(chosen: settings.Settings, name: str) -> Source:
    for one in chosen.sources:
        if one.name == name:
            return one
    near = errors.nearest(name, [one.name for one in chosen.sources])
    raise errors.NotFound(f"there is no source {errors.quote(name)}: {near}")


def _shipped() -> Mapping[str, Provider]:
    path = settings.shipped(settings.PROVIDERS)
    read = settings.read(path, settings.Providers, file=str(settings.PROVIDERS))
    return read.provider


def _listed(
    found: Provider, source: Source | None, shipped: Mapping[str, Provider]
) -> Listed:
    held = provider.limited(found, source) if source else found
    before = shipped.get(found.name) or Provider(name=found.name)
    names = [one.name for one in dataclasses.fields(Provider) if one.name != "name"]
    return Listed(
        name=found.name,
        mx=held.mx,
        domains=held.domains,
        limits={
            name: word(getattr(held, name)) for name in names if name not in _IDENTITY
        },
        changed=tuple(
            name for name in names if getattr(held, name) != getattr(before, name)
        ),
    )


def word(value: object) -> Any:
    """Return a value as its file would write it, or a number."""
    if isinstance(value, timedelta):
        return provider.span(value)
    if isinstance(value, Rate):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [word(one) for one in value]
    return value if value is None or isinstance(value, (int, float)) else str(value)


# ── What a reply means ──────────────────────────────────────────────────────


def explain(
    chosen: settings.Settings,
    text: str,
    *,
    name: str = provider.OTHER,
    stage: str = "dot",
    source: str | None = None,
) -> Explained:
    """Say what the reply *text* of the provider *name* means, at *stage*.

    The waits are those of *source*, else of the provider.  Raises NotFound, and
    Invalid where *text* is no reply.
    """
    known = {one.name: one for one in chosen.providers}
    found = known[_demand(name, known)]
    if source:
        found = provider.limited(found, _source(chosen, source))
    said = parsed(text)
    end = Answered(stage=STAGES[stage], reply=said)
    verdict = bounce.judge(end, provider=name, rules=chosen.bounces)
    rules = chosen.bounces.rules
    rule = next((one for one in rules if one.name == verdict.rule), None)
    is_refusal = said.code >= 400
    others = meaning.elsewhere(said, name, chosen.bounces) if is_refusal else []
    return Explained(
        reply=str(said),
        provider=name,
        stage=stage,
        outcome=type(verdict.outcome).__name__.lower(),
        rule=verdict.rule,
        known=rule is not None,
        source=rule.source if rule else "",
        scope=verdict.scope.value,
        about=meaning.SCOPES[verdict.scope],
        action=verdict.action.value,
        wait=provider.span(verdict.wait) if verdict.wait else None,
        meaning=meaning.meaning(verdict, retry=found.retry or chosen.retry),
        samples=tuple(
            meaning.alike(said, rules, only=rule.name if rule else None)
            if is_refusal
            else ()
        ),
        elsewhere=tuple(f"{', '.join(one.providers)}: {one.name}" for one in others),
    )


def parsed(text: str) -> Reply:
    """Read a reply as a server says it or a log shows it; lines may be many.

    Raises Invalid where it is none.
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines or len(text) > LONGEST:
        what = "nothing" if not lines else f"{len(text):,} characters"
        raise _no_reply(what)
    last = lines[-1].strip()
    # Of a reply that is cut off, or written as one line, what is there counts.
    lines[-1] = f"{last[:3]} {last[4:]}" if last[3:4] == "-" else last
    raw = "".join(f"{line.strip()}\r\n" for line in lines).encode("utf-8", "replace")
    try:
        found = list(replies.Reader().feed(raw))
    except replies.ProtocolError as error:
        raise _no_reply(errors.quote(text.strip()), str(error)) from error
    if len(found) != 1:
        raise _no_reply(f"{len(found)} replies")
    return found[0]


def _no_reply(what: str, why: str = "") -> errors.Invalid:
    cure = 'write one as the server said it: "421 4.7.28 Our system has detected …"'
    if why.startswith("a reply"):
        cure = f"{why}: {cure}"
    return errors.Invalid(f"{what} is no SMTP reply: {cure}")


# ── Lanes ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A lane as it stands."""

    provider: str
    source: str
    pool: str
    mode: str
    rate: str  # as a file would write it
    per_second: float | None  # None: unlimited
    taken: int  # connections that are open
    connections: int  # … that may be
    not_before: datetime | None  # closed until then; None: open
    reason: str | None  # the reply that led to it


async def lanes_of(
    pool: database.Pool,
    chosen: settings.Settings,
    *,
    name: str | None = None,
    source: str | None = None,
) -> list[Lane]:
    """Return the lanes, of one provider or one source if it is given.

    Raises NotFound where neither the settings nor a lane have that name.
    """
    async with database.connection(pool) as tx:
        found = await lanes.everything(tx)
        now = await blasts.clock(tx)
    if name is not None:
        known = [one.name for one in chosen.providers]
        _demand(name, dict.fromkeys([*known, *(one.provider for one in found)]))
    if source is not None and source not in {one.source for one in found}:
        _source(chosen, source)
    return [
        _lane(one, now)
        for one in found
        if name in {None, one.provider} and source in {None, one.source}
    ]


def _lane(one: lanes.Lane, now: datetime) -> Lane:
    rate = Rate(math.inf if one.rate is None else one.rate)
    return Lane(
        provider=one.provider,
        source=one.source,
        pool=one.pool,
        mode=one.mode,
        rate=str(rate),
        per_second=one.rate,
        taken=one.taken,
        connections=one.connections,
        not_before=one.not_before if one.not_before > now else None,
        reason=one.reason,
    )
