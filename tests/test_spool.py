"""What was acknowledged is there after any crash, and nothing is half believed."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import errors, spool

PAYLOADS = st.lists(st.text(min_size=1, max_size=40).map(str.encode), max_size=12)


def written(folder: Path, payloads: list[bytes], *, size: int = 1 << 20) -> None:
    with spool.writing(folder, size=size) as writer:
        for payload in payloads:
            writer.write(payload)


def payloads(folder: Path) -> list[bytes]:
    return [record.payload for record in spool.read(folder)]


@settings(deadline=None, max_examples=60)
@given(PAYLOADS, st.integers(1, 100))
def test_records_come_back_in_order_over_any_segments(
    given: list[bytes], size: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, given, size=size)

        assert payloads(folder) == given


@settings(deadline=None, max_examples=60)
@given(PAYLOADS, st.data())
def test_any_prefix_of_a_file_is_a_prefix_of_its_records(
    given: list[bytes], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, given)
        for _, path in spool.segments(folder):
            os.truncate(path, data.draw(st.integers(0, path.stat().st_size)))

        tail = spool.Tail(folder, is_finished=True)
        found = [record.payload for record in tail.read(1000)]

        assert found == given[: len(found)]
        assert tail.torn <= 1
        assert tail.damaged == 0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 28), st.integers(0, 7))
def test_a_flipped_bit_costs_its_record_only(position: int, bit: int) -> None:
    given = [b"first record 1", b"second record", b"third record"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, given)
        [(_, path)] = spool.segments(folder)
        data = bytearray(path.read_bytes())
        start = 8 + len(given[0])
        data[start + position % (8 + len(given[1]))] ^= 1 << bit
        path.write_bytes(data)

        tail = spool.Tail(folder, is_finished=True)
        found = [record.payload for record in tail.read(1000)]
        tail.forget()

        assert found == [given[0], given[2]]
        assert (tail.damaged, tail.torn) == (1, 0)
        assert [entry.suffix for entry in folder.iterdir() if entry.name != "lock"] == [
            ".damaged"
        ]


def test_zeros_after_a_power_cut_are_a_torn_end(tmp_path: Path) -> None:
    written(tmp_path, [b"one", b"two"])
    [(_, path)] = spool.segments(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(4096))

    tail = spool.Tail(tmp_path, is_finished=True)
    found = [record.payload for record in tail.read(10)]

    assert found == [b"one", b"two"]
    assert (tail.torn, tail.damaged) == (1, 0)


def test_a_reader_waits_for_the_rest_of_a_record_that_is_being_written(
    tmp_path: Path,
) -> None:
    written(tmp_path, [b"one", b"two"])
    [(_, path)] = spool.segments(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    tail = spool.Tail(tmp_path)

    first = tail.read(10)
    path.write_bytes(whole)
    rest = tail.read(10)

    assert [record.payload for record in first] == [b"one"]
    assert [record.payload for record in rest] == [b"two"]
    assert (tail.torn, tail.damaged) == (0, 0)


async def test_a_tail_follows_the_writer_and_forgets_what_was_committed(
    tmp_path: Path,
) -> None:
    tail = spool.Tail(tmp_path)
    with spool.writing(tmp_path, size=40) as writer:
        for number in range(10):
            await writer.append(b"record %d" % number, durable=number % 2 == 0)
        found = [record.payload for record in tail.read(4)] + [
            record.payload for record in tail.read(100)
        ]
        tail.forget()
        left = len(spool.segments(tmp_path))
        await writer.append(b"the last", durable=True)
        found += [record.payload for record in tail.read(100)]

    assert found == [b"record %d" % number for number in range(10)] + [b"the last"]
    assert left == 1  # the segment that is being written


async def test_many_durable_appends_share_their_syncs(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        async with asyncio.TaskGroup() as tasks:
            for number in range(500):
                tasks.create_task(writer.append(b"%d" % number, durable=True))

        assert writer._synced == writer._written

    assert len(payloads(tmp_path)) == 500


async def test_a_wait_that_begins_as_a_sync_ends_comes_to_an_end(
    tmp_path: Path,
) -> None:
    with spool.writing(tmp_path) as writer:
        writer.write(b"one")
        ended = asyncio.get_running_loop().create_future()
        ended.set_result(None)  # its callback has not run yet
        writer._running, writer._covers = ended, (writer._written, writer._epoch)

        await writer.sync()  # waiting for what is done never yields to the loop


async def test_what_is_not_durable_is_synced_soon(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        await writer.append(b"a click", durable=False)

        async with asyncio.timeout(5):
            while writer._synced < writer._written:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0)


async def test_a_wait_that_is_cancelled_leaves_the_others(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(writer.append(b"one", durable=True))
            second = tasks.create_task(writer.append(b"two", durable=True))
            await asyncio.sleep(0)
            first.cancel()
        assert not second.cancelled()

    assert payloads(tmp_path) == [b"one", b"two"]


def test_one_writer_owns_a_folder(tmp_path: Path) -> None:
    with (
        spool.writing(tmp_path / "a"),
        pytest.raises(errors.Conflict, match="in use"),
        spool.writing(tmp_path / "a"),
    ):
        pass

    with spool.writing(tmp_path / "a") as again:
        again.write(b"free now")


def test_a_writer_goes_on_after_what_it_finds(tmp_path: Path) -> None:
    written(tmp_path, [b"one"])
    [(_, path)] = spool.segments(tmp_path)
    os.truncate(path, path.stat().st_size - 1)

    written(tmp_path, [b"two"])

    assert payloads(tmp_path) == [b"two"]
    assert [number for number, _ in spool.segments(tmp_path)] == [1, 2]


@pytest.mark.parametrize("payload", [b"", bytes(spool.MAX_RECORD + 1)], ids=len)
def test_a_record_that_no_reader_would_take_is_refused(
    payload: bytes, tmp_path: Path
) -> None:
    with spool.writing(tmp_path) as writer, pytest.raises(errors.Invalid):
        writer.write(payload)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_stops_the_writer_and_leaves_no_half_record(
    tmp_path: Path,
) -> None:
    with spool.writing(tmp_path) as writer:
        with files_of_at_most(100):
            await writer.append(b"x" * 80, durable=True)
            with pytest.raises(errors.Unavailable, match="cannot be written"):
                await writer.append(b"y" * 80, durable=True)
        with pytest.raises(errors.Unavailable):
            writer.write(b"z")

        writer.reopen()
        await writer.append(b"again", durable=True)

    tail = spool.Tail(tmp_path, is_finished=True)
    assert [record.payload for record in tail.read(9)] == [b"x" * 80, b"again"]
    assert (tail.torn, tail.damaged) == (0, 0)


async def test_a_failed_sync_fails_everybody_who_waits(tmp_path: Path) -> None:
    with spool.writing(tmp_path) as writer:
        writer.write(b"one")
        assert writer._fd is not None
        real, pipe = os.dup(writer._fd), os.pipe()
        os.dup2(pipe[1], writer._fd)  # fdatasync of a pipe: EINVAL

        for _ in range(2):
            with pytest.raises(errors.Unavailable):
                await writer.sync()
        with pytest.raises(errors.Unavailable):
            writer.write(b"two")

        os.dup2(real, writer._fd)
        for fd in (real, *pipe):
            os.close(fd)


WRITER = """
import asyncio, sys
from pathlib import Path
from mailer import spool

