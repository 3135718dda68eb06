from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from mailer import errors
from mailer.mail import postbox

ONE, TWO = b"Subject: one\n\nfirst\n", b"Subject: two\n\nsecond\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for name in ("tmp", "new", "cur"):
        (tmp_path / name).mkdir()
    (tmp_path / "tmp" / "0.half").write_bytes(b"half")
    (tmp_path / "new" / "1.one").write_bytes(ONE)
    (tmp_path / "cur" / "2.two:2,S").write_bytes(TWO)
    return tmp_path


@pytest.fixture
def mbox(tmp_path: Path) -> Path:
    path = tmp_path / "bounces"
    path.write_bytes(b"From a@b.test Tue Oct 13 14:00:05 2026\n" + ONE + b"\n"
                     b"From a@b.test Tue Oct 13 14:00:06 2026\n" + TWO)  # fmt: skip
    return path


def test_a_maildir_is_read_and_what_is_taken_away_is_gone(maildir: Path) -> None:
    with postbox.opened(maildir) as found:
        first, second = found
        first.remove()

    assert (first.raw, second.raw) == (ONE, TWO)
    assert list((maildir / "new").iterdir()) == []
    assert (maildir / "cur" / "2.two:2,S").is_file()
    assert (maildir / "tmp" / "0.half").is_file()


def test_an_mbox_keeps_what_was_not_taken_away(mbox: Path) -> None:
    with postbox.opened(mbox) as found:
        first, second = found
        first.remove()
    with postbox.opened(mbox) as found:
        rest = list(found)

    assert [one.raw.split(b"\n")[0] for one in (first, second)] == [
        b"Subject: one", b"Subject: two",
    ]  # fmt: skip
    assert [one.raw.split(b"\n")[0] for one in rest] == [b"Subject: two"]


def test_an_mbox_is_as_it_was_when_its_reader_fails(mbox: Path) -> None:
    before = mbox.read_bytes()

    def fail() -> None:
        with postbox.opened(mbox) as found:
            next(iter(found)).remove()
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fail()

    assert mbox.read_bytes() == before


def test_an_mbox_that_another_program_locks_is_left_alone(mbox: Path) -> None:
    with mbox.open("r+b") as other:
        fcntl.lockf(other, fcntl.LOCK_EX)
        (mbox.parent / "bounces.lock").touch()
        with (
            pytest.raises(errors.Unavailable, match="locked"),
            postbox.opened(mbox) as _,
        ):
            pass


def test_a_message_alone_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.eml"
    path.write_bytes(ONE)

    with postbox.opened(path) as found:
        (only,) = found
        only.remove()

    assert only.raw == ONE
    assert path.is_file()


def test_a_folder_that_is_no_maildir_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="no Maildir"), postbox.opened(tmp_path):
        pass
    with pytest.raises(errors.NotFound), postbox.opened(tmp_path / "none"):
        pass
