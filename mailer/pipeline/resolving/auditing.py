"""A list by who receives it, and the domains of it that are odd."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailer import settings
from mailer.core import exchange, segment
from mailer.core.exchange import TAKES_NONE, Receiver, Why
from mailer.core.provider import OTHER
from mailer.pipeline.resolving.asking import Answer, Asker, Progress, rejudge
from mailer.store import database, domains, segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many people of a list a provider receives."""

    provider: str
    people: int
    domains: int
    hinted: int  # people whose hint it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """A domain that is not what its hint says, or that takes no mail."""

    domain: str
    people: int
    hint: str
    provider: str
    why: Why
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A list by provider, and its odd domains: those of most people first."""

    segment: str
    people: int
    domains: int
    cached: int = 0  # domains that were known already
    stale: int = 0  # … of which only what was once so is known
    providers: tuple[Share, ...]
    moved: tuple[Odd, ...]  # hint and live MX disagree
    refusing: tuple[Odd, ...]  # null MX, or neither MX nor address
    unknown: tuple[Odd, ...]  # of which the DNS could not say
    trouble: str  # why the DNS was not asked to the end; "" if it was


async def audit(
    pool: database.Pool,
    chosen: settings.Settings,
    *,
    root: Path,
    name: str,
    fresh: bool = False,
    progress: Progress = lambda done, total: None,
) -> Audit:
    """Count the people of the segment *name* by who receives them; find what is odd.

    What was learned so far is kept if it is cancelled.  Raises NotFound where there
    is no such segment.
    """
    predicate = _predicate(root, name)
    async with database.transaction(pool) as tx:
        rows = await segments.domains(tx, predicate)
    names = list(dict.fromkeys(one.domain for one in rows))
    async with database.connection(pool) as tx:
        kept = {} if fresh else await domains.known(tx, names)
    hints = exchange.hints(chosen.providers)
    answers = {
        one.name: rejudge(one, hints.get(one.name, OTHER), chosen.providers)
        for one in kept.values()
        if one.is_good
    }
    cached = len(answers)
    asker = Asker(pool=pool, chosen=chosen, answers=answers, progress=progress)
    trouble = await asker.ask([one for one in names if one not in answers])
    last = {  # of which the DNS could not say now, and could once
        one.name: rejudge(one, hints.get(one.name, OTHER), chosen.providers)
        for one in kept.values()
        if one.name not in answers
    }
    found = _summed(name, rows, {**last, **answers}, trouble=trouble)
    return replace(found, cached=cached, stale=len(last))


def _predicate(root: Path, name: str) -> segment.Predicate:
    known = {
        **segment.BUILT_IN,
        **{
            one: segment.parse(one, body, file=str(settings.SEGMENTS / f"{one}.toml"))
            for one, body in settings.segments(root).items()
        },
    }
    return segment.predicate(segment.get(name, known), known)


def _summed(
    name: str,
    rows: Sequence[segments.AtDomain],
    answers: Mapping[str, Answer],
    *,
    trouble: str,
) -> Audit:
    people: Counter[str] = Counter()
    hinted: Counter[str] = Counter()
    places: defaultdict[str, set[str]] = defaultdict(set)
    odd: dict[str, list[Odd]] = {"moved": [], "refusing": [], "unknown": []}
    for row in rows:
        hinted[row.provider] += row.people
        answer = answers.get(row.domain)
        judged = (
            answer.receiver
            if answer
            else Receiver(provider=row.provider, why=Why.HINT, claims={})
        )
        one = Odd(
            domain=row.domain,
            people=row.people,
            hint=row.provider,
            provider=judged.provider,
            why=judged.why,
            said=exchange.sentence(judged.why, judged.provider, judged.claims),
        )
        if judged.why is Why.HINT:
            odd["unknown"].append(one)
        elif judged.why in TAKES_NONE:
            odd["refusing"].append(one)
            continue  # nobody receives them
        elif judged.provider != row.provider:
            odd["moved"].append(one)
        people[judged.provider] += row.people
        places[judged.provider].add(row.domain)
    shares = [
        Share(
            provider=one,
            people=people[one],
            domains=len(places[one]),
            hinted=hinted[one],
        )
        for one in {*people, *hinted}
    ]
    return Audit(
        segment=name,
        people=sum(row.people for row in rows),
        domains=len({row.domain for row in rows}),
        providers=tuple(sorted(shares, key=lambda one: (-one.people, one.provider))),
        moved=tuple(odd["moved"]),
        refusing=tuple(odd["refusing"]),
        unknown=tuple(odd["unknown"]),
        trouble=trouble,
    )