async def main():
    with spool.writing(Path(sys.argv[1]), size=2000) as writer:
        for number in range(1_000_000):
            await writer.append(b"%d" % number, durable=number % 2 == 0)
            print(number, flush=True)

asyncio.run(main())
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "dead"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    heard = [process.stdout.readline() for _ in range(300)]
    living = spool.leftovers(tmp_path)
    process.send_signal(signal.SIGKILL)
    heard += process.stdout.readlines()
    process.wait()
    process.stdout.close()

    acknowledged = [int(line) for line in heard if line.endswith("\n")]
    found = [int(payload) for payload in payloads(folder)]

    assert living == []
    assert spool.leftovers(tmp_path) == [folder]
    assert found[: len(acknowledged)] == acknowledged


def test_what_the_dead_left_is_adopted_and_removed(tmp_path: Path) -> None:
    written(tmp_path / "dead", [b"one"])
    with spool.writing(tmp_path / "living") as writer:
        writer.write(b"two")

        [folder] = spool.leftovers(tmp_path)
        with spool.owned(folder):
            tail = spool.Tail(folder, is_finished=True)
            found = tail.read(10)
            tail.forget()
            spool.remove(folder)

    assert [record.payload for record in found] == [b"one"]
    assert folder == tmp_path / "dead"
    assert not folder.exists()


def test_many_who_come_for_the_same_leftover_do_not_trip_over_each_other(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "dead"
    rounds = 300

    def bury(_: int) -> None:
        for _ in range(rounds):
            with suppress(errors.Conflict), spool.owned(folder):
                spool.remove(folder)
            spool.leftovers(tmp_path)

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(bury, range(3))) == [None] * 3
