"""A blast as an approval freezes it, and its launch."""

from __future__ import annotations

from mailer.core import blast
from mailer.mail import template
from mailer.pipeline import launching
from mailer.store import blasts, database
from rig import given
from rig.given import Figures

INSERT = """
INSERT INTO blast (
    name, state, topic, file, hash, proofed_hash, approved_hash, send_at, expires_at
)
VALUES ($1, 'scheduled', $2, 'bench', $3, $3, $3, mailer_now(), mailer_now() + '1 day')
"""


async def launched(
    pool: database.Pool, name: str = "bench", *, letter: str = "letter"
) -> tuple[int, str]:
    """Launch a blast to everybody, held back until `worker.released`.

    Returns what is owed, and the hash of its content.
    """
    hash = await scheduled(pool, name, letter=letter)
    launched = await launching.launch(pool, name)
    async with database.connection(pool) as tx:
        await tx.raw.execute("UPDATE round SET released_at = NULL")
        await tx.raw.execute("VACUUM (ANALYZE) delivery, chunk")
        await tx.raw.execute("CHECKPOINT")
    return launched.owed, hash


async def scheduled(
    pool: database.Pool, name: str, *, letter: str = "letter", variants: int = 1
) -> str:
    """Schedule a blast to everybody, and return the hash of its content."""
    body = content(name, letter=letter, variants=variants)
    hash = blast.digest(body)
    async with database.transaction(pool) as tx:
        await blasts.keep(tx, hash, body)
        await tx.raw.execute(INSERT, name, body["topic"], hash)
        found = await blasts.get(tx, name)
        arms = [(arm["name"], letter) for arm in body["variants"]]
        await blasts.keep_variants(tx, found.id, arms)
        links = body["variants"][0]["compiled"]["links"]
        await blasts.keep_links(
            tx, found.id, [(link["index"], 1, link["url"]) for link in links]
        )
    return hash


def content(name: str, *, letter: str, variants: int) -> Figures:
    """Return what an approval keeps."""
    compiled = template.compile(
        given.BENCH / letter, layouts=given.BENCH.parent / "templates/layouts"
    )
    arm = {"from": given.FROM, "compiled": compiled.document()}
    return {
        "name": name,
        "topic": "news",
        "segment": "everyone",
        "exclude": [],
        "segments": {},
        "reply_to": None,
        "pool": "default",
        "priority": 0,
        "in_doubt": "hold",
        "holdout": 0.0,
        "send_at": None,
        "expires_at": None,
        "metric": "clicks",
        "variants": [{"name": f"arm {at}", **arm} for at in range(1, variants + 1)],
    }
