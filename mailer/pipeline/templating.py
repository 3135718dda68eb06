"""See, check and preview the templates of a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer import errors, settings
from mailer.core import subscriber
from mailer.mail import compiled, message, sample, source, template, trial
from mailer.mail.compiler import read_meta
from mailer.store import database, subscribers

LAYOUTS = "layouts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A template as the list shows it."""

    name: str
    describes: str
    subject: str
    problem: str | None = None  # why its meta.toml can't be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A template and what is wrong with it."""

    name: str
    problems: tuple[errors.Problem, ...]

    @property
    def is_right(self) -> bool:
        """Tell whether nothing stands against sending it."""
        return all(p.severity is errors.Severity.WARNING for p in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A message as somebody would get it; its links lead where they say."""

    name: str
    person: str
    subject: str
    preheader: str
    html: str
    text: str
    links: tuple[compiled.Link, ...]


def listed(root: Path) -> list[Listed]:
    """Return the templates of the workspace, by name."""
    return [_listed(root, name) for name in _names(root)]


async def check(
    root: Path, chosen: settings.Settings, *, names: Sequence[str] = ()
) -> list[Checked]:
    """Check the templates *names*, or all.  Raises NotFound for an unknown one."""
    found = []
    for folder in [_folder(root, name) for name in names or _names(root)]:
        problems = await asyncio.to_thread(
            template.check,
            folder,
            layouts=root / "templates" / LAYOUTS,
            own_domains=chosen.links.own_domains,
        )
        found.append(Checked(name=folder.name, problems=tuple(problems)))
    return found


async def preview(
    root: Path, chosen: settings.Settings, *, name: str, person: Mapping[str, object]
) -> Preview:
    """Render the template *name* for the *person* whose values are given.

    Raises NotFound when there is no such template, Invalid when it can't be compiled
    or rendered.
    """
    compiled_ = await asyncio.to_thread(
        template.compile,
        _folder(root, name),
        layouts=root / "templates" / LAYOUTS,
        own_domains=chosen.links.own_domains,
        refcode="preview",
    )
    known = {**sample.SHARED, **chosen.organization.words, **person}
    letter = trial.rendered(template.Renderer(compiled_), known)
    return Preview(
        name=name,
        person=str(person["email"]),
        subject=letter.subject,
        preheader=letter.preheader,
        html=letter.html,
        text=letter.text,
        links=compiled_.links,
    )


def fictional() -> Mapping[str, object]:
    """Return the values of a person who does not exist."""
    return sample.DONOR


async def real(pool: database.Pool, *, email: str) -> Mapping[str, object]:
    """Return the values of the subscriber with the address *email*.

    Raises NotFound when nobody has it, Invalid when it is no address.
    """
    address = subscriber.normalise(email).address
    async with database.transaction(pool) as tx:
        return message.context(await subscribers.get(tx, address=address))


def _names(root: Path) -> list[str]:
    folder = root / "templates"
    if not folder.is_dir():
        raise errors.NotFound(f"{folder}: no such folder")
    return sorted(
        one.name for one in folder.iterdir() if one.is_dir() and one.name != LAYOUTS
    )


def _folder(root: Path, name: str) -> Path:
    names = _names(root)
    if name not in names:
        cure = errors.nearest(name, names)
        raise errors.NotFound(f"there is no template {name}: {cure}")
    return root / "templates" / name


def _listed(root: Path, name: str) -> Listed:
    folder = source.Folder(
        own=root / "templates" / name, layouts=root / "templates" / LAYOUTS
    )
    try:
        meta = read_meta(folder)
    except errors.Invalid as error:
        return Listed(name=name, describes="", subject="", problem=str(error))
    return Listed(
        name=name,
        describes=meta.get("describes", ""),
        subject=meta.get("subject", ""),
    )
