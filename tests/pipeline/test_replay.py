"""Journals: kept when they are settled, and told again to a database that forgot."""

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailer import spool
from mailer.core.delivery import BlastId, State
from mailer.pipeline import launching
from mailer.pipeline.sending import journal, kept, recovery, replay
from mailer.pipeline.sending.leases import LEASE
from mailer.store import chunks, database, deliveries, journals
from tests import given
from tests.pipeline.conftest import Workshop, until
from tests.sink import Sink

OTHER_BOOT = "another-life-of-the-machine"
CROWD = """
INSERT INTO subscriber (address, email, domain, provider, signed_up_at)
SELECT a, a, 'example.org', 'other', '2026-01-01Z'
FROM (SELECT 'p' || to_char(n, 'FM00000') || '@example.org' AS a
      FROM generate_series(1, $1::integer) n) AS crowd RETURNING 1
"""
# As a backup from before the first message would have it.
FORGET = """
DELETE FROM chunk WHERE attempt > 0;
UPDATE delivery SET state = 'owed', attempts = 0, settled_at = NULL, code = NULL;
UPDATE chunk SET state = 'ready', owner = NULL, lease_until = NULL;
UPDATE rollup SET sent = 0, deferrals = 0, bounced = 0, in_doubt = 0;
"""


async def launched(db: database.Pool, count: int) -> BlastId:
    await given.rows(db, CROWD, count)
    await launching.launch(db, await given.approved(db))
    ((blast,),) = await given.rows(db, "SELECT id FROM blast")
    return BlastId(blast)


async def execute(db: database.Pool, statements: str) -> None:
    async with database.transaction(db) as tx:
        await tx.raw.execute(statements)


async def counts(db: database.Pool) -> dict[str, int]:
    """Count the deliveries by state, and see that the rollups say the same."""
    found = dict(
        await given.rows(
            db, "SELECT state::text, count(*)::int FROM delivery GROUP BY 1"
        )
    )
    ((sent, doubts),) = await given.rows(
        db, "SELECT sum(sent)::int, sum(in_doubt)::int FROM rollup"
    )
    assert (sent, doubts) == (found.get("sent", 0), found.get("in_doubt", 0))
    return found


def write(
    root: Path,
    records: Sequence[bytes],
    *,
    owner: str = "worker-dead",
    boot: str | None = None,
) -> Path:
    """Write a journal whose worker is dead."""
    with spool.writing(root / owner) as writer:
        begun = journal.Opened(journal.boot() if boot is None else boot)
        for record in [journal.write_opened(begun), *records]:
            writer.write(record)
    return root / owner


def tried(
    blast: BlastId, seq: int, state: State, *, attempts: int = 1, **more: object
) -> list[bytes]:
    """Return what a journal says of a try that ended so."""
    result = deliveries.Result(seq=seq, state=state, attempts=attempts, at=given.NOON)
    started = journal.Started(blast, seq, attempts, given.NOON)
    ended = journal.Ended(blast, result, **more)  # type: ignore[arg-type]  # retry_at
    return [journal.write_started(started), journal.write_ended(ended)]


def all_sent(db: database.Pool, count: int) -> Callable[[], Awaitable[bool]]:
    async def question() -> bool:
        found = await given.rows(
            db, "SELECT count(*)::int FROM delivery WHERE state = 'sent'"
        )
        return bool(found == [(count,)])

    return question


