"""What a worker remembers of people about whom something changed."""

from datetime import timedelta
from uuid import UUID

from mailer.core.delivery import BlastId
from mailer.pipeline.sending import watch
from mailer.pipeline.sending.leases import Leases
from mailer.store import chunks, database
from tests import given

ADA = "ada@example.org"
CHUNK = chunks.Chunk(
    id=1,
    blast_id=BlastId(1),
    round=1,
    provider="other",
    pool="default",
    attempt=0,
    first_seq=1,
    last_seq=10,
    seqs=None,
    epoch=1,
    started_through=3,
)


def watching(db: database.Pool) -> watch.Watch:
    return watch.Watch(pool=db, owner="ours", leases=Leases(), identity=UUID(int=1))


def asks(one: watch.Watch, address: str, *, since: int) -> bool:
    return one.has_changed(
        subscriber=0, address=address, domain="example.org", since=since
    )


async def test_what_every_chunk_has_read_itself_is_forgotten(
    db: database.Pool,
) -> None:
    ours = watching(db)
    ours.leases.take(CHUNK, asked=0.0, look=ours.looks)
    await given.suppression(db, ADA)

    await ours.look()
    assert asks(ours, ADA, since=0)
    ours.leases.drop(CHUNK)
    await ours.look()

    assert not asks(ours, ADA, since=0)


async def test_too_many_changes_make_it_ask_about_everybody(
    db: database.Pool,
) -> None:
    ours = watching(db)
    ours.leases.take(CHUNK, asked=0.0, look=ours.looks)
    await given.rows(
        db,
        "INSERT INTO change (subscriber_id) SELECT generate_series(1, $1::integer)"
        " RETURNING 1",
        watch.MANY + 1,
    )

    await ours.look()

    assert asks(ours, "somebody@example.org", since=0)
    assert not asks(ours, "somebody@example.org", since=ours.looks)


async def test_what_was_missed_while_the_database_was_away_is_read_afterwards(
    db: database.Pool,
) -> None:
    ours = watching(db)
    await ours.look()
    ours.leases.take(CHUNK, asked=0.0, look=ours.looks)
    await given.suppression(db, ADA)
    away = timedelta(seconds=60)
    await given.rows(db, "UPDATE change SET at = at - $1::interval RETURNING 1", away)
    start = ours.boottime
    ours.boottime = lambda: start() + away.total_seconds()

    await ours.look()

    assert asks(ours, ADA, since=1)
