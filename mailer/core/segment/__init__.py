"""Segments: who is meant, as files say it, as SQL and as a sentence."""

from mailer.core.segment.grammar import parse
from mailer.core.segment.query import FROM, Predicate, audience, predicate, union
from mailer.core.segment.sentence import describe
from mailer.core.segment.tree import BUILT_IN, EVERYONE, Segment, check, closure, get

__all__ = [
    "BUILT_IN",
    "EVERYONE",
    "FROM",
    "Predicate",
    "Segment",
    "audience",
    "check",
    "closure",
    "describe",
    "get",
    "parse",
    "predicate",
    "union",
]
