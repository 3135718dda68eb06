"""A template as it is stored with its approval: Jinja sources and a link table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from mailer.mail import links

Link = links.Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The parts of a message, after MJML, CSS and link numbering."""

    subject: str
    preheader: str
    html: str
    text: str
    links: tuple[Link, ...] = ()
    names: frozenset[str] = frozenset()  # what a person's context must have or default

    def document(self) -> dict[str, Any]:
        """Return what JSON knows, always in the same order: it is hashed."""
        return asdict(self) | {
            "links": [
                {"index": k.index, "url": k.url, "values": list(k.values)}
                for k in self.links
            ],
            "names": sorted(self.names),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Compiled:
        """Return the template that `document` came from."""
        return cls(
            subject=document["subject"],
            preheader=document["preheader"],
            html=document["html"],
            text=document["text"],
            links=tuple(
                Link(index=k["index"], url=k["url"], values=tuple(k["values"]))
                for k in document["links"]
            ),
            names=frozenset(document["names"]),
        )


class Rendered(NamedTuple):
    """A message for one person, before it is MIME."""

    subject: str
    html: str
    text: str
    preheader: str = ""
    is_fit: bool = False  # the HTML has, as ASCII, lines as mail has them: none too
    # long, none that begins with a dot: it may go on the wire as it is
