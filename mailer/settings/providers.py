"""Whether the providers, the rules for their replies and the sources go together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, pairwise
from pathlib import Path

from mailer import errors
from mailer.core import bounce, exchange
from mailer.core.bounce import Action, Rule
from mailer.core.cap import Cap
from mailer.core.provider import OTHER, Provider, Rate, Source, span
from mailer.settings import document

MOST = 100_000  # connections, messages
LONGEST = timedelta(days=7)  # between two attempts: no blast lives longer
FIRST = timedelta(seconds=1)

# Actions that last, and so say for how long.
_LASTING = frozenset({Action.SUSPEND, Action.SINGLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is looked at."""

    providers: Mapping[str, Provider]
    rules: Mapping[str, Rule]
    sources: Mapping[str, Source]
    caps: Mapping[str, Cap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The file of each part, from the workspace."""

    settings: Path
    providers: Path
    bounces: Path


Fault = tuple[str, str]  # key, message


def demand(root: Path, parts: Parts, files: Files) -> None:
    """Raise Invalid with every fault of *parts*, each with file, line and key."""
    problems: list[errors.Problem] = []
    for path, faults in (
        (files.settings, chain(_of_sources(parts), _of_caps(parts))),
        (files.providers, _of_providers(parts.providers)),
        (files.bounces, _of_rules(parts)),
    ):
        found = [
            errors.Problem(file=str(path), key=key, message=message)
            for key, message in faults
        ]
        if not found:
            continue
        places: dict[str, int] = {}
        if (root / path).is_file():
            _, places = document.load(root / path, file=str(path))
        located = document.relocated(errors.Invalid(found), places).problems
        problems += sorted(located, key=lambda one: one.line or 0)
    if problems:
        raise errors.Invalid(problems)


def _of_providers(providers: Mapping[str, Provider]) -> Iterator[Fault]:
    owners: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in providers.values():
        here = f"provider.{one.name}"
        if wrong := exchange.wrong_name(one.name):
            yield here, wrong
        yield from _of_limits(here, one)
        yield from _of_rates(here, one.rate, one.ceiling)
        for key, wrong_in in (
            ("domains", exchange.wrong_domain),
            ("mx", exchange.wrong_suffix),
        ):
            for text in dict.fromkeys(getattr(one, key)):
                owners[key, text].append(one.name)
                if wrong := wrong_in(text):
                    yield f"{here}.{key}", wrong
        if one.name == OTHER and one.mx:
            message = "it receives what no other provider claims: leave mx out"
            yield f"{here}.mx", message
    for (key, text), names in owners.items():
        if len(names) > 1:
            first, *_, last = names
            message = f'"{text}" is in {first} too: take it out of one of them'
            yield f"provider.{last}.{key}", message


def _of_limits(here: str, one: Provider) -> Iterator[Fault]:
    for key in ("connections", "messages"):
        value = getattr(one, key)
        if not 1 <= value <= MOST:
            yield f"{here}.{key}", f"{value}: write a number from 1 to {MOST:,}"
    yield from of_retry(f"{here}.retry", one.retry)


def _of_rates(here: str, rate: Rate, ceiling: Rate) -> Iterator[Fault]:
    if rate.per_second > ceiling.per_second:
        message = (
            f'"{rate}" is above the ceiling of {ceiling}: lower it, or write '
            f'ceiling = "{rate}" too'
        )
        yield f"{here}.rate", message


def of_retry(key: str, waits: tuple[timedelta, ...]) -> Iterator[Fault]:
    """Yield what is wrong with the waits between attempts."""
    for one in waits:
        if not FIRST <= one <= LONGEST:
            yield key, f'"{span(one)}": write waits from "1s" to "7d"'
    for before, after in pairwise(waits):
        if after < before:
            message = (
                f'"{span(after)}" after "{span(before)}": a wait is never shorter than '
                "the one before"
            )
            yield key, message


def _of_rules(parts: Parts) -> Iterator[Fault]:
    every = parts.rules.values()
    for one in every:
        here = f"rule.{one.name}"
        for name in one.providers:
            if name not in parts.providers:
                known = errors.nearest(name, parts.providers)
                yield f"{here}.providers", f'there is no provider "{name}": {known}'
        yield from _of_times(here, one)
        for sample in one.samples:
            if not bounce.is_refusal(sample):
                message = (
                    f"{errors.quote(sample)}: write a reply as a server says it, "
                    '"450 4.2.1 Try again later"'
                )
                yield f"{here}.samples", message
    if all(bounce.is_refusal(sample) for one in every for sample in one.samples):
        for name, message in bounce.misread(every):
            yield f"rule.{name}.samples", message


def _of_times(here: str, one: Rule) -> Iterator[Fault]:
    if one.wait is None and one.action in _LASTING:
        message = f'missing: for how long does it {one.action}?  Write wait = "15m"'
        yield f"{here}.wait", message
    if one.wait is not None and not FIRST <= one.wait <= LONGEST:
        yield f"{here}.wait", f'"{span(one.wait)}": write a wait from "1s" to "7d"'
    if one.suspend_after is not None and one.suspend_after < 1:
        message = f"{one.suspend_after}: write a number of replies, from 1"
        yield f"{here}.suspend_after", message


def _of_sources(parts: Parts) -> Iterator[Fault]:
    for source in parts.sources.values():
        here = f"source.{source.name}"
        if source.rate and source.ceiling:
            yield from _of_rates(here, source.rate, source.ceiling)
        yield from of_retry(f"{here}.retry", source.retry or ())
        for name, limits in source.provider.items():
            below = f"{here}.provider.{name}"
            if name not in parts.providers:
                known = errors.nearest(name, parts.providers)
                yield below, f'there is no provider "{name}": {known}'
            if limits.rate and limits.ceiling:
                yield from _of_rates(below, limits.rate, limits.ceiling)
            yield from of_retry(f"{below}.retry", limits.retry or ())


def _of_caps(parts: Parts) -> Iterator[Fault]:
    providers = {*parts.providers, OTHER}
    for one in parts.caps.values():
        for key, name, known in (
            ("provider", one.provider, providers),
            ("source", one.source, parts.sources),
        ):
            if name is not None and name not in known:
                nearest = errors.nearest(name, known)
                yield f"cap.{one.name}.{key}", f'there is no {key} "{name}": {nearest}'
