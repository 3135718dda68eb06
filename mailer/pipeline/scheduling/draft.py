"""A blast as its files say it now: checked, compiled, hashed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mailer import errors, settings
from mailer.core import audience, blast, segment
from mailer.core.delivery import BlastId
from mailer.mail import header, template

FOLDER = Path("blasts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the files of a blast say, as it would be frozen by an approval."""

    spec: blast.Spec
    file: str
    body: Mapping[str, Any]
    expires_at: datetime | None
    hash: str

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Return name and subject of each variant."""
        return [
            (arm["name"], arm["compiled"]["subject"]) for arm in self.body["variants"]
        ]

    @property
    def links(self) -> list[tuple[int, int, str]]:
        """Return index, variant and destination of each link."""
        return [
            (link["index"], position, link["url"])
            for position, arm in enumerate(self.body["variants"], 1)
            for link in arm["compiled"]["links"]
        ]


def locate(name: str) -> Path:
    """Return the file of the blast called *name*, relative to the workspace."""
    return FOLDER / f"{name}.toml"


def read(root: Path, file: Path, *, chosen: settings.Settings) -> blast.Spec:
    """Read the blast in *file*.  Invalid with every problem; NotFound without it."""
    spec = settings.read(root / file, blast.Spec, file=str(file))
    problems = blast.check(spec, file=str(file))
    if spec.name != file.stem:
        message = f'"{spec.name}": the file is {file.name}, so write "{file.stem}"'
        problems.append(errors.Problem(file=str(file), key="name", message=message))
    problems += _unknown(root, spec, file=str(file), chosen=chosen)
    problems += _unmailable(spec, file=str(file))
    if problems:
        raise errors.Invalid(problems)
    return spec


def _unmailable(spec: blast.Spec, *, file: str) -> list[errors.Problem]:
    """Return what of *spec* is no sender of mail."""
    found: list[errors.Problem] = []
    senders = {"from": spec.from_, "reply_to": spec.reply_to}
    senders |= {f"variant.{arm.name}.from": arm.from_ for arm in spec.variant}
    for key, text in senders.items():
        if text is None:
            continue
        try:
            header.Mailbox.parse(text)
        except errors.Invalid:
            message = f'"{text}": write "Name <name@example.org>"'
            found.append(errors.Problem(file=file, key=key, message=message))
    return found


def _unknown(
    root: Path, spec: blast.Spec, *, file: str, chosen: settings.Settings
) -> list[errors.Problem]:
    """Return the names in *spec* that lead nowhere."""
    found: list[errors.Problem] = []

    def unknown(key: str, name: str, known: list[str], where: str) -> None:
        cure = errors.nearest(name, known) if known else f"see {where}"
        message = f'"{name}" does not exist: {cure}'
        found.append(errors.Problem(file=file, key=key, message=message))

    segments = [*settings.segments(root), segment.EVERYONE]
    for key, name in [("segment", spec.segment)] + [
        ("exclude", n) for n in spec.exclude
    ]:
        if name not in segments:
            unknown(key, name, segments, "mailer segment list")
    folder = root / "templates"
    templates = [one.name for one in folder.iterdir() if one.name != "layouts"]
    for arm in spec.variants:
        if arm.template not in templates:
            key = "template" if arm.template == spec.template else f"variant.{arm.name}"
            unknown(key, str(arm.template), templates, "mailer template list")
    if isinstance(spec.expires_at, str):
        name = spec.expires_at.removeprefix("deadline:")
        if name not in chosen.deadlines:
            unknown("expires_at", name, list(chosen.deadlines), "config/deadlines.toml")
    pools = sorted({source.pool for source in chosen.sources})
    if spec.pool not in pools:
        unknown("pool", spec.pool, pools, "config/settings.toml")
    return found


async def compose(
    root: Path, spec: blast.Spec, *, id: BlastId, chosen: settings.Settings
) -> Draft:
    """Compile what *spec* names, and hash all of it."""
    variants: list[dict[str, Any]] = []
    first = 0
    for position, arm in enumerate(spec.variants, 1):
        compiled = await asyncio.to_thread(
            template.compile,
            root / "templates" / str(arm.template),
            layouts=root / "templates" / "layouts",
            subject=arm.subject,
            own_domains=chosen.links.own_domains,
            refcode=f"em_{id}_{position}",
            first_link=first,
        )
        first += len(compiled.links)
        variants.append(
            {
                "name": arm.name,
                "from": arm.from_ or chosen.organization.from_,
                "template": arm.template,
                "compiled": compiled.document(),
            }
        )
    expires_at = _instant(spec, chosen)
    body = {
        "name": spec.name,
        "topic": spec.topic,
        "segment": spec.segment,
        "exclude": list(spec.exclude),
        "segments": audience.freeze(
            [spec.segment, *spec.exclude], settings.segments(root)
        ),
        "reply_to": spec.reply_to,
        "pool": spec.pool,
        "priority": spec.priority,
        "in_doubt": spec.in_doubt.value,
        "holdout": spec.holdout,
        "send_at": spec.send_at and spec.send_at.isoformat(),
        "expires_at": expires_at and expires_at.isoformat(),
        "metric": (spec.experiment or blast.Experiment()).metric.value,
        "variants": variants,
    }
    return Draft(
        spec=spec,
        file=str(locate(spec.name)),
        body=body,
        expires_at=expires_at,
        hash=blast.digest(body),
    )


def _instant(spec: blast.Spec, chosen: settings.Settings) -> datetime | None:
    if isinstance(spec.expires_at, str):
        return chosen.deadlines[spec.expires_at.removeprefix("deadline:")]
    return spec.expires_at
