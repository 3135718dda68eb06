from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailer import errors, settings
from mailer.core.breaker import Limits
from mailer.core.patience import Patience
from mailer.settings import workspace
from mailer.settings.breaker import Breaker
from mailer.settings.returns import Returns


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace.make(tmp_path / "w")
    return tmp_path / "w"


def edited(root: Path, table: str, text: str) -> settings.Settings:
    file = root / "config/settings.toml"
    body = file.read_text("utf-8").replace(f"\n[{table}]\n", f"\n[{table}]\n{text}\n")
    file.write_text(body, "utf-8")
    return settings.load(root, environment={})


def test_nothing_is_taken_and_nothing_listens_by_itself(root: Path) -> None:
    found = settings.load(root, environment={})

    assert (found.returns, found.breaker) == (Returns(), Breaker())
    assert not found.returns.listens
    assert found.breaker.limits == Limits()
    assert found.returns.patience == Patience()


def test_what_is_written_is_what_is_done(root: Path) -> None:
    found = edited(
        root,
        "bounces",
        'domain = "bounce.example.org"\naddresses = ["fbl@example.org"]\nlmtp = 2424\n'
        'maildir = "mail"\nfull_after = 2\nfull_within = "30d"',
    ).returns

    assert found.ports == (("lmtp", 2424),)
    assert found.folder(root) == root / "mail"
    assert found.patience == Patience(after=2, within=timedelta(days=30))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"domain": "Bounce"}, 'write a name like "bounce.example.org"'),
        ({"domain": "a" * 200 + ".org"}, "write a name like"),
        ({"addresses": ("fbl",)}, "write addresses"),
        ({"domain": "b.org", "smtp": 70000}, "write a port from 0 to 65535"),
        ({"smtp": 2525}, "set domain, or addresses"),
        ({"metadata": True}, "set domain"),
        ({"full_after": 1}, "write 2 to 20"),
        ({"full_within": timedelta(days=400)}, 'write "1d" to "365d"'),
    ],
)
def test_a_wrong_value_says_what_would_be_right(
    values: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        Returns(**values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"bounces": "0%"}, "write a share above 0"),
        ({"complaints": "lots"}, "no share"),
        ({"least": 1}, "write 100 to 1,000,000"),
    ],
)
def test_a_breaker_that_cannot_be_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Breaker(**values)


def test_a_mistake_has_its_line(root: Path) -> None:
    with pytest.raises(errors.Invalid, match=r"config/settings.toml:\d+: bounces"):
        edited(root, "bounces", 'domain = "no"')


def test_machines_must_agree_on_the_domain(root: Path) -> None:
    before = settings.load(root, environment={}).fingerprint

    after = edited(root, "bounces", 'domain = "bounce.example.org"').fingerprint

    assert before != after
