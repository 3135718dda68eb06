"""When people, or their providers, want a blast so little that it should wait.

Shares are from 0 to 1, of the messages that were attempted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Reaction(StrEnum):
    """What is counted against a blast."""

    BOUNCES = "bounces"  # refused at once, or accepted and returned
    COMPLAINTS = "complaints"
    UNSUBSCRIBES = "unsubscribes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The shares that are too much, once so much was attempted."""

    bounces: float = 0.10
    complaints: float = 0.003
    unsubscribes: float = 0.03
    least: int = 1000

    def of(self, reaction: Reaction) -> float:
        """Return the limit of one reaction."""
        return {
            Reaction.BOUNCES: self.bounces,
            Reaction.COMPLAINTS: self.complaints,
            Reaction.UNSUBSCRIBES: self.unsubscribes,
        }[reaction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How one provider, or everybody (``""``), took a blast so far."""

    provider: str
    attempted: int
    reactions: Mapping[Reaction, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A share that is over its limit; counted since it was last excused."""

    provider: str  # "": everybody
    reaction: Reaction
    events: int
    attempted: int
    limit: float

    def __str__(self) -> str:
        """Return ``12 of 1,000 messages at google (1.2%) …``."""
        place = f" at {self.provider}" if self.provider else ""
        share = 100 * self.events / self.attempted
        word = {
            Reaction.BOUNCES: "bounced",
            Reaction.COMPLAINTS: "were called spam",
            Reaction.UNSUBSCRIBES: "made people unsubscribe",
        }[self.reaction]
        return (
            f"{self.events:,} of {self.attempted:,} messages{place} {word} "
            f"({share:.2g}%; the limit is {100 * self.limit:.2g}%)"
        )


@dataclass(frozen=True, slots=True)
class Excuse:
    """How much a person has let pass, by resuming a blast that was paused for it."""

    events: int
    attempted: int


def excesses(
    counts: Sequence[Count],
    excused: Mapping[tuple[str, Reaction], Excuse],
    limits: Limits,
) -> list[Excess]:
    """Return what is over its limit: of everybody first, then of each provider."""
    found = []
    for one in (_everybody(counts), *counts):
        for reaction in Reaction:
            known = excused.get((one.provider, reaction), Excuse(0, 0))
            events = one.reactions.get(reaction, 0) - known.events
            attempted = one.attempted - known.attempted
            limit = limits.of(reaction)
            if attempted >= limits.least and events > limit * attempted:
                found.append(
                    Excess(
                        provider=one.provider,
                        reaction=reaction,
                        events=events,
                        attempted=attempted,
                        limit=limit,
                    )
                )
    return found


def _everybody(counts: Iterable[Count]) -> Count:
    kept = list(counts)
    return Count(
        provider="",
        attempted=sum(one.attempted for one in kept),
        reactions={
            what: sum(one.reactions.get(what, 0) for one in kept) for what in Reaction
        },
    )
