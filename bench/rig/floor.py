"""What no worker can do without, measured alone."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from mailer.core.delivery import BlastId
from mailer.core.subscriber import Subscriber
from mailer.mail import message, template
from mailer.store import blasts, database, subscribers
from rig import given, worker
from rig.given import MICRO, Figures, Given

PEOPLE = 200  # in turns
ROUNDS = 2000  # of each step, at most


def floor(asked: Given) -> Figures:
    """Measure what every worker must do, and the whole of composing."""
    composer, people = asyncio.run(read(asked))
    known = contexts(composer, people)
    letters = [written(composer, person, seq) for seq, person in enumerate(people, 1)]
    bodies = [letter.data for letter in letters]
    file = Path(asked.folder) / "message"
    file.write_bytes(bodies[0].replace(b"\r\n", b"\n"))
    key, clear = worker.private(asked), b"x" * 1500
    pairs = list(enumerate(people, 1))
    rounds = min(asked.messages, ROUNDS)
    return {
        "bytes": mean(map(len, bodies)),
        "render": cost(composer.renderer.render, known, rounds=rounds),
        "sha256": cost(lambda data: sha256(data).digest(), bodies, rounds=rounds),
        "rsa": cost(
            lambda _: key.sign(clear, padding.PKCS1v15(), hashes.SHA256()),
            bodies,
            rounds=rounds,
        ),
        "compose": cost(
            lambda pair: written(composer, pair[1], pair[0]), pairs, rounds=rounds
        ),
    }


def size(asked: Given) -> float:
    """Return the bytes of a message, on average."""
    composer, people = asyncio.run(read(asked))
    letters = [written(composer, person, 1) for person in people]
    return mean(len(letter.data) for letter in letters)


def cost(step: Callable[[Any], object], values: Sequence[Any], *, rounds: int) -> float:
    """Return the CPU of *step*, in microseconds."""
    for value in values[:rounds]:
        step(value)  # caches fill
    begun = time.process_time()
    for number in range(rounds):
        step(values[number % len(values)])
    return (time.process_time() - begun) / rounds * MICRO


async def read(asked: Given) -> tuple[message.Composer, list[Subscriber]]:
    """Return what a worker would: the composer of the blast, and some people."""
    async with (
        database.opened(asked.url, size=1) as pool,
        database.connection(pool) as tx,
    ):
        body = await blasts.content(tx, asked.hash)
        ids = await tx.raw.fetch(
            "SELECT id FROM subscriber ORDER BY id LIMIT $1", PEOPLE
        )
        people = await subscribers.by_ids(tx, [row["id"] for row in ids])
    shared = message.Blast(
        id=BlastId(1),
        name=body["name"],
        topic=body["topic"],
        organization=given.ORGANIZATION,
        public_url=given.PUBLIC,
        ring=given.RING,
        signers=worker.signers(asked),
    )
    arm = body["variants"][0]
    compiled = template.Compiled.from_document(arm["compiled"])
    composer = message.Composer(compiled, blast=shared, variant=1, sender=arm["from"])
    return composer, people


def contexts(
    composer: message.Composer, people: Sequence[Subscriber]
) -> list[dict[str, Any]]:
    """Return what the templates are rendered with."""
    return [
        dict(composer._context(person))  # noqa: SLF001 -- what it renders with
        for person in people
    ]


def written(composer: message.Composer, person: Subscriber, seq: int) -> message.Letter:
    """Compose one message."""
    return composer.compose(person, seq=seq, date=given.NOW + timedelta(seconds=seq))


def posting(asked: Given) -> float:
    """Have smtp-source send the same bytes; return its CPU, in microseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [
            given.tool("smtp-source"), "-4", "-d",
            "-s", str(asked.connections), "-m", str(asked.messages),
            "-f", "jo@example.org", "-t", "demo.1@example.org",
            "-F", str(Path(asked.folder) / "message"),
            f"127.0.0.1:{asked.port}",
        ],
        check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used / asked.messages * MICRO
