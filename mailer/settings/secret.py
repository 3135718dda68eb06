"""Secrets: from the environment, or from a file that it names, and nowhere else."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from mailer import errors
from mailer.core import tracking

KEY_BYTES = 32  # AES-SIV takes 32, 48 or 64; 32 is AES-128 twice (RFC 5297)
KEY_IDS = range(1, 256)  # one byte of a token
RING = Path(".mailer", "keys", "tracking")


def get(name: str, *, environment: Mapping[str, str]) -> str | None:
    """Return the secret *name*, or None: from NAME, else the file in NAME_FILE.

    Raises Invalid when both are set, or the file cannot be read.
    """
    file = environment.get(f"{name}_FILE")
    if file is None:
        return environment.get(name) or None
    if name in environment:
        message = f"{name} and {name}_FILE are both set: leave one out"
        raise errors.Invalid(message)
    try:
        return Path(file).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name}_FILE: {file}: cannot be read ({type(error).__name__})"
        raise errors.Invalid(message) from None


def private_file(root: Path, path: Path, *, cure: str) -> bytes:
    """Return what the file *path* below *root* holds, which nobody else may read.

    ValueError says what is wrong; *cure* is what to do when there is no such file.
    """
    full = root / path
    try:
        mode = full.stat().st_mode
        held = full.read_bytes()
    except FileNotFoundError:
        message = f"{path}: no such file: {cure}"
        raise ValueError(message) from None
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ValueError(message) from None
    if stat.S_IMODE(mode) & 0o077:
        message = f"{path}: others may read it: run `chmod 600 {full}`"
        raise ValueError(message)
    return held


def ring(root: Path, *, environment: Mapping[str, str]) -> tracking.Ring:
    """Return the keys of tokens: MAILER_TRACKING_KEYS, else the workspace's file.

    Raises Invalid when the keys are wrong or others may read the file.
    """
    given = get("MAILER_TRACKING_KEYS", environment=environment)
    if given is not None:
        return parse(given, place="MAILER_TRACKING_KEYS")
    path = root / RING
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        message = f"{RING}: no keys for links yet: run `mailer init {root}`"
        raise errors.NotFound(message) from None
    if stat.S_IMODE(mode) & 0o077:
        message = f"{RING}: others may read it: run `chmod 600 {path}`"
        raise errors.Invalid(message)
    return parse(text, place=str(RING))


def parse(text: str, *, place: str) -> tracking.Ring:
    """Read ``id:hex`` lines; the last one signs, all of them open tokens."""
    keys: dict[int, bytes] = {}
    problems = []
    current = 0
    words = [
        (number, word.strip())
        for number, line in enumerate(text.splitlines(), 1)
        for word in line.partition("#")[0].split(",")
        if word.strip()
    ]
    for number, word in words:
        try:
            current, key = _key(word)
        except ValueError as error:
            problems.append(errors.Problem(file=place, line=number, message=str(error)))
            continue
        if current in keys:
            message = f"key {current} is there twice: give each its own number"
            problems.append(errors.Problem(file=place, line=number, message=message))
        keys[current] = key
    if not keys and not problems:
        problems.append(errors.Problem(file=place, message="no key: write 1:<64 hex>"))
    if problems:
        raise errors.Invalid(problems)
    return tracking.Ring(keys=keys, current=current)


def _key(word: str) -> tuple[int, bytes]:
    """Read one ``id:hex``.  ValueError, without the key in it."""
    name, colon, code = word.partition(":")
    if not colon or not name.strip().isascii() or not name.strip().isdigit():
        message = "no key: write a number from 1 to 255, a colon, and 64 hex digits"
        raise ValueError(message)
    number = int(name)
    if number not in KEY_IDS:
        message = f"key {number}: the number must be from 1 to 255"
        raise ValueError(message)
    try:
        key = bytes.fromhex(code.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        message = f"key {number}: write 64 hex digits, 32 random bytes"
        raise ValueError(message)
    return number, key


def new_ring() -> str:
    """Return the text of a new key file."""
    return (
        "# Keys of the links in messages, number:hex.  The last one signs.  Keep the\n"
        "# others while an old message may be opened.  Copy to every machine.\n"
        f"1:{secrets.token_hex(KEY_BYTES)}\n"
    )


def rotate(
    root: Path, *, environment: Mapping[str, str], prepare: bool = False
) -> tuple[int, bool]:
    """Add a key to the workspace's file; return its number, and whether it signs now.

    With *prepare* the new key only opens tokens, so that every machine can have it
    before one signs with it; the next time, it signs.  No key is ever taken out.
    Raises Conflict when the keys are in the environment.
    """
    if get("MAILER_TRACKING_KEYS", environment=environment) is not None:
        message = "MAILER_TRACKING_KEYS holds the keys: add one there, the last signs"
        raise errors.Conflict(message)
    known = ring(root, environment=environment)
    path = root / RING
    text = path.read_text("utf-8")
    if text and not text.endswith("\n"):
        text += "\n"
    waiting = [number for number in known.keys if number > known.current]
    number = max(waiting) if waiting else max(known.keys) + 1
    if number not in KEY_IDS:
        raise errors.Conflict(f"{RING}: all numbers up to {KEY_IDS[-1]} are used")
    if waiting and prepare:
        raise errors.Conflict(f"{RING}: key {number} is prepared already")
    line = f"{number}:{secrets.token_hex(KEY_BYTES)}\n"
    signing = f"{known.current}:{known.keys[known.current].hex()}\n"
    if waiting:  # it moves to the end
        line = f"{number}:{known.keys[number].hex()}\n"
        text = text.replace(line, "")
    text = text.replace(signing, line + signing) if prepare else text + line
    parse(text, place=str(RING))  # before anything is replaced
    draft = path.with_suffix(".new")
    draft.touch(0o600)
    draft.write_text(text, "utf-8")
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    return number, not prepare
