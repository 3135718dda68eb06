"""Keys of links change, and no key that sealed a mail is ever taken out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mailer import errors
from mailer.core import tracking
from mailer.core.tracking import Purpose, Token
from mailer.settings import secret, workspace

ADA = Token(blast=1, subscriber=7)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path)
    return tmp_path


def ring(root: Path) -> tracking.Ring:
    return secret.ring(root, environment={})


def test_old_links_open_after_a_rotation_and_new_ones_have_the_new_key(
    root: Path,
) -> None:
    old = tracking.seal(ring(root), Purpose.CLICK, ADA)

    made = secret.rotate(root, environment={})

    assert made == (2, True)
    new = tracking.seal(ring(root), Purpose.CLICK, ADA)
    assert new != old
    assert [tracking.unseal(ring(root), Purpose.CLICK, t) for t in (old, new)] == [
        ADA,
        ADA,
    ]
    assert stat.S_IMODE((root / secret.RING).stat().st_mode) == 0o600


def test_a_prepared_key_opens_first_and_seals_the_next_time(root: Path) -> None:
    before = ring(root)
    prepared = secret.rotate(root, environment={}, prepare=True)
    between = ring(root)
    with pytest.raises(errors.Conflict, match="prepared already"):
        secret.rotate(root, environment={}, prepare=True)

    rotated = secret.rotate(root, environment={})

    assert (prepared, rotated) == ((2, False), (2, True))
    assert (between.current, set(between.keys)) == (before.current, {1, 2})
    after = ring(root)
    assert (after.current, dict(after.keys)) == (2, dict(between.keys))
    assert secret.rotate(root, environment={}) == (3, True)


def test_keys_of_the_environment_are_not_rotated(root: Path) -> None:
    given = {"MAILER_TRACKING_KEYS": "1:" + "00" * 32}
    before = (root / secret.RING).read_bytes()

    with pytest.raises(errors.Conflict, match="MAILER_TRACKING_KEYS"):
        secret.rotate(root, environment=given)

    assert (root / secret.RING).read_bytes() == before
