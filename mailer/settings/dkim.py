"""Keys that sign mail: files that only their owner may read, named by the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mailer import errors
from mailer.core import signature
from mailer.core.signature import Algorithm
from mailer.settings import document, secret

FOLDER = Path(".mailer", "keys")
BITS = 2048  # RFC 8301 §3.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What a table ``[dkim.NAME]`` holds."""

    name: str
    domain: str
    selector: str
    key: Path  # a PEM file, from the workspace
    lifetime: timedelta | None = None

    def __post_init__(self) -> None:
        for one in (self.domain, self.selector):
            signature.labels(one)


def keys(
    root: Path, signers: Mapping[str, Signer], *, file: Path
) -> tuple[signature.Key, ...]:
    """Read the key of each signer.  Raises Invalid with every problem."""
    found: list[signature.Key] = []
    problems: list[errors.Problem] = []
    for signer in signers.values():
        try:
            key = _read(root, signer)
            if any(one.host == key.host for one in found):
                message = f"{key.host} is there twice: leave one out"
                raise ValueError(message)  # noqa: TRY301 -- collected like the others
            found.append(key)
        except ValueError as error:
            place = f"dkim.{signer.name}.key"
            problems.append(
                errors.Problem(file=str(file), key=place, message=str(error))
            )
    if problems:
        _, places = document.load(root / file, file=str(file))
        raise document.relocated(errors.Invalid(problems), places)
    return tuple(found)


def _read(root: Path, signer: Signer) -> signature.Key:
    """Open a key file.  ValueError says what is wrong with it."""
    cure = (
        "copy it here, or run `mailer keys dkim "
        f"--domain {signer.domain} --selector {signer.selector}`"
    )
    pem = secret.private_file(root, signer.key, cure=cure)
    try:
        return signature.Key(
            name=signer.name,
            domain=signer.domain,
            selector=signer.selector,
            lifetime=signer.lifetime,
            private=signature.private(pem),
        )
    except ValueError as error:
        message = f"{signer.key}: {error}"
        raise ValueError(message) from None


def make(
    root: Path, *, domain: str, selector: str, algorithm: Algorithm
) -> tuple[Path, signature.Key]:
    """Write a new key where nobody else reads it; return its path from *root*.

    Raises Invalid for what is no domain, Conflict when the file is there already.
    """
    try:
        key = signature.Key(
            name=selector.replace(".", "-"),
            domain=domain.lower(),
            selector=selector.lower(),
            private=signature.new(algorithm, bits=BITS),
        )
    except ValueError as error:
        raise errors.Invalid(str(error)) from None
    path = FOLDER / f"{key.selector}.{key.domain}.pem"
    (root / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(root / path, flags, 0o600), "wb") as file:
            file.write(signature.pem(key.private))
    except FileExistsError:
        message = f"{path} is there already: choose another selector, or remove it"
        raise errors.Conflict(message) from None
    return path, key