async def test_a_journal_is_told_again_to_a_database_that_was_restored(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await launched(db, 30)
    async with workshop.working():
        await until(all_sent(db, 30))
    await execute(db, FORGET)
    await execute(db, "UPDATE blast SET state = 'paused', resumes = 'sending'")

    await recovery.recover(db, workshop.setup.journals)
    assert await counts(db) == {"owed": 30}  # nobody said that it was restored
    async with database.transaction(db) as tx:
        await journals.change_identity(tx, known=None)
    await recovery.recover(db, workshop.setup.journals)

    assert await counts(db) == {"sent": 30}
    assert sink.dots == 30


async def test_a_dead_workers_journal_is_told_again_when_its_last_batch_is_missing(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await launched(db, 30)
    async with workshop.working():
        await until(all_sent(db, 30))
    ((before,),) = await given.rows(db, "SELECT id FROM identity")
    await execute(db, FORGET)
    await execute(db, "UPDATE journal SET settled = settled - 1")

    await recovery.recover(db, workshop.setup.journals)

    assert await counts(db) == {"sent": 30}
    ((after,),) = await given.rows(db, "SELECT id FROM identity")
    assert after != before  # so that the other machines do the same
    assert sink.dots == 30


@pytest.mark.parametrize(
    ("workers", "lost"),
    [
        (1, "UPDATE journal SET settled = 0"),
        (2, "UPDATE identity SET life = 'another server, or timeline'"),
    ],
    ids=["a disk was set back", "a replica took over that was behind"],
)
async def test_living_workers_send_nothing_again_that_the_database_forgot(
    db: database.Pool, sink: Sink, workshop: Workshop, workers: int, lost: str
) -> None:
    await launched(db, 30)

    async with workshop.working(workers):
        await until(all_sent(db, 30))
        await execute(db, FORGET + lost)
        await until(all_sent(db, 30))

    assert await counts(db) == {"sent": 30}
    assert sink.dots == 30


async def test_a_server_says_which_life_it_lives(db: database.Pool) -> None:
    ((life, known),) = await given.rows(db, "SELECT server_life(), life FROM identity")

    assert re.fullmatch(r"\d+/[0-9A-F]{8}", life)
    assert known == life


async def test_nothing_is_leased_until_everybody_had_time_to_tell(
    db: database.Pool,
) -> None:
    await launched(db, 10)

    async def lease(standing: journals.Standing) -> chunks.Chunk | None:
        async with database.transaction(db) as tx:
            return await chunks.lease(
                tx,
                provider="other",
                pool="default",
                owner="ours",
                lease=LEASE,
                window=1,
                standing=standing,
            )

    async with database.transaction(db) as tx:
        old = await journals.begin(tx, "ours")
        await journals.change_identity(tx, known=old.identity)
        new = await journals.begin(tx, "ours")

    assert await lease(old) is None
    assert await lease(new) is None
    await execute(db, "UPDATE identity SET since = now() - interval '13 seconds'")
    assert await lease(old) is None
    more = journals.Standing(identity=new.identity, settled=1)
    assert await lease(more) is None
    await execute(db, "UPDATE identity SET life = 'another'")
    assert await lease(new) is None
    await execute(db, "UPDATE identity SET life = server_life()")
    assert await lease(new) is not None


async def test_a_long_journal_is_replayed_in_batches_as_often_as_one_likes(
    db: database.Pool, tmp_path: Path
) -> None:
    blast = await launched(db, 2500)
    records = [
        record
        for seq in range(1, 2401)
        for record in tried(blast, seq, State.SENT if seq % 3 else State.BOUNCED)
    ]
    started = journal.Started(blast, 2450, 1, given.NOON)
    folder = write(tmp_path, [*records, journal.write_started(started)])

    first = await replay.replay(db, folder)
    told = await counts(db)
    again = await replay.replay(db, folder)

    assert first.changed == 2401
    assert told == {"sent": 1600, "bounced": 800, "in_doubt": 1, "owed": 99}
    assert again.changed == 0
    assert await counts(db) == told


async def test_a_lost_retry_keeps_its_own_time(
    db: database.Pool, tmp_path: Path
) -> None:
    blast = await launched(db, 3)
    later = given.NOON + timedelta(hours=2)
    folder = write(tmp_path, tried(blast, 2, State.DEFERRED, retry_at=later))

    await recovery.settle(db, folder, owner=folder.name)

    retry = "SELECT seqs, attempt::int, start_at FROM chunk WHERE attempt = 1"
    assert await given.rows(db, retry) == [([2], 1, later + timedelta(seconds=1))]


async def test_what_was_tried_again_is_never_owed_again_by_its_first_answer(
    db: database.Pool, tmp_path: Path
) -> None:
    blast = await launched(db, 3)
    again = journal.Started(blast, 2, 2, given.NOON)
    records = [
        *tried(blast, 1, State.DEFERRED),
        *tried(blast, 1, State.SENT, attempts=2),
        *tried(blast, 2, State.DEFERRED),
        journal.write_started(again),
    ]
    folder = write(tmp_path, records)

    await replay.replay(db, folder)
    await replay.replay(db, folder)

    found = "SELECT state::text, attempts::int FROM delivery ORDER BY seq"
    assert await given.rows(db, found) == [("sent", 2), ("in_doubt", 2), ("owed", 0)]
    assert await given.rows(db, "SELECT count(*)::int FROM chunk") == [(1,)]


@pytest.fixture
async def leased(db: database.Pool) -> BlastId:
    """A blast to ten, whose chunk a dead worker had: three may have been started."""
    blast = await launched(db, 10)
    async with database.transaction(db) as tx:
        await chunks.lease(
            tx,
            provider="other",
            pool="default",
            owner="worker-dead",
            lease=LEASE,
            window=3,
            standing=await journals.begin(tx, "worker-dead"),
        )
    return blast


STATES = "SELECT state::text FROM delivery ORDER BY seq LIMIT 4"


@pytest.mark.parametrize(
    ("boot", "third"),
    [(None, "owed"), (OTHER_BOOT, "in_doubt")],
    ids=["a process that died has written all", "a machine that lost power has not"],
)
async def test_what_the_journal_does_not_know_after_a_crash(
    db: database.Pool, leased: BlastId, tmp_path: Path, boot: str | None, third: str
) -> None:
    begun = journal.write_started(journal.Started(leased, 2, 1, given.NOON))
    folder = write(tmp_path, [*tried(leased, 1, State.SENT), begun], boot=boot)

    with capture_logs() as logs:
        await recovery.settle(db, folder, owner=folder.name)

    (said,) = (one for one in logs if one["event"] == "journal.replayed")
    assert said["doubts"] == 1 + (third == "in_doubt")
    assert await given.rows(db, STATES) == [
        ("sent",),
        ("in_doubt",),
        (third,),
        ("owed",),
    ]
    chunk = "SELECT state::text, started_through FROM chunk"
    assert await given.rows(db, chunk) == [("ready", None)]


async def test_a_power_cut_may_drop_any_end_of_the_journal(
    db: database.Pool, leased: BlastId, tmp_path: Path
) -> None:
    """Whatever is left: of what was started nothing is owed again."""
    records = [
        *tried(leased, 1, State.SENT),
        *tried(leased, 2, State.SENT),
        journal.write_started(journal.Started(leased, 3, 1, given.NOON)),
    ]
    whole = write(tmp_path / "whole", records, boot=OTHER_BOOT)
    ((_, segment),) = spool.segments(whole)
    data = segment.read_bytes()
    before = await given.rows(db, "SELECT owner, lease_until FROM chunk")

    for cut in range(0, len(data), 7):
        folder = write(tmp_path / str(cut), [])
        ((_, torn),) = spool.segments(folder)
        torn.write_bytes(data[:cut])
        await recovery.settle(db, folder, owner="worker-dead")
        states = [state for (state,) in await given.rows(db, STATES)]
        assert set(states[:3]) <= {"sent", "in_doubt"}, cut
        assert states[3] == "owed"
        await execute(db, FORGET)
        await given.rows(
            db,
            "UPDATE chunk SET state = 'leased', owner = $1, lease_until = $2,"
            " started_through = 3 RETURNING 1",
            *before[0],
        )


async def test_a_settled_journal_is_kept_for_a_day(
    db: database.Pool, sink: Sink, workshop: Workshop
) -> None:
    await launched(db, 3)
    root = workshop.setup.journals
    async with workshop.working():
        await until(all_sent(db, 3))
    (folder,) = root.iterdir()

    await recovery.recover(db, root)
    assert list(root.iterdir()) == [folder]
    age(folder / "settled.json", kept.DAY - 60)
    await recovery.recover(db, root)
    assert list(root.iterdir()) == [folder]
    age(folder / "settled.json", kept.DAY + 60)
    await recovery.recover(db, root)

    assert list(root.iterdir()) == []


async def test_a_worker_that_sent_nothing_leaves_no_journal(
    db: database.Pool, workshop: Workshop
) -> None:
    async with workshop.working():
        await given.rows(db, "SELECT 1")

    assert list(workshop.setup.journals.iterdir()) == []


def test_a_living_worker_keeps_its_journal_for_a_day(tmp_path: Path) -> None:
    with spool.writing(tmp_path / "ours", size=1) as writer:
        for record in (b"one", b"two", b"three"):
            writer.write(record)
        segments = spool.segments(tmp_path / "ours")
        for _, path in (segments[0], segments[2]):
            age(path, kept.DAY + 60)

        kept.trim(tmp_path / "ours")

        assert spool.segments(tmp_path / "ours") == segments[1:]


def age(path: Path, seconds: float) -> None:
    """Make *path* so much older."""
    written = path.stat().st_mtime
    os.utime(path, (written - seconds, written - seconds))
