import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from mailer import errors, spool
from mailer.core import event
from mailer.core.alarm import Kind
from mailer.core.event import Queue
from mailer.pipeline import receiving, recording
from mailer.store import database
from mailer.web.troubles import BEHIND, Troubles
from tests import given
from tests.pipeline.test_complaints import files_of_at_most, known


@pytest.fixture
def troubles(db: database.Pool, tmp_path: Path) -> Iterator[Troubles]:
    """What looks after a spool, its writer and its reader."""
    with receiving.opened(tmp_path) as inbox:
        loader = recording.Loader(db, tmp_path)
        loader.is_ours = True
        yield Troubles(pool=db, inbox=inbox, loader=loader, host="host-1")


def leave() -> event.Event:
    return event.Event(id=uuid4(), kind=event.Kind.UNSUBSCRIBE, at=given.NOON)


async def test_a_spool_that_cannot_be_written_wakes_somebody_until_it_can(
    troubles: Troubles, db: database.Pool
) -> None:
    await troubles.look()
    with files_of_at_most(1), pytest.raises(errors.Unavailable):
        await troubles.inbox.take(leave())
    await troubles.look()
    await troubles.look()
    (found,) = await known(db, Kind.SPOOL)
    assert (found.is_open, found.count) == (True, 1)
    assert found.detail.startswith("1 events could not be written")
    await troubles.inbox.take(leave())
    await troubles.look()

    assert not (await known(db, Kind.SPOOL))[0].is_open


async def test_what_waits_for_a_minute_while_the_database_is_there_wakes_somebody(
    troubles: Troubles, db: database.Pool
) -> None:
    for seconds, count in ((BEHIND - 5, 0), (BEHIND + 5, 1)):
        troubles.loader._caught_up = time.monotonic() - seconds
        await troubles.look()
        assert len(await known(db, Kind.BEHIND)) == count
    await troubles.loader.step()
    await troubles.look()

    assert (await known(db, Kind.BEHIND))[0].cleared_why == "all that came in is read"


async def test_who_only_stands_by_is_not_behind(
    troubles: Troubles, db: database.Pool
) -> None:
    troubles.loader.is_ours = False
    troubles.loader._caught_up = 0.0
    await troubles.look()

    assert await known(db, Kind.BEHIND) == []


async def test_a_record_that_cannot_be_read_is_a_warning_and_a_torn_end_is_none(
    troubles: Troubles, db: database.Pool, tmp_path: Path
) -> None:
    await troubles.inbox.take(leave())
    (folder,) = (tmp_path / Queue.URGENT.value).iterdir()
    dead = tmp_path / Queue.URGENT.value / "dead"
    with spool.writing(dead) as writer:
        await writer.append(b"torn", durable=True)
    ((_, path),) = spool.segments(dead)
    path.write_bytes(path.read_bytes()[:-2])
    await troubles.loader.step()
    await troubles.look()
    assert await known(db, Kind.DAMAGED) == []
    with spool.writing(tmp_path / Queue.URGENT.value / "other") as writer:
        await writer.append(b"no event", durable=True)
    await troubles.loader.step()
    for _ in range(3):
        await troubles.look()

    (found,) = await known(db, Kind.DAMAGED)
    assert found.detail == "0 damaged places, 1 records refused or unreadable."
    assert found.count == 1
    assert folder.exists()
