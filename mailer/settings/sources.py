"""What sends: the tables ``[source.NAME]``, with their passwords and certificates."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailer import errors
from mailer.core.provider import Kind, Source, Tls
from mailer.settings import document, secret

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # becomes the name of a variable
_HOST = Source(name="").host


def complete(
    root: Path,
    sources: Mapping[str, Source],
    *,
    file: Path,
    environment: Mapping[str, str],
) -> tuple[Source, ...]:
    """Give each source its password and its files.  Raises Invalid with every problem.

    A problem's line is that of its key in *file*.
    """
    problems = [
        errors.Problem(
            file=str(file), key=f"source.{source.name}.{key}", message=message
        )
        for source in sources.values()
        for key, message in (*_misfits(source), *_unreadable(root, source))
    ]
    if problems:
        _, places = document.load(root / file, file=str(file))
        raise document.relocated(errors.Invalid(problems), places)
    return tuple(
        dataclasses.replace(
            source,
            password=_password(source, environment=environment),
            certificate=source.certificate and str(root / source.certificate),
            key=source.key and str(root / source.key),
        )
        for source in sources.values()
    )


def shared(source: Source) -> Source:
    """Return what of *source* is the same on every machine: files lie elsewhere."""
    return dataclasses.replace(source, certificate=None, key=None)


def _password(source: Source, *, environment: Mapping[str, str]) -> str | None:
    name = f"MAILER_SOURCE_{source.name.upper().replace('-', '_')}_PASSWORD"
    return secret.get(name, environment=environment)


def _misfits(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the keys that do not go together, and why."""
    if not _NAME.fullmatch(source.name):
        yield (
            "name",
            f"{errors.quote(source.name)} has no variable for its password: use "
            'letters, digits, "-" and "_", as in [source.relay-2]',
        )
    if source.key is not None and source.certificate is None:
        yield "key", "a key without a certificate: set certificate too, or leave it out"
    if source.certificate is not None and source.tls is Tls.NONE:
        yield "certificate", 'nobody sees it without TLS: write tls = "required"'
    if source.kind is Kind.RELAY:
        return
    helo = source.helo or ""
    if "." not in helo.strip(".") or helo.replace(".", "").isdigit() or ":" in helo:
        yield (
            "helo",
            f"{errors.quote(helo) if helo else 'missing'}: a direct source says its "
            "full name, the one that the PTR of its address has: "
            'write helo = "mail.example.org"',
        )
    if source.host != _HOST:
        yield "host", 'a direct source asks the DNS for hosts: leave it out, or "relay"'
    for key in ("user", "certificate"):
        if getattr(source, key) is not None:
            yield key, "nobody logs in to the hosts of providers: leave it out"


def _unreadable(root: Path, source: Source) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the certificate and its key."""
    if source.certificate is None:
        return
    holder = source.key or source.certificate  # one PEM file may hold both
    key = "key" if source.key else "certificate"
    if source.key is not None and not (root / source.certificate).is_file():
        yield "certificate", f"{source.certificate}: no such file: copy it here"
        return
    try:
        secret.private_file(root, Path(holder), cure="copy it here")
        _demand_pair(root, source)
    except ValueError as error:
        yield key, str(error)


def _demand_pair(root: Path, source: Source) -> None:
    """Load certificate and key as TLS will.  ValueError says why they do not go."""
    import ssl  # 10 ms: not for every command

    assert source.certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(
            root / source.certificate,
            root / source.key if source.key else None,
            password=lambda: "",  # else it asks at the terminal
        )
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{source.key or source.certificate}: not that certificate's key"
        else:
            message = (
                f"{source.certificate}: needs a PEM certificate and its key, which "
                f"has no passphrase ({error.reason or 'no PEM'})"
            )
        raise ValueError(message) from None
