"""Many write as one: what `put` was done with is there, whatever the disk does."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import pytest

from mailer import errors, spool


def payloads(folder: Path) -> list[bytes]:
    return [record.payload for record in spool.read(folder)]


async def test_what_many_put_at_once_is_written_in_their_order(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        group = spool.Group(writer, durable=False)
        waiters = [group.put(b"%d" % number) for number in range(500)]
        for waiter in waiters:
            await waiter
        found = payloads(tmp_path)
        group.close()

    assert found == [b"%d" % number for number in range(500)]


async def test_who_goes_away_takes_nothing_from_the_others(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        group = spool.Group(writer, durable=True)
        gone, stays = group.put(b"gone"), group.put(b"stays")
        gone.cancel()
        await stays
        group.close()

    assert payloads(tmp_path) == [b"gone", b"stays"]


async def test_what_is_not_durable_is_synced_by_itself(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        group = spool.Group(writer, durable=False)
        await group.put(b"one")
        before = writer._is_new  # the folder's entry, which a sync takes care of
        async with asyncio.timeout(5):
            while writer._is_new or group._is_syncing:
                await asyncio.to_thread(os.stat, tmp_path)
        group.close()

    assert before


async def test_a_full_disk_is_told_to_all_and_tried_again_later(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with spool.writing(tmp_path) as writer:
        group = spool.Group(writer, durable=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            waiters = [group.put(b"x" * 20) for _ in range(3)]
            for waiter in waiters:
                with pytest.raises(errors.Unavailable, match="cannot be written"):
                    await waiter
            failed = group.failure
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await group.put(b"again")
        group.close()

    assert failed is not None
    assert payloads(tmp_path) == [b"again"]


async def test_a_disk_that_hangs_holds_nobody_for_long(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        group = spool.Group(writer, durable=False, patience=0.05)
        reader, held = os.pipe()
        writer._fd, writer._opened = held, 1e18  # a pipe that nobody reads
        full = group.put(b"x" * (1 << 19))
        with pytest.raises(errors.Unavailable, match="hangs"):
            await full
        assert group.hangs
        with pytest.raises(errors.Unavailable, match="hangs"):
            await group.put(b"next")  # at once

        left = 8 + (1 << 19)
        while left:
            left -= len(os.read(reader, left))
        async with asyncio.timeout(5):
            while group.hangs:
                await asyncio.to_thread(os.stat, tmp_path)
        later = group.put(b"later")
        assert (await asyncio.to_thread(os.read, reader, 100))[8:] == b"later"
        await later
        group.close()
        os.close(reader)


async def test_what_waits_is_written_when_it_is_closed(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        group = spool.Group(writer, durable=False)
        waiter = group.put(b"one")
        group.close()
        await asyncio.to_thread(os.stat, tmp_path)  # the loop runs once more

    assert payloads(tmp_path) == [b"one"]
    assert not waiter.done()  # nobody is told any more
