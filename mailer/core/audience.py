"""Who is meant by a blast, as it was approved: its segment without its excludes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mailer.core import segment
from mailer.core.segment import Predicate, Segment


def freeze(
    names: Iterable[str], documents: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return the documents of the segments *names* and of all that they refer to."""
    needed = segment.closure(names, _parsed(documents))
    return {name: documents[name] for name in sorted(needed) if name in documents}


def of(body: Mapping[str, Any], *, offset: int = 0) -> Predicate:
    """Return who is meant by an approved content; *offset* parameters come before."""
    known = _parsed(body["segments"])
    return segment.audience(
        body["segment"], known, exclude=body["exclude"], offset=offset
    )


def excluded(body: Mapping[str, Any], *, offset: int = 0) -> Predicate | None:
    """Return who must not get it after all; None when the blast excludes nobody."""
    if not body["exclude"]:
        return None
    known = _parsed(body["segments"])
    return segment.union(body["exclude"], known, offset=offset)


def _parsed(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Segment]:
    return {
        name: segment.parse(name, document, file=f"segments/{name}.toml")
        for name, document in documents.items()
    }
